"""
Servers that are in order as long as there is little to do.

Runs in: tests.
"""

import asyncio
from typing import Any

from broken_server import Broken, Go, Refusal, Write
from grpc import StatusCode

from joblet.api.server import WireOptions
from joblet.wire import joblet_pb2 as pb

CROWD = 20


class _Counts(Broken, caught_by=""):
    """Knows how many calls of a kind there were: on the fake engine one ends before the next begins."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        self._calls[call] = self._calls.get(call, 0) + 1
        return await self.counted(call, self._calls[call], request, go)

    async def counted(self, call: str, number: int, request: Any, go: Go) -> Any:
        """Serve the call that has this number, from 1."""
        return await go(request)


class SwapsAnswers(_Counts, caught_by="load.callers"):
    """Of many callers, one is told of another one's job."""

    _last = ""

    async def counted(self, call: str, number: int, request: Any, go: Go) -> Any:
        answer = await go(request)
        if call == "RunJob":
            if number == CROWD:
                answer.id = self._last
            self._last = answer.id
        return answer


class MixesArguments(_Counts, caught_by="load.callers"):
    """Of many callers, one has the script of another one run."""

    _script = ""

    async def counted(self, call: str, number: int, request: Any, go: Go) -> Any:
        if call == "RunJob":
            own = request.args[1]
            if number == CROWD:
                request.args[1] = self._script
            self._script = own
        return await go(request)


class ListsAHundred(Broken, caught_by="load.callers"):
    """The list has the newest hundred jobs."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "ListJobs":
            del answer.jobs[:-100]
        return answer


class DropsStops(_Counts, caught_by="load.stops"):
    """When many are stopped at once, some are told that it is done, and run on."""

    async def counted(self, call: str, number: int, request: Any, go: Go) -> Any:
        if call == "StopJob" and number > CROWD:
            return pb.StopJobRes(id=request.id, status="STOPPED", exitCode=-1, endTime="2024-01-15T10:30:00Z")
        return await go(request)


class FewStops(_Counts, caught_by="load.stops"):
    """When many are stopped at once, some are refused."""

    async def counted(self, call: str, number: int, request: Any, go: Go) -> Any:
        if call == "StopJob" and number > CROWD:
            raise Refusal(StatusCode.RESOURCE_EXHAUSTED, "too many stops")
        return await go(request)


class TornEntries(Broken, caught_by="load.lists"):
    """An entry of the list has its status first, and its exit code and end a moment later."""

    def __init__(self) -> None:
        self._listed: set[str] = set()

    def answer(self, call: str, answer: Any) -> Any:
        for job in answer.jobs if call == "ListJobs" else ():
            if job.endTime and job.id not in self._listed:
                self._listed.add(job.id)
                job.endTime, job.exitCode = "", 0
        return answer


class OldLists(Broken, caught_by="load.lists"):
    """Every second list is from a while ago: a job that had ended runs again."""

    def __init__(self) -> None:
        self._lists: list[pb.Jobs] = []

    def answer(self, call: str, answer: Any) -> Any:
        if call == "ListJobs":
            self._lists.append(answer)
            return self._lists[-CROWD] if len(self._lists) % 2 and len(self._lists) > CROWD else answer
        return answer


class TooManyIsAFault(Broken, caught_by="load.too-many"):
    """Too many jobs at once are INTERNAL."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(StatusCode.INTERNAL, refusal.words) if call == "RunJob" else refusal


