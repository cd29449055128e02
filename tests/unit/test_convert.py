"""The wire's words and units: megabytes, seconds, RFC 3339, masks."""

from dataclasses import replace

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from joblet.api import convert
from joblet.client.convert import piece_of
from joblet.domain.errors import InvalidRequest
from joblet.domain.job import Ended, Job, JobId, JobSpec, JobState, Phase, Running, Usage, Waiting
from joblet.domain.limits import MIB, Limits
from joblet.wire import joblet_pb2 as pb

INT32_MAX = 2**31 - 1
START_NS = 1_705_314_600 * 1_000_000_000  # 2024-01-15T10:30:00Z
END_NS = START_NS + 900 * 1_000_000_000 + 999_999_999
LIMITS = Limits(50, "0-1", 512 * MIB, 1000)
ENDED = Ended(JobState.FAILED, 137, START_NS, END_NS, "killed", 9, True, 77, Usage(1, 2, 3, 4))


def a_job(phase: Phase = ENDED, *, limits: Limits = LIMITS, timeout_s: float = 60) -> Job:
    """A job with something in every field."""
    spec = JobSpec("python3", ("a", "b"), limits, timeout_s, "name", "/tmp", {"A": "b"}, {"TOKEN": "s3cr3t"})
    return Job(JobId("f47ac10b"), spec, START_NS, phase)


def test_a_request_is_taken_over_in_the_services_units() -> None:
    """Megabytes become bytes; 0 stays 0, which means the default."""
    asked = convert.job_request(
        pb.RunJobReq(
            command="python3",
            args=["a", ""],
            maxCPU=50,
            maxMemory=3,
            maxIOBPS=7,
            cpuCores="0-1",
            workDir="/tmp",
            environment={"A": "b"},
            secret_environment={"TOKEN": "s3cr3t"},
            timeout=9,
            name="n",
        )
    )

    assert (asked.command, asked.args) == ("python3", ("a", ""))
    assert (asked.cpu_max_percent, asked.memory_max_bytes, asked.io_max_bytes_per_s) == (50, 3 * MIB, 7)
    assert (asked.cpu_cores, asked.work_dir, asked.timeout_s, asked.name) == ("0-1", "/tmp", 9, "n")
    assert (asked.environment, asked.secret_environment) == ({"A": "b"}, {"TOKEN": "s3cr3t"})
    nothing = convert.job_request(pb.RunJobReq(command="true"))
    assert (nothing.cpu_max_percent, nothing.memory_max_bytes, nothing.io_max_bytes_per_s, nothing.timeout_s) == (
        0, 0, 0, 0,
    )  # fmt: skip


@pytest.mark.parametrize("field", ["maxCPU", "maxMemory", "maxIOBPS", "timeout"])
@pytest.mark.parametrize("value", [-(2**31), -1, 1, INT32_MAX])
def test_every_number_the_wire_can_carry_gets_to_the_checks(field: str, value: int) -> None:
    """Whether it makes sense is the domain's to say."""
    request = pb.RunJobReq(command="true")
    setattr(request, field, value)

    asked = convert.job_request(request)

    numbers = (asked.cpu_max_percent, asked.memory_max_bytes, asked.io_max_bytes_per_s, asked.timeout_s)
    assert sorted(map(abs, numbers))[-1] == abs(value) * (MIB if field == "maxMemory" else 1)


@pytest.mark.parametrize("field", ["network", "jobType"])
@pytest.mark.parametrize("value", ["Host", "host ", "Standard", "none"])
def test_words_are_taken_exactly(field: str, value: str) -> None:
    """A near miss is refused, not guessed."""
    request = pb.RunJobReq(command="true")
    setattr(request, field, value)

    with pytest.raises(InvalidRequest, match=f"invalid request: {field} is not yet available on this server"):
        convert.job_request(request)


def test_a_status_says_everything() -> None:
    """Field by field; no field of the answer is forgotten but those of later issues."""
    answer = convert.get_job_status_res(a_job(), log_bytes=77)

    assert answer == pb.GetJobStatusRes(
        id="f47ac10b",
        name="name",
        command="python3",
        args=["a", "b"],
        maxCPU=50,
        cpuCores="0-1",
        maxMemory=512,
        maxIOBPS=1000,
        status="FAILED",
        startTime="2024-01-15T10:30:00Z",
        endTime="2024-01-15T10:45:00Z",
        exitCode=137,
        environment={"A": "b"},
        secret_environment={"TOKEN": "***"},
        network="host",
        workDir="/tmp",
        timeout=60,
        reason="killed",
        signal=9,
        oomKilled=True,
        cpuUsageUsec=1,
        memoryPeakBytes=2,
        ioReadBytes=3,
        ioWriteBytes=4,
        logBytes=77,
        limitsEnforced="yes",
    )


