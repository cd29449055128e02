"""
Every error of the server arrives at the client as itself.

Runs in: pytest.
"""

from collections.abc import Iterator

import pytest

from joblet.api.status import CODE, details
from joblet.client.errors import ClientError, UnexpectedAnswer, answer_of, code_of
from joblet.domain import errors
from joblet.domain.errors import JobletError

JOB_ID = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

SAMPLES: dict[type[JobletError], JobletError] = {
    type(sample): sample
    for sample in (
        errors.Unauthenticated("no TLS information found"),
        errors.NotAllowed("viewer", "run_job"),
        errors.JobNotFound(JOB_ID),
        errors.AmbiguousJobId("f4", [JOB_ID, "f4000000-58cc-4372-a567-0e02b2c3d479"]),
        errors.JobNotRunning(JOB_ID, "COMPLETED"),
        errors.InvalidCommand("command is empty"),
        errors.InvalidLimit("maxMemory exceeds system limits"),
        errors.InvalidRequest("a line\nbreak"),
        errors.TooManyJobs(100),
        errors.CgroupSetupFailed("permission denied"),
        errors.IsolationFailed("operation not permitted"),
        errors.NotLinux("darwin"),
        errors.EngineUnavailable("the supervisor does not answer"),
        errors.ShuttingDown(),
        errors.SlowReader(JOB_ID, 30.0, 4096),
        errors.LogPruned(JOB_ID, 4096),
        errors.LogDamaged(JOB_ID, f"{JOB_ID}.log.z", "block 3 does not match its checksum"),
        errors.NotAvailable("RunWorkflow"),
        errors.WorkflowNotFound(JOB_ID),
        errors.AmbiguousWorkflowId("f4", [JOB_ID, "f4000000-58cc-4372-a567-0e02b2c3d479"]),
        errors.WorkflowNotRunning(JOB_ID, "COMPLETED"),
        errors.InvalidWorkflow(["w.yaml:1:1: is empty; a workflow needs jobs", "w.yaml:2:1: unknown key"]),
        errors.UnavailableInWorkflow(["w.yaml:3:5: jobs.a.volumes: volumes"]),
        errors.StorageFailed("database or disk is full"),
        errors.JobNotStored("database or disk is full"),
    )
}


def descendants(kind: type[JobletError]) -> Iterator[type[JobletError]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_error_a_server_can_send_has_a_sample_here() -> None:
    assert set(SAMPLES) == set(CODE) == set(descendants(JobletError))


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
def test_an_error_comes_back_as_it_was_raised(kind: type[JobletError]) -> None:
    """Same kind, same words, and the same code when a program asks for it."""
    sent = SAMPLES[kind]

    received = answer_of(CODE[kind].name, details(sent))

    assert type(received) is kind
    assert received.message == sent.message
    assert code_of(received) == CODE[kind].name


def test_words_under_another_code_are_not_taken_for_the_error() -> None:
    assert answer_of("INTERNAL", f"job not found: {JOB_ID}") is None


def test_an_answer_without_a_name_keeps_its_code_and_words() -> None:
    error = UnexpectedAnswer("DATA_LOSS", "something new")

    assert isinstance(error, ClientError)
    assert (code_of(error), error.message) == ("DATA_LOSS", "something new")