class MakesRoom(Broken, caught_by="load.too-many"):
    """For a job too many, the oldest is ended."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        try:
            return await go(request)
        except Refusal:
            if call != "RunJob" or request.args[:1] != ["3600"]:
                raise
            oldest = next(job for job in self.joblet.jobs.list() if job.state == "RUNNING")
            if self._ended:
                raise
            self._ended = True
            await self.joblet.jobs.stop(oldest.id)
            return await go(request)

    _ended = False


class NeverRoomAgain(Broken, caught_by="load.too-many"):
    """Once there were too many jobs, no more are taken."""

    _full = False

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "RunJob" and self._full:
            raise Refusal(StatusCode.RESOURCE_EXHAUSTED, "too many jobs")
        try:
            return await go(request)
        except Refusal:
            self._full = self._full or call == "RunJob"
            raise


class LeavesConnectionsOpen(Broken, caught_by="load.connections"):
    """A reader that has left counts for ever, and a server has room for a few."""

    _readers = 0

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        self._readers += 1
        if self._readers > CROWD:
            raise Refusal(StatusCode.UNAVAILABLE, "too many connections")
        await go(request, write)
        self._readers -= 1


class SwapsPieces(Broken, caught_by="load.long-log"):
    """Far into a log, two pieces change places."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        sent, held = 0, b""

        async def swapped(piece: bytes) -> None:
            nonlocal sent, held
            before, sent = sent, sent + len(piece)
            if before < 8 * 2**20 <= sent:
                held = piece
                return
            await write(piece)
            if held:
                await write(held)
                held = b""

        await go(request, swapped)
        if held:
            await write(held)


class CutsAtTenMegabytes(Broken, caught_by="load.long-log"):
    """A log ends at 10 MB."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        room = 10_000_000

        async def cut(piece: bytes) -> None:
            nonlocal room
            if room > 0:
                await write(piece[:room])
            room -= len(piece)

        await go(request, cut)


class RemovesSlowReaders(Broken, caught_by="load.slow-reader"):
    """A reader that does not take a piece at once is removed."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        async def at_once(piece: bytes) -> None:
            try:
                async with asyncio.timeout(0.01):
                    await write(piece)
            except TimeoutError:
                raise Refusal(StatusCode.ABORTED, "too slow") from None

        await go(request, at_once)


class SkipsForSlowReaders(Broken, caught_by="load.slow-reader"):
    """What a reader does not take at once it does not get."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        writing: asyncio.Task[None] | None = None

        async def some(piece: bytes) -> None:
            nonlocal writing
            if writing is not None:
                await asyncio.wait([writing], timeout=0.01)
                if not writing.done():
                    return
            writing = asyncio.ensure_future(_done(write, piece))

        await go(request, some)
        if writing is not None:
            await writing


async def _done(write: Write, piece: bytes) -> None:
    await write(piece)


class LeavesGaps(SkipsForSlowReaders, caught_by="load.slow-reader-gap"):
    """What a reader does not take at once is missing between the rest."""


class CutsSlowReaders(Broken, caught_by="load.slow-reader-told"):
    """The log of a reader that does not take a piece at once is over, and all is said to be well."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        is_slow = False

        async def until_slow(piece: bytes) -> None:
            nonlocal is_slow
            if is_slow:
                return
            try:
                async with asyncio.timeout(0.01):
                    await write(piece)
            except TimeoutError:
                is_slow = True

        await go(request, until_slow)


class OnePiece(Broken, caught_by="load.pieces"):
    """A log that is there is sent in one message."""

    wire = WireOptions(max_send_bytes=64 * 2**20)

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        pieces: list[bytes] = []

        async def gather(piece: bytes) -> None:
            pieces.append(piece)

        await go(request, gather)
        await write(b"".join(pieces))


class FortyReaders(Broken, caught_by="load.readers"):
    """A log has forty readers at most at once."""

    _readers = 0

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        if self._readers >= 40:
            raise Refusal(StatusCode.RESOURCE_EXHAUSTED, "too many readers")
        self._readers += 1
        try:
            await go(request, write)
        finally:
            self._readers -= 1


class LateReadersMiss(Broken, caught_by="load.readers"):
    """Of many readers, who comes late misses a byte at the seam."""

    _readers = 0

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        self._readers += 1
        late, pieces = self._readers > CROWD, 0

        async def seam(piece: bytes) -> None:
            nonlocal pieces
            pieces += 1
            await write(piece[1:] if late and pieces == 2 else piece)

        await go(request, seam)
