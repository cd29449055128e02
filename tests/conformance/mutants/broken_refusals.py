"""
Servers that refuse what they should not, do not refuse what they should, or do it in other words.

Runs in: tests.
"""

from collections.abc import Callable
from typing import Any

from broken_server import Broken, Go, Refusal, Write
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from grpc import StatusCode

from joblet.api.server import WireOptions
from joblet.wire import joblet_pb2 as pb


class NotFoundWithoutId(Broken, caught_by="get-job-status.unknown"):
    """The message does not say which job is not found."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(refusal.code, "job not found") if refusal.code is StatusCode.NOT_FOUND else refusal


class NotFoundIsInternal(Broken, caught_by="stop-job.unknown"):
    """A job that is not found is a fault of the server."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(StatusCode.INTERNAL, refusal.words) if refusal.code is StatusCode.NOT_FOUND else refusal


class NoSuchLogIsEmpty(Broken, caught_by="get-job-logs.unknown"):
    """The log of a job that there is not is empty."""

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        try:
            await go(request, write)
        except Refusal:
            return


class CutsIds(Broken, caught_by="get-job-status.no-uuid"):
    """The message holds the first 36 characters of the id."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        if refusal.code is StatusCode.NOT_FOUND:
            return Refusal(refusal.code, f"job not found: {request.id[:36]}")
        return refusal


class QuotesIds(Broken, caught_by="properties.unknown-ids"):
    """What is not ASCII in an id is shown in another way."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(refusal.code, refusal.words.encode("ascii", "backslashreplace").decode())


class NoIdIsAnyJob(Broken, caught_by="get-job-status.no-id"):
    """Without an id the newest job is meant."""

    def request(self, call: str, request: Any) -> Any:
        if call == "GetJobStatus" and not request.id:
            request.id = self.joblet.jobs.list()[-1].id
        return request


class WholeIdsOnly(Broken, caught_by="stop-job.prefix"):
    """The beginning of a UUID is not enough."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopJob" and len(request.id) < 36:
            raise Refusal(StatusCode.NOT_FOUND, f"job not found: {request.id}")
        return await go(request)


class AlwaysCompleted(Broken, caught_by="stop-job.failed"):
    """The refusal of a stop says COMPLETED, however the job has ended."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(refusal.code, refusal.words.replace("FAILED", "COMPLETED"))


class StopsWhatHasEnded(Broken, caught_by="stop-job.completed"):
    """A stop of a job that has ended succeeds."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        try:
            return await go(request)
        except Refusal:
            if call != "StopJob":
                raise
            return pb.StopJobRes(id=request.id, status="COMPLETED")


class StopsAgain(StopsWhatHasEnded, caught_by="stop-job.twice"):
    """A stop of a job that was stopped succeeds too."""


class FailedPrecondition(Broken, caught_by="stop-job.not-running-code"):
    """A stop of a job that has ended is a failed precondition."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(StatusCode.FAILED_PRECONDITION, refusal.words) if call == "StopJob" else refusal


class OtherWordsForDanger(Broken, caught_by="run-job.dangerous"):
    """A dangerous command is refused in other words."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(refusal.code, refusal.words.replace("dangerous", "forbidden"))


class RunsNothing(Broken, caught_by="run-job.empty-command"):
    """An empty command succeeds at once."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            request.command = request.command or "true"
        return request


class RunsBlanks(Broken, caught_by="run-job.blank-command"):
    """A blank command is a program that is not found."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.command.isspace():
            request.command = "blank"
        return request


class NegativeIsDefault(Broken, caught_by="run-job.negative-maxmemory"):
    """A negative memory limit is the default."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            request.maxMemory = max(request.maxMemory, 0)
        return request


class NegativeIsUnlimited(Broken, caught_by="run-job.negative-maxiobps"):
    """A negative I/O limit is none."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            request.maxIOBPS = max(request.maxIOBPS, 0)
        return request


class MinusOneIsDefault(Broken, caught_by="run-job.negative-maxcpu"):
    """-1 is the default CPU limit; other negative numbers are refused."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob" and request.maxCPU == -1:
            request.maxCPU = 0
        return request


class ClampsMemory(Broken, caught_by="run-job.too-much-memory"):
    """A memory limit above the machine's is lowered to it."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            request.maxMemory = min(request.maxMemory, 8192)
        return request


class ClampsCores(Broken, caught_by="run-job.too-much-cpu"):
    """A CPU limit above the machine's is lowered to it."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            request.maxCPU = min(request.maxCPU, 400)
        return request


class OneCoreAtMost(Broken, caught_by="run-job.two-cores"):
    """A CPU limit above one core is lowered to it."""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            request.maxCPU = min(request.maxCPU, 100)
        return request


class TooMuchIsInternal(Broken, caught_by="run-job.too-much-memory-code"):
    """A limit above the machine's is a fault of the server."""

    def refusal(self, call: str, request: Any, refusal: Refusal) -> Refusal:
        return Refusal(StatusCode.INTERNAL, refusal.words) if "exceeds" in refusal.words else refusal


