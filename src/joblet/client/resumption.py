"""
When a log goes on after its stream was lost: the rules, without clock or network.

A log is read by offset, so a stream that breaks is asked for again from the first byte that did not arrive:
nothing is missing and nothing comes twice.

Runs in: a user's program. May not: do I/O, wait.
Source: API specification, "GetJobLogs"; proto/joblet.proto, `GetJobLogsReq.offset`.
"""

from dataclasses import dataclass
from typing import Final

from joblet.client.errors import ClientError, ServerUnreachable
from joblet.domain.errors import EngineUnavailable, JobletError, ShuttingDown, SlowReader

PATIENCE_S: Final = 60.0
"""How long a server may be away before a reader gives up, unless told otherwise."""

AFTER_THE_END: Final = 2**62
"""An offset no log reaches: a stream from here on sends nothing and ends with the job."""

_UUID_LENGTH: Final = 36
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
_LASTED_S: Final = 10.0
# Connected again and lost again at once, so often: the server, or what stands before it, does not want us.
_FRUITLESS_MAX: Final = 20


def is_whole(job_id: str) -> bool:
    """Whether this is a job's whole id: unlike a beginning, it means the same job for ever and needs no look-up."""
    return len(job_id) == _UUID_LENGTH


def is_lost(error: JobletError | ClientError) -> bool:
    """Whether a stream ended because of the connection or the server, and not because of what was asked."""
    match error:
        case ServerUnreachable() | EngineUnavailable() | ShuttingDown():
            return True
        case SlowReader():
            # Whoever gets to read this is no longer slow (a pager was left standing): the rest is still there.
            return True
        case _:
            return False


def gave_up(address: str, job_id: str, offset_bytes: int, reason: JobletError | ClientError) -> ServerUnreachable:
    """The error for a log whose server did not come back."""
    where = f" at byte {offset_bytes}" if offset_bytes < AFTER_THE_END else ""
    return ServerUnreachable(
        f"the connection to {address} was lost{where} and did not come back ({reason.message})",
        f"the job is not affected: try again later with rnx log {job_id}",
    )


@dataclass(slots=True)
class Position:
    """
    How far a log was read.

    Args:
        offset_bytes: The next byte wanted.
        fruitless: Streams in a row that were lost soon and brought nothing.
        begun: Something has arrived: from then on the offset alone says what is wanted, and no longer a number of
            lines or a time.
    """

    offset_bytes: int
    fruitless: int = 0
    begun: bool = False

    def read(self, size_bytes: int, begins_at: int = 0) -> None:
        """
        So many more bytes have arrived.

        Args:
            begins_at: Their offset, when it is not the one wanted; else 0.
        """
        self.offset_bytes = (begins_at or self.offset_bytes) + size_bytes
        self.fruitless = 0
        self.begun = True

    def lost(self, lasted_s: float) -> float | None:
        """
        The stream was lost.

        Args:
            lasted_s: How long after it was asked for.

        Returns:
            Seconds to let pass before it is asked for again; None to give up.
        """
        if lasted_s >= _LASTED_S:
            self.fruitless = 0
        self.fruitless += 1
        if self.fruitless == 1:
            return 0.0
        if self.fruitless > _FRUITLESS_MAX:
            return None
        return min(_FIRST_WAIT_S * 2.0 ** (self.fruitless - 2), _LONGEST_WAIT_S)