@pytest.mark.parametrize(
    ("phase", "status", "start"),
    [
        (Waiting(), "INITIALIZING", ""),
        (Running(START_NS, 1), "RUNNING", "2024-01-15T10:30:00Z"),
        (ENDED, "RUNNING", "2024-01-15T10:30:00Z"),
    ],
)
def test_the_answer_to_run_job_is_about_the_start(phase: Phase, status: str, start: str) -> None:
    """INITIALIZING or RUNNING, also when the job has ended in the meantime."""
    answer = convert.run_job_res(a_job(phase))

    assert (answer.status, answer.startTime, answer.endTime, answer.exitCode) == (status, start, "", 0)


def test_no_answer_holds_a_secret() -> None:
    """Names only, in every answer that has them."""
    job = a_job()
    answers = [
        convert.run_job_res(job),
        convert.get_job_status_res(job, 0),
        convert.list_entry(job),
        convert.stop_job_res(job),
    ]

    assert b"s3cr3t" not in b"".join(answer.SerializeToString() for answer in answers)
    assert dict(convert.list_entry(job).secret_environment) == {"TOKEN": "***"}


@given(cpu=st.integers(0, 2**40), memory=st.integers(0, 2**62), io=st.integers(0, 2**62), timeout_s=st.floats(0, 1e12))
def test_what_does_not_fit_the_wire_is_the_most_it_can_carry(cpu: int, memory: int, io: int, timeout_s: float) -> None:
    """A configured default may be larger than int32; no answer fails for it."""
    job = a_job(limits=Limits(cpu, "", memory, io), timeout_s=timeout_s)

    answer = convert.get_job_status_res(job, 0)

    assert answer.maxCPU == min(cpu, INT32_MAX)
    assert answer.maxMemory == min(memory // MIB, INT32_MAX)
    assert answer.maxIOBPS == min(io, INT32_MAX)
    assert convert.list_entry(job).maxMemory == convert.run_job_res(job).maxMemory == answer.maxMemory


@pytest.mark.parametrize(
    ("at_ns", "text"),
    [
        (0, ""),
        (START_NS, "2024-01-15T10:30:00Z"),
        (START_NS + 999_999_999, "2024-01-15T10:30:00Z"),
        (951_782_400 * 10**9, "2000-02-29T00:00:00Z"),
    ],
)
def test_times_are_rfc_3339_in_utc_and_whole_seconds(at_ns: int, text: str) -> None:
    """Empty for never."""
    assert convert.rfc3339(at_ns) == text


def test_a_reason_with_bytes_that_are_no_text_can_be_sent() -> None:
    """A file name on Linux is any bytes; the answer is still UTF-8."""
    job = a_job(replace(ENDED, reason="cannot execute \udcff"))

    assert convert.get_job_status_res(job, 0).reason == "cannot execute ?"


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 1 << 20, (1 << 21) + 3])
def test_a_chunk_encoded_by_hand_is_protobufs_own(length: int) -> None:
    payload = (bytes(range(256)) * (length // 256 + 1))[:length]

    for offset in (0, 1, 127, 128, 1 << 20, 2**63 - 1):
        encoded = convert.encoded_chunk(payload, offset)
        assert encoded == pb.DataChunk(payload=payload, offset=offset).SerializeToString()
        assert len(encoded) - length <= 16  # what the server leaves room for


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("", 0),
        ("2024-01-15T10:30:00Z", 1_705_314_600_000_000_000),
        ("2024-01-15T11:30:00.25+01:00", 1_705_314_600_250_000_000),
        ("1970-01-01T00:00:00.000001Z", 1000),
    ],
)
def test_a_time_of_a_request_is_rfc_3339(text: str, at_ns: int) -> None:
    assert convert.time_ns("since", text) == at_ns


@pytest.mark.parametrize(
    "text",
    ["10m", "2024-01-15", "2024-01-15T10:30:00", "1969-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "x" * 5000],
)
def test_another_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="since must be an RFC 3339 time such as 2024-01-15T10:30:00Z"):
        convert.time_ns("since", text)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 1 << 20, (1 << 21) + 3])
def test_a_client_reads_the_piece_of_a_chunk_as_protobuf_does(length: int) -> None:
    payload = (bytes(range(256)) * (length // 256 + 1))[:length]

    assert piece_of(pb.DataChunk(payload=payload).SerializeToString()) == (payload, 0)
    assert piece_of(pb.DataChunk(payload=payload, offset=7).SerializeToString()) == (payload, 7)


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (b"\x0a\x01x\x10\x05", b"x"),  # a field that this client does not know yet
        (b"\x10\x05\x0a\x01x", b"x"),
        (b"\x0a\x01x\x0a\x01y", b"y"),  # the last one counts
        (b"\x0a\x81\x80\x80\x00x", b"x"),  # a length in more bytes than it needs
    ],
)
def test_a_chunk_that_says_more_than_its_payload_is_read_by_protobuf(message: bytes, payload: bytes) -> None:
    assert piece_of(message) == (payload, 0)


@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\x02x", b"\x0a\x81\x80\x80\x80\x80\x00x", b"\x0a\xff\xff\xff\xff\xff\xff", b"\xff"]
)
def test_what_is_no_chunk_is_refused(message: bytes) -> None:
    with pytest.raises(DecodeError):
        piece_of(message)