class RefusesButRuns(Broken, caught_by="run-job.refused-makes-none"):
    """A request with an invalid limit is refused, but its job runs with the default."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "RunJob" and request.maxCPU < 0:
            request.maxCPU = 0
            await go(request)
            raise Refusal(StatusCode.INVALID_ARGUMENT, "job creation failed: maxCPU must not be negative")
        return await go(request)


class RefusesLaterVersions(Broken, caught_by="messages.unknown-fields"):
    """A field that the server does not know is refused."""

    def request(self, call: str, request: Any) -> Any:
        if len(UnknownFieldSet(request)):
            raise Refusal(StatusCode.INVALID_ARGUMENT, "invalid request: unknown field")
        return request


class RefusesLongFields(Broken, caught_by="properties.unknown-fields"):
    """A field that the server does not know must be short."""

    def request(self, call: str, request: Any) -> Any:
        unknown = UnknownFieldSet(request)
        if any(len(unknown[at].data) > 10 for at in range(len(unknown))):
            raise Refusal(StatusCode.INVALID_ARGUMENT, "invalid request: unknown field")
        return request


class TakesTooMuch(Broken, caught_by="messages.too-large"):
    """A message may have 4 MB."""

    wire = WireOptions(max_receive_bytes=4_194_304)


class TakesTooLittle(Broken, caught_by="messages.large"):
    """A message may have 64 KB."""

    wire = WireOptions(max_receive_bytes=65_536)


class TakesOneByteLess(Broken, caught_by="messages.large"):
    """A message must be shorter than 512 KB."""

    wire = WireOptions(max_receive_bytes=524_287)


class TakesOneByteMore(Broken, caught_by="messages.too-large"):
    """A message may have 512 KB and a byte."""

    wire = WireOptions(max_receive_bytes=524_289)


class MissingProgramIsCompleted(Broken, caught_by="run-job.not-found"):
    """A program that is not there has done its work."""

    def answer(self, call: str, answer: Any) -> Any:
        if call == "GetJobStatus" and answer.exitCode == 127:
            answer.status, answer.exitCode = "COMPLETED", 0
        return answer


class StatusByWholeIds(Broken, caught_by="get-job-status.prefix"):
    """The beginning of a UUID is not enough to look a job up."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "GetJobStatus" and len(request.id) < 36:
            raise Refusal(StatusCode.NOT_FOUND, f"job not found: {request.id}")
        return await go(request)


class StopsNobody(Broken, caught_by="stop-job.no-id"):
    """Without an id all is well, for there is nothing to stop."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopJob" and not request.id:
            return pb.StopJobRes()
        return await go(request)


class NoUuidIsInvalid(Broken, caught_by="stop-job.no-uuid"):
    """An id that is no UUID is an invalid argument."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopJob" and len(request.id) != 36:
            raise Refusal(StatusCode.INVALID_ARGUMENT, f"invalid job id: {request.id}")
        return await go(request)


class GuessesGarbage(Broken, caught_by="messages.garbage"):
    """Bytes that are no request are taken for one that is empty enough."""

    def read(self, call: str, parse: Callable[[bytes], Any], data: bytes) -> Any:
        request = parse(data)
        return request if isinstance(request, Message) else pb.RunJobReq(command="true")


class SlowDisksOnly(Broken, caught_by="run-job.largest-iobps"):
    """No disk does more than a gigabyte a second."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "RunJob" and request.maxIOBPS > 10**9:
            raise Refusal(StatusCode.INVALID_ARGUMENT, "job creation failed: maxIOBPS exceeds system limits")
        return await go(request)


class WantsArguments(Broken, caught_by="run-job.no-arguments"):
    """A command without arguments is refused."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "RunJob" and request.command and not request.args:
            raise Refusal(StatusCode.INVALID_ARGUMENT, "invalid command: no arguments")
        return await go(request)


class _Allows(Broken, caught_by=""):
    """One character that only a shell understands is not dangerous."""

    character = ""

    def request(self, call: str, request: Any) -> Any:
        if call == "RunJob":
            request.command = request.command.replace(self.character, "")
        return request


class AllowsSemicolons(_Allows, caught_by="run-job.dangerous-semicolon"):
    """A semicolon is not dangerous."""

    character = ";"


class AllowsAmpersands(_Allows, caught_by="run-job.dangerous-ampersand"):
    """An ampersand is not dangerous."""

    character = "&"


class AllowsPipes(_Allows, caught_by="run-job.dangerous-pipe"):
    """A pipe is not dangerous."""

    character = "|"


class AllowsDollars(_Allows, caught_by="run-job.dangerous-dollar"):
    """A dollar is not dangerous."""

    character = "$"


class AllowsInput(_Allows, caught_by="run-job.dangerous-less"):
    """Reading from a file is not dangerous."""

    character = "<"


class AllowsOutput(_Allows, caught_by="run-job.dangerous-greater"):
    """Writing to a file is not dangerous."""

    character = ">"


class AllowsBackticks(_Allows, caught_by="run-job.dangerous-backtick"):
    """A backtick is not dangerous."""

    character = "`"


class AllowsNewlines(_Allows, caught_by="run-job.dangerous-newline"):
    """A newline is not dangerous."""

    character = "\n"


class NearlyIsEnough(Broken, caught_by="get-job-status.unknown"):
    """A job is looked up by the first eight characters of an id."""

    def __init__(self) -> None:
        self._jobs: dict[str, str] = {}

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "GetJobStatus":
            request.id = self._jobs.get(request.id[:8], request.id)
        answer = await go(request)
        if call == "RunJob":
            self._jobs[answer.id[:8]] = answer.id
        return answer
