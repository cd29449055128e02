"""
The server as one case sees it: calls that are noted down, jobs that are cleaned up.

Runs in: the terminal of whoever tests a server. May not: know a case.
"""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from google.protobuf.message import DecodeError, Message
from grpc import StatusCode, aio

from joblet.wire import joblet_pb2 as pb
from joblet_conformance import calls
from joblet_conformance.evidence import Evidence, Exchange, Failed, Found, clipped, expect, one_of, same, text_of
from joblet_conformance.reader import MOST_BYTES, TOO_LONG, Reader
from joblet_conformance.target import Target

Answer = TypeVar("Answer", bound=Message)

POLL_S: Final = 0.02
ENDED: Final = ("COMPLETED", "FAILED", "STOPPED")
STATUSES: Final = ("INITIALIZING", "RUNNING", *ENDED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended, and every answer that came."""

    code: StatusCode
    words: str
    answers: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Begun:
    """
    What a case has started.

    Args:
        jobs: Ids.
        workflows: Ids.
        unreadable: Why nothing is known of what else was.
    """

    jobs: Sequence[str]
    workflows: Sequence[str]
    unreadable: Sequence[str]


class Subject:
    """
    What a case is given.

    Attributes:
        programs: What to call sh, echo, sleep and cat.
        patience_s: How long to wait for what should take a moment.
        evidence: All that was said.
    """

    def __init__(self, target: Target, evidence: Evidence, deadline_s: float = math.inf) -> None:
        """
        Stand for the server during one case.

        Args:
            deadline_s: How long the case may take from now on.
        """
        self.target = target
        self.programs = target.programs
        self.patience_s = target.patience_s
        self.evidence = evidence
        self._jobs: list[str] = []
        self._workflows: list[str] = []
        self._starting: set[asyncio.Task[Message]] = set()
        self._is_closed = False
        self._stopped: set[str] = set()
        self._half_s = time.monotonic() + deadline_s / 2

    @property
    def half_over(self) -> bool:
        """Half of the time that the case has is gone: it begins nothing more that it can do without."""
        return time.monotonic() >= self._half_s

    # Calls

    async def outcome(
        self, name: str, request: Message | bytes, *, role: str = "admin", within_s: float | None = None
    ) -> Outcome:
        """
        Make a call and see how it ends, whatever that is; a stream is read to its end.

        Args:
            name: `RunJob`, or `JobService.RunJob`.
            request: A message, or the bytes that one would be.
            within_s: The call's deadline; `patience_s` when not given.

        Raises:
            Failed: An answer is no message of its kind, or the call would start something when the case is over.
        """
        call = calls.call(name)
        starts = call.answer in (pb.RunJobRes, pb.RunWorkflowResponse)
        if starts and self._is_closed:
            raise Failed(f"{name} comes when the case is over")
        exchange = self.evidence.begin(role, call.name, request if isinstance(request, Message) else repr(request))
        answers: list[Message] = []
        raw = request.SerializeToString() if isinstance(request, Message) else request
        with contextlib.suppress(ValueError):  # bytes that are no message are so in every dialect
            raw = self.target.dialect.to_theirs(call.request, raw)
        way = self.target.channel(role)
        try:
            if call.streams:
                stream = cast("Any", way.unary_stream(self.target.path(call), None, None))(
                    raw, timeout=within_s or self.patience_s
                )
                size_bytes = 0
                try:
                    async for piece in stream:
                        answers.append(self._parsed(call, piece, exchange))
                        size_bytes += len(piece)
                        expect(size_bytes <= MOST_BYTES, TOO_LONG)
                finally:
                    stream.cancel()  # of no consequence when it has ended
            else:
                unary = cast("Any", way.unary_unary(self.target.path(call), None, None))
                under_way = self._answered(call, unary(raw, timeout=within_s or self.patience_s), exchange)
                answers.append(await (self._to_its_end(under_way) if starts else under_way))
        except aio.AioRpcError as error:
            exchange.ended(error.code().name, error.details() or "")
            return Outcome(error.code(), error.details() or "", answers)
        exchange.ended("OK", ", ".join(map(text_of, answers[:3])))
        if call.name == "StopJob" and isinstance(request, pb.StopJobReq):
            self._stopped.add(request.id)
        return Outcome(StatusCode.OK, "", answers)

    async def answer(self, name: str, request: Message | bytes, kind: type[Answer], *, role: str = "admin") -> Answer:
        """The answer to a call that must succeed."""
        outcome = await self.outcome(name, request, role=role)
        if outcome.code is not StatusCode.OK:
            raise Failed(f"{name} is refused with {outcome.code.name} {clipped(outcome.words)!r}, expected an answer")
        (found,) = outcome.answers
        assert isinstance(found, kind)
        return found

    async def refused(
        self,
        name: str,
        request: Message | bytes,
        code: StatusCode | Sequence[StatusCode],
        words: str | re.Pattern[str] = "",
        *,
        role: str = "admin",
    ) -> str:
        """
        Make a call that must be refused.

        Args:
            code: The status, or those that the specification leaves open.
            words: The exact message, or a pattern of all of it; empty where the specification says none.

        Returns:
            The message.
        """
        outcome = await self.outcome(name, request, role=role)
        wanted = [code] if isinstance(code, StatusCode) else list(code)
        one_of(f"the status of {name}", outcome.code.name, [each.name for each in wanted])
        if isinstance(words, re.Pattern):
            if not words.fullmatch(outcome.words):
                raise Failed(f"the message is {clipped(outcome.words)!r}, expected one like {words.pattern!r}")
        elif words:
            same("the message", outcome.words, words)
        return outcome.words

    def _parsed(self, call: calls.Call, data: bytes, exchange: Exchange) -> Message:
        try:
            answer = call.answer.FromString(self.target.dialect.to_ours(call.answer, data))
            answer.DiscardUnknownFields()  # a server may tell more, and that from moment to moment
            return answer
        except (DecodeError, ValueError) as error:
            exchange.ended("OK", repr(data))
            raise Failed(f"the answer of {call.name} is no {call.answer.DESCRIPTOR.name}: {error}") from None

    async def _answered(self, call: calls.Call, under_way: Awaitable[bytes], exchange: Exchange) -> Message:
        answer = self._parsed(call, await under_way, exchange)
        if isinstance(answer, pb.RunJobRes):
            self._jobs.append(answer.id)
        elif isinstance(answer, pb.RunWorkflowResponse):
            self._workflows.append(answer.workflowUuid)
        return answer

    async def _to_its_end(self, start: Coroutine[Any, Any, Message]) -> Message:
        """Wait for an answer. What starts something goes on when the case is cut, so that it is known what to stop."""
        task = asyncio.create_task(start)
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return await asyncio.shield(task)

    # Jobs

    async def run(self, command: str, *args: str, **wishes: Any) -> pb.RunJobRes:
        """Start a job; `wishes` are further fields of RunJobReq. It is stopped when the case is over."""
        return await self.answer("RunJob", pb.RunJobReq(command=command, args=args, **wishes), pb.RunJobRes)

    async def echo(self, *words: str, **wishes: Any) -> pb.RunJobRes:
        """Start a job that prints these words and ends."""
        return await self.run(self.programs.echo, *words, **wishes)

    async def shell(self, script: str, *args: str, **wishes: Any) -> pb.RunJobRes:
        """Start a shell; the script sees `args` as $0, $1, …."""
        return await self.run(self.programs.sh, "-c", script, *args, **wishes)

    async def sleeper(self, **wishes: Any) -> pb.RunJobRes:
        """Start a job that does nothing for longer than any case takes."""
        return await self.run(self.programs.sleep, "3600", **wishes)

    async def status(self, job_id: str, *, role: str = "admin") -> pb.GetJobStatusRes:
        """What GetJobStatus says now."""
        return await self.answer("GetJobStatus", pb.GetJobStatusReq(id=job_id), pb.GetJobStatusRes, role=role)

    async def stop(self, job_id: str) -> pb.StopJobRes:
        """Stop a job."""
        return await self.answer("StopJob", pb.StopJobReq(id=job_id), pb.StopJobRes)

    async def listed(self, *, role: str = "admin") -> Found[pb.Job]:
        """What ListJobs says now, by id."""
        jobs = (await self.answer("ListJobs", pb.EmptyRequest(), pb.Jobs, role=role)).jobs
        found = Found("the list of jobs", {job.id: job for job in jobs})
        same("the number of different ids in the list", len(found), len(jobs))
        return found

    async def until(self, job_id: str, holds: Callable[[pb.GetJobStatusRes], bool], what: str) -> pb.GetJobStatusRes:
        """Ask for a job's status until it is so."""
        try:
            async with asyncio.timeout(self.patience_s):
                while not holds(found := await self.status(job_id)):
                    await asyncio.sleep(POLL_S)  # the event is over there
                return found
        except TimeoutError:
            raise Failed(f"after {self.patience_s:g} s the job is not yet {what}") from None

    async def ended(self, job: pb.RunJobRes) -> pb.GetJobStatusRes:
        """Wait for a job's end."""
        return await self.until(job.id, lambda found: found.status in ENDED, "at its end")

    async def running(self, job: pb.RunJobRes) -> pb.GetJobStatusRes:
        """Wait until a job runs."""
        return await self.until(job.id, lambda found: found.status == "RUNNING", "RUNNING")

    # Logs

    async def log(self, job_id: str, *, role: str = "admin") -> bytes:
        """A job's whole log, to the end of the stream."""
        async with self.reader(job_id, role=role) as reader:
            return await reader.rest()

    def _since(self, job_id: str) -> str:
        return "after StopJob " if job_id in self._stopped else ""

    @contextlib.asynccontextmanager
    async def reader(
        self, job_id: str, *, role: str = "admin", fresh: bool = False, through: str = ""
    ) -> AsyncIterator[Reader]:
        """
        A log that is read piece by piece; it is cancelled at the end of the block.

        Args:
            fresh: Over a connection of its own.
            through: And over what listens at this HOST:PORT, which passes all on to the server.
        """
        call = calls.call("GetJobLogs")
        sent = self.target.dialect.to_theirs(call.request, pb.GetJobLogsReq(id=job_id).SerializeToString())
        async with contextlib.AsyncExitStack() as stack:
            if fresh or through:
                way = await stack.enter_async_context(self.target.fresh(role, through))
            else:
                way = self.target.channel(role)
            exchange = self.evidence.begin(role, call.name, pb.GetJobLogsReq(id=job_id))
            stream = cast("Any", way.unary_stream(self.target.path(call), None, None))(sent)
            reader = Reader(
                stream,
                exchange,
                lambda data: cast("pb.DataChunk", self._parsed(call, data, exchange)),
                self.patience_s,
                lambda: self._since(job_id),
            )
            try:
                yield reader
            finally:
                await reader.close()

    # The end

    async def close(self) -> Begun:
        """Start nothing more; everything that was started, once the answer to each start has come."""
        self._is_closed = True
        late = await asyncio.gather(*self._starting, return_exceptions=True)
        unreadable = [str(answer) for answer in late if isinstance(answer, Failed)]
        return Begun(self._jobs, self._workflows, unreadable)
