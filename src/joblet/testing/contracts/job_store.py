"""
What `ports.JobStore` promises, as checks for every store.

Runs in: tests. May not: be imported by production code.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from joblet.domain.errors import StorageFailed
from joblet.domain.job import MASK, Ended, Job, JobId, JobSpec, JobState, Running, Usage
from joblet.domain.limits import Limits
from joblet.ports import JobStore


class JobStoreSubject(Protocol):
    """A store under test."""

    def open(self) -> JobStore:
        """The store, empty the first time. Called again once the one before is closed: its content is the same."""


def a_job(job_id: str = "", *, created_ns: int = 1, command: str = "echo") -> Job:
    """A job that uses every field."""
    spec = JobSpec(
        command=command,
        args=("hello", "wörld\n", ""),
        limits=Limits(150, "0-1", 1 << 40, 1_000_000),
        timeout_s=12.5,
        name="greeting",
        work_dir="/data",
        environment={"LANG": "C.UTF-8", "EMPTY": ""},
        secret_environment={"TOKEN": "hunter2"},
    )
    return Job(JobId(job_id or str(uuid.uuid4())), spec, created_ns, limits_enforced="no: no cgroups")


AN_END: Final = Ended(
    JobState.FAILED,
    exit_code=137,
    started_ns=1_705_314_600_000_000_001,
    ended_ns=1_705_314_600_000_000_002,
    reason="out of memory",
    signal=9,
    oom_killed=True,
    log_bytes=1 << 41,
    usage=Usage(1, 2, 3, 4),
)


def masked(job: Job) -> Job:
    """The job as a store gives it back."""
    secrets = dict.fromkeys(job.spec.secret_environment, MASK)
    return replace(job, spec=replace(job.spec, secret_environment=secrets))


async def a_job_is_kept_with_every_field_but_its_secrets(subject: JobStoreSubject) -> None:
    """`JobStore.add`, `get`."""
    store = subject.open()
    job = a_job()

    await store.add(job)

    assert store.get(job.id) == masked(job)
    await store.close()


async def each_phase_is_kept(subject: JobStoreSubject) -> None:
    """`JobStore.update`."""
    store = subject.open()
    job = a_job()
    await store.add(job)

    for phase in (Running(started_ns=5, pid=7), AN_END):
        await store.update(replace(job, phase=phase))

        assert store.get(job.id) == replace(masked(job), phase=phase)
    await store.close()


async def what_was_stored_is_there_for_the_next_server(subject: JobStoreSubject) -> None:
    """`JobStore`: for ever."""
    job = replace(a_job(), phase=AN_END)
    store = subject.open()
    await store.add(job)
    await store.close()

    store = subject.open()

    assert store.all() == [masked(job)]
    await store.close()


async def an_id_is_stored_once(subject: JobStoreSubject) -> None:
    """`JobStore.add`: nothing was stored, and what was there still is."""
    store = subject.open()
    job = a_job(command="first")
    await store.add(job)

    try:
        await store.add(replace(job, spec=replace(job.spec, command="second")))
    except StorageFailed:
        pass
    else:
        raise AssertionError("the second job with the same id was accepted")

    assert [found.spec.command for found in store.all()] == ["first"]
    await store.close()


async def an_update_of_an_unknown_job_is_refused(subject: JobStoreSubject) -> None:
    """`JobStore.update`: a known job."""
    store = subject.open()

    try:
        await store.update(a_job())
    except StorageFailed:
        pass
    else:
        raise AssertionError("an unknown job was updated")

    assert store.all() == []
    await store.close()


async def one_refused_write_fails_its_caller_only(subject: JobStoreSubject) -> None:
    """Writes at the same time share a disk, not a fate."""
    store = subject.open()
    jobs = [a_job() for _ in range(20)]
    await store.add(jobs[7])

    results = await asyncio.gather(*(store.add(job) for job in jobs), return_exceptions=True)

    assert [number for number, result in enumerate(results) if result is not None] == [7]
    assert isinstance(results[7], StorageFailed)
    assert len(store.all()) == 20
    await store.close()


async def writes_happen_in_the_order_they_were_asked_for(subject: JobStoreSubject) -> None:
    """An update that follows an add at once finds it."""
    store = subject.open()
    job = a_job()

    await asyncio.gather(
        store.add(job),
        store.update(replace(job, phase=Running(1, 2))),
        store.update(replace(job, phase=AN_END)),
    )

    assert store.get(job.id) == replace(masked(job), phase=AN_END)
    await store.close()


async def a_prefix_matches_what_begins_with_it(subject: JobStoreSubject) -> None:
    """`JobStore.matching`: sorted, at most `limit`, none for an empty prefix."""
    store = subject.open()
    ids = [f"{head}-0000-4000-8000-000000000000" for head in ("aaaaaaa1", "aaaaaaa2", "aaaaaaaf", "aaaaaab0")]
    for job_id in reversed(ids):
        await store.add(a_job(job_id))

    assert store.matching("aaaaaaa", 10) == ids[:3]
    assert store.matching("aaaaaaa", 2) == ids[:2]
    assert store.matching(ids[3], 10) == [ids[3]]
    assert store.matching("", 10) == []
    assert store.matching("b", 10) == []
    # Characters that mean something to a pattern mean nothing here.
    assert store.matching("%", 10) == store.matching("_", 10) == store.matching("*", 10) == []
    await store.close()


async def jobs_are_listed_oldest_first(subject: JobStoreSubject) -> None:
    """`JobStore.all`: also those of the same nanosecond, in the order they came."""
    store = subject.open()
    jobs = [a_job(created_ns=created_ns) for created_ns in (30, 10, 20, 20)]
    for job in jobs:
        await store.add(job)

    assert [job.id for job in store.all()] == [jobs[1].id, jobs[2].id, jobs[3].id, jobs[0].id]
    await store.close()


async def jobs_are_read_backwards_in_pieces(subject: JobStoreSubject) -> None:
    """`JobStore.older_than`: each job once, also those of the same nanosecond, also when new ones come meanwhile."""
    store = subject.open()
    jobs = [a_job(created_ns=created_ns) for created_ns in (30, 10, 20, 20)]
    for job in jobs:
        await store.add(job)

    first = store.older_than(None, 2)
    await store.add(a_job(created_ns=40))
    second = store.older_than(first[-1].id, 1)
    third = store.older_than(second[-1].id, 10)

    assert [job.id for job in (*first, *second, *third)] == [jobs[0].id, jobs[3].id, jobs[2].id, jobs[1].id]
    assert store.older_than(third[-1].id, 10) == []
    await store.close()


async def only_jobs_that_have_not_ended_are_unfinished(subject: JobStoreSubject) -> None:
    """`JobStore.unfinished`."""
    store = subject.open()
    waiting, running, ended = a_job(created_ns=1), a_job(created_ns=2), a_job(created_ns=3)
    for job in (waiting, running, ended):
        await store.add(job)
    await store.update(replace(running, phase=Running(5, 7)))
    await store.update(replace(ended, phase=AN_END))

    assert [job.id for job in store.unfinished()] == [waiting.id, running.id]
    await store.close()


async def the_jobs_of_a_workflow_come_in_the_order_they_were_added(subject: JobStoreSubject) -> None:
    """`JobStore.of_workflow`: all attempts; what they wait for is kept."""
    store = subject.open()
    jobs = [replace(a_job(created_ns=9 - number), workflow="w1", dependencies=("a", "ü")) for number in range(3)]
    for job in (*jobs, a_job(), replace(a_job(), workflow="w2")):
        await store.add(job)

    assert store.of_workflow("w1") == [masked(job) for job in jobs]
    assert store.of_workflow("") == []
    assert store.of_workflow("w") == []
    await store.close()


async def an_unknown_job_is_none(subject: JobStoreSubject) -> None:
    """`JobStore.get`: exactly this id."""
    store = subject.open()
    job = a_job()
    await store.add(job)

    assert store.get(JobId(str(uuid.uuid4()))) is None
    assert store.get(JobId(job.id[:8])) is None
    await store.close()


JOB_STORE_CONTRACT: Final[Sequence[Callable[[JobStoreSubject], Awaitable[None]]]] = (
    a_job_is_kept_with_every_field_but_its_secrets,
    each_phase_is_kept,
    what_was_stored_is_there_for_the_next_server,
    an_id_is_stored_once,
    an_update_of_an_unknown_job_is_refused,
    one_refused_write_fails_its_caller_only,
    writes_happen_in_the_order_they_were_asked_for,
    a_prefix_matches_what_begins_with_it,
    jobs_are_listed_oldest_first,
    jobs_are_read_backwards_in_pieces,
    only_jobs_that_have_not_ended_are_unfinished,
    the_jobs_of_a_workflow_come_in_the_order_they_were_added,
    an_unknown_job_is_none,
)
# A store that is gone when it is closed keeps all the other promises.
NEEDS_A_DISK: Final = frozenset({what_was_stored_is_there_for_the_next_server})
