"""
What `ports.WorkflowStore` promises, as checks for every store.

Runs in: tests. May not: be imported by production code.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from joblet.domain.errors import StorageFailed
from joblet.domain.workflow.states import Counts, WorkflowState
from joblet.domain.workflow.workflow import Workflow, WorkflowId, WorkflowJob
from joblet.ports import WorkflowStore

TEXT: Final = "jobs: {wörk: {command: echo, secret_environment: {TOKEN: hunter2}}}"


class WorkflowStoreSubject(Protocol):
    """A store under test."""

    def open(self) -> WorkflowStore:
        """The store, empty the first time. Called again once the one before is closed: its content is the same."""

    async def close(self) -> None:
        """Let go of it."""

    def stored(self) -> str:
        """Everything that somebody could read who has what it is stored in."""


def a_workflow(*, created_ns: int = 1) -> Workflow:
    """One that has just begun."""
    return Workflow(
        WorkflowId(str(uuid.uuid4())), "nightly.yaml", created_ns, TEXT.replace("hunter2", "***"), Counts(2)
    )


def ended(workflow: Workflow) -> Workflow:
    """The same, with every field of an end."""
    return replace(
        workflow,
        state=WorkflowState.FAILED,
        counts=Counts(2, completed=0, failed=1, canceled=1),
        started_ns=5,
        ended_ns=7,
        reason="because",
    )


JOBS: Final = (
    WorkflowJob("wörk", (), "FAILED", str(uuid.uuid4()), 5, 6, 137, "out of memory", 3),
    WorkflowJob("after", ("wörk",), "CANCELED", reason="wörk FAILED"),
)


async def a_workflow_is_kept_with_every_field(subject: WorkflowStoreSubject) -> None:
    """`WorkflowStore.add`, `get`."""
    store = subject.open()
    workflow = a_workflow()

    await store.add(workflow, TEXT)

    assert store.get(workflow.id) == workflow
    assert store.get(WorkflowId(str(uuid.uuid4()))) is None
    with_same_id = replace(a_workflow(), id=workflow.id)
    try:
        await store.add(with_same_id, TEXT)
    except StorageFailed:
        pass
    else:
        raise AssertionError("an id was stored twice")
    assert store.jobs(workflow.id) == []
    await subject.close()


async def one_that_has_not_ended_comes_back_with_its_text_and_whether_it_is_to_stop(
    subject: WorkflowStoreSubject,
) -> None:
    """`WorkflowStore.unfinished`, `request_stop`."""
    store = subject.open()
    later, earlier, over = a_workflow(created_ns=2), a_workflow(created_ns=1), a_workflow(created_ns=3)
    for workflow in (later, earlier, over):
        await store.add(workflow, TEXT)
    await store.request_stop(later.id)
    await store.finish(ended(over), JOBS)

    found = store.unfinished()

    assert [(each.workflow, each.text, each.stop_requested) for each in found] == [
        (earlier, TEXT, False),
        (later, TEXT, True),
    ]
    assert "hunter2" not in repr(found)
    await subject.close()


async def an_end_is_kept_with_every_job(subject: WorkflowStoreSubject) -> None:
    """`WorkflowStore.finish`, `jobs`."""
    store = subject.open()
    workflow = a_workflow()
    await store.add(workflow, TEXT)

    await store.finish(ended(workflow), JOBS)

    assert store.get(workflow.id) == ended(workflow)
    assert tuple(store.jobs(workflow.id)) == JOBS
    await subject.close()


async def what_is_not_there_cannot_be_changed(subject: WorkflowStoreSubject) -> None:
    """StorageFailed."""
    store = subject.open()
    for attempt in (store.finish(ended(a_workflow()), JOBS), store.request_stop(a_workflow().id)):
        try:
            await attempt
        except StorageFailed:
            continue
        raise AssertionError("it was changed")
    await subject.close()


async def secrets_are_never_stored_in_clear_nor_after_the_end(subject: WorkflowStoreSubject) -> None:
    """What the text says is only for the store itself, and only while it is needed."""
    store = subject.open()
    workflow = a_workflow()
    await store.add(workflow, TEXT)
    under_way = subject.stored()

    await store.finish(ended(workflow), JOBS)

    assert "hunter2" not in under_way
    assert "hunter2" not in subject.stored()
    assert len(subject.stored()) < len(under_way) + 1000  # what was sealed has gone
    assert store.unfinished() == []
    await subject.close()


async def a_prefix_matches_what_begins_with_it(subject: WorkflowStoreSubject) -> None:
    """`WorkflowStore.matching`."""
    store = subject.open()
    ids = [WorkflowId(f"{first}0000000-0000-4000-8000-000000000000") for first in "abab"]
    ids[2:] = [WorkflowId(each.replace("8000", "9000")) for each in ids[2:]]
    for workflow_id in ids:
        await store.add(replace(a_workflow(), id=workflow_id), TEXT)

    assert store.matching("a", 10) == sorted(each for each in ids if each.startswith("a"))
    assert store.matching("a", 1) == [min(ids)]
    assert store.matching("", 10) == []
    assert store.matching("c", 10) == []
    await subject.close()


async def workflows_are_read_backwards_in_pieces(subject: WorkflowStoreSubject) -> None:
    """`WorkflowStore.older_than`: each once, also those of the same nanosecond, without their yaml."""
    store = subject.open()
    workflows = [a_workflow(created_ns=created_ns) for created_ns in (30, 10, 20, 20)]
    for workflow in workflows:
        await store.add(workflow, TEXT)

    first = store.older_than(None, 2)
    await store.add(a_workflow(created_ns=40), TEXT)
    rest = store.older_than(first[-1].id, 10)

    assert [each.id for each in (*first, *rest)] == [workflows[index].id for index in (0, 3, 2, 1)]
    assert {each.yaml for each in (*first, *rest)} == {""}
    assert store.older_than(rest[-1].id, 10) == []
    await subject.close()


async def what_was_stored_is_there_for_the_next_server(subject: WorkflowStoreSubject) -> None:
    """Durable on return."""
    store = subject.open()
    workflow = a_workflow()
    await store.add(workflow, TEXT)
    await subject.close()

    assert [(each.workflow, each.text) for each in subject.open().unfinished()] == [(workflow, TEXT)]
    await subject.close()


WORKFLOW_STORE_CONTRACT: Final[Sequence[Callable[[WorkflowStoreSubject], Awaitable[None]]]] = (
    a_workflow_is_kept_with_every_field,
    one_that_has_not_ended_comes_back_with_its_text_and_whether_it_is_to_stop,
    an_end_is_kept_with_every_job,
    what_is_not_there_cannot_be_changed,
    secrets_are_never_stored_in_clear_nor_after_the_end,
    a_prefix_matches_what_begins_with_it,
    workflows_are_read_backwards_in_pieces,
    what_was_stored_is_there_for_the_next_server,
)
