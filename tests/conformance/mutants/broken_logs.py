"""
Servers that lose, change, hold back or repeat what jobs print.

Runs in: tests.
"""

import asyncio
import contextlib
from typing import Any

from broken_server import Broken, Refusal, Write
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb


class CutsTheBeginning(Broken, caught_by="get-job-logs.whole"):
    """The first line is missing for who comes when the job has ended."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        if self.joblet.jobs.get(request.id).state in ("COMPLETED", "FAILED", "STOPPED"):
            request.offset = 4
        await go(request, write)


class HoldsBackToTheEnd(Broken, caught_by="get-job-logs.live"):
    """Output is delivered when the job has ended."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        held: list[bytes] = []

        async def hold(piece: bytes) -> None:
            held.append(piece)

        await go(request, hold)
        for piece in held:
            await write(piece)


class EndsAtWhatIsThere(Broken, caught_by="get-job-logs.completion"):
    """The stream ends at what has been printed so far."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        request.noFollow = True
        await go(request, write)


class LiveOnly(Broken, caught_by="get-job-logs.history-then-live"):
    """A second reader gets what is printed from then on."""

    def __init__(self) -> None:
        self._read: set[str] = set()

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        if request.id in self._read:
            request.offset = self.joblet.engine.logs.size_bytes(self.joblet.jobs.resolve(request.id))
        self._read.add(request.id)
        await go(request, write)


class RepeatsTheSeam(Broken, caught_by="get-job-logs.history-then-live"):
    """The last piece of the history comes once more as the first that is live."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        pieces: list[bytes] = []

        async def twice(piece: bytes) -> None:
            if len(pieces) == 1:
                await write(pieces[0])
            pieces.append(piece)
            await write(piece)

        await go(request, twice)


class TextOnly(Broken, caught_by="get-job-logs.binary"):
    """What is no UTF-8 is replaced."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        await go(request, lambda piece: write(piece.decode("utf-8", "replace").encode()))


class WholeLinesOnly(Broken, caught_by="get-job-logs.no-newline"):
    """What has no newline is held back until it has one."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        rest = bytearray()

        async def lines(piece: bytes) -> None:
            rest.extend(piece)
            end = rest.rfind(b"\n") + 1
            if end:
                await write(bytes(rest[:end]))
                del rest[:end]

        await go(request, lines)
        if rest:
            await write(bytes(rest))


class DropsStandardError(Broken, caught_by="get-job-logs.merged"):
    """Standard error is not in the log."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.args[:1] == ["-c"]:
            request.args[1] = request.args[1].replace("echo 2 >&2;", "").replace("; echo 4 >&2", "")
        return request


class OneAfterTheOther(Broken, caught_by="get-job-logs.merged-in-order"):
    """Standard error comes after standard output."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.args[:1] == ["-c"]:
            request.args[1] = request.args[1].replace("echo 2 >&2; echo 3;", "echo 3; echo 2 >&2;")
        return request


class EndsBeforeTheJob(Broken, caught_by="get-job-logs.end-is-known"):
    """The stream ends with the output, and the job's end is known later."""

    def __init__(self) -> None:
        self._read: set[str] = set()

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.id in self._read and answer.status in ("COMPLETED", "FAILED"):
            answer.status, answer.endTime = "RUNNING", ""
            self._read.discard(answer.id)
        return answer

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        await go(request, write)
        self._read.add(request.id)


class CutsSilentStreams(Broken, caught_by="get-job-logs.silence"):
    """A stream that is silent for a second is at its end."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1) as silence:

                async def written(payload: bytes) -> None:
                    silence.reschedule(loop.time() + 1)
                    await write(payload)

                await go(request, written)


class KeepsTheEnd(Broken, caught_by="get-job-logs.large"):
    """Of a job that has ended, a log is its last 64 KB."""

    def __init__(self) -> None:
        self._over: set[str] = set()

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.endTime:
            self._over.add(answer.id)
        return answer

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        pieces: list[bytes] = []

        async def keep(payload: bytes) -> None:
            pieces.append(payload)

        await go(request, keep)
        await write(b"".join(pieces)[-65_536 if request.id in self._over else 0 :])


class CutsLines(Broken, caught_by="get-job-logs.long-line"):
    """A line ends at 64 KB, as that of many a line reader."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        pieces: list[bytes] = []

        async def keep(payload: bytes) -> None:
            pieces.append(payload)

        await go(request, keep)
        await write(b"".join(line[:65_535] + b"\n" for line in b"".join(pieces).splitlines()))


class CutsAtAMegabyte(Broken, caught_by="get-job-logs.large"):
    """A log ends at 2^20 bytes."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        sent = 0

        async def cut(piece: bytes) -> None:
            nonlocal sent
            room = 2**20 - sent
            sent += len(piece)
            if room > 0:
                await write(piece[:room])

        await go(request, cut)


class FewReaders(Broken, caught_by="get-job-logs.many-readers"):
    """A log has at most four readers at once."""

    most = 4

    def __init__(self) -> None:
        self._readers = 0

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        if self._readers >= self.most:
            raise Refusal(StatusCode.RESOURCE_EXHAUSTED, "too many readers")
        self._readers += 1
        try:
            await go(request, write)
        finally:
            self._readers -= 1


class SilenceNeverEnds(Broken, caught_by="get-job-logs.silent"):
    """The stream of a job that prints nothing does not end."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        written: list[int] = []

        async def note(piece: bytes) -> None:
            written.append(len(piece))
            await write(piece)

        await go(request, note)
        if not written:
            await asyncio.Event().wait()


class ReadersTakeTheJobAlong(Broken, caught_by="get-job-logs.cancelled"):
    """When a reader leaves, its job is stopped."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        try:
            await go(request, write)
        except asyncio.CancelledError:
            self.stopping = asyncio.create_task(self.joblet.jobs.stop(request.id))
            raise


class ConnectionsTakeTheJobAlong(ReadersTakeTheJobAlong, caught_by="get-job-logs.gone"):
    """When a reader's connection is lost, its job is stopped."""


class AnySilentLog(Broken, caught_by="get-job-logs.no-uuid"):
    """What is no UUID has an empty log."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        if len(request.id) == 36:
            await go(request, write)


class NewestLog(Broken, caught_by="get-job-logs.no-id"):
    """Without an id the newest job's log is meant."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        request.id = request.id or self.joblet.jobs.list()[-1].id
        await go(request, write)


class LogsByWholeIds(Broken, caught_by="get-job-logs.prefix"):
    """The beginning of a UUID is not enough for a log."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        if len(request.id) < 36:
            raise Refusal(StatusCode.NOT_FOUND, f"job not found: {request.id}")
        await go(request, write)


class InStep(Broken, caught_by="get-job-logs.slow-reader"):
    """All readers get each piece together: the slowest decides."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        async def together(piece: bytes) -> None:
            async with self._turn:
                await write(piece)

        await go(request, together)


class ReadersInAHurry(ReadersTakeTheJobAlong, caught_by="get-job-logs.deadline"):
    """When a reader's time is up, its job is stopped."""
