"""
Jobs that print numbered lines until they are told to end, each followed from its first byte: whatever happens to
the services meanwhile, a line that is missing, repeated or out of its place shows.

    with counting(joblet, 20) as jobs:
        ...
        jobs.until_each_goes_on()
        jobs.end()

Runs in: pytest in the test machine, as root.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from installed import DEADLINE_S, Installed
from processes import command_of

from joblet.client import JobStatus

# A line a second: the machine is emulated, and all jobs together must leave it time for what the tests do.
# bash, because twenty Pythons take it half a minute to start; its read waits without a process for it.
_PROGRAM: Final = """
trap 'told=yes' USR1
exec 3<> <(:)
number=0
until [ "$told" ]; do
    number=$((number + 1))
    echo $number
    read -r -t 1 -u 3
done
echo the last was $number
exit "$1"
"""


class Follower(threading.Thread):
    """Reads one job's log as it comes, until it ends."""

    def __init__(self, joblet: Installed, job_id: str) -> None:
        super().__init__(name=f"follower of {job_id}", daemon=True)
        self._log = joblet.client.get_job_logs(job_id)
        self._read = b""
        self._failure: Exception | None = None
        self._grew = threading.Condition()
        self.start()

    def run(self) -> None:
        """In its thread."""
        failure = None
        try:
            for chunk in self._log:
                with self._grew:
                    self._read += chunk
                    self._grew.notify_all()
        except Exception as error:
            failure = error
        with self._grew:
            self._failure = failure
            self._grew.notify_all()

    @property
    def read(self) -> bytes:
        """What it has read so far."""
        with self._grew:
            return self._read

    def until_beyond(self, size_bytes: int) -> None:
        """Wait until it has read more than this."""
        with self._grew:
            grew = self._grew.wait_for(lambda: len(self._read) > size_bytes or not self.is_alive(), DEADLINE_S)
            assert grew, f"{self.name}: nothing came after byte {size_bytes}"
            assert self.is_alive(), f"{self.name} ended: {self._failure!r}"

    def everything(self) -> bytes:
        """Wait for the end of the log."""
        self.join(DEADLINE_S)
        assert not self.is_alive(), f"{self.name} does not end"
        assert self._failure is None, repr(self._failure)
        return self._read

    def close(self) -> None:
        """It wants no more."""
        self._log.close()


class Counting:
    """The jobs under way."""

    def __init__(self, joblet: Installed, how_many: int) -> None:
        self._joblet = joblet
        # Each ends with a code of its own, so that one told for another shows.
        self._codes = {joblet.start("bash", "-c", _PROGRAM, "bash", str(code)): code for code in range(how_many)}
        self._followers = {job: Follower(joblet, job) for job in self.jobs}

    @property
    def jobs(self) -> list[str]:
        """Their ids."""
        return list(self._codes)

    def pids(self) -> list[int]:
        """Of their commands."""
        return [command_of(job) for job in self.jobs]

    def lines(self) -> int:
        """How many have been printed and read by now."""
        return sum(follower.read.count(b"\n") for follower in self._followers.values())

    def until_each_goes_on(self) -> None:
        """Wait until every follower has read something new; each has read every line once so far."""
        before = {job: len(follower.read) for job, follower in self._followers.items()}
        for job, follower in self._followers.items():
            follower.until_beyond(before[job])
            *lines, _unfinished = follower.read.decode().split("\n")
            assert lines == _numbers(len(lines)), f"{follower.name}: {lines}"

    def end(self) -> None:
        """Tell them to end; each has its true end, and every line once, in the log and in the stream."""
        for pid in self.pids():
            os.kill(pid, signal.SIGUSR1)
        for job, code in self._codes.items():
            ended: JobStatus = self._joblet.client.wait(job)
            log = self._joblet.log(job)
            told = (ended.exit_code, ended.reason, ended.log_bytes)
            assert told == (code, "", len(log)), f"the end of {job}, which exits with {code}: {told}"
            *numbers, last = log.decode().splitlines()
            assert numbers == _numbers(len(numbers)), f"the log of {job}: {numbers}"
            assert last == f"the last was {len(numbers)}", f"the log of {job} ends with {last!r}"
            assert self._followers[job].everything() == log, f"a follower of {job} has read something else"

    def close(self) -> None:
        """Let go of the followers."""
        for follower in self._followers.values():
            follower.close()


def _numbers(up_to: int) -> list[str]:
    return [str(number) for number in range(1, up_to + 1)]


@contextmanager
def counting(joblet: Installed, how_many: int) -> Iterator[Counting]:
    """So many of these jobs, each of which has printed something."""
    jobs = Counting(joblet, how_many)
    try:
        jobs.until_each_goes_on()
        yield jobs
    finally:
        jobs.close()
