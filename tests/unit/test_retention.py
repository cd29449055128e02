"""Which logs stay: the rules, and the server's task that keeps to them, on virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from joblet.domain.errors import LogPruned
from joblet.domain.job import Ended, Job, JobId
from joblet.domain.retention import (
    BLOCK_BYTES,
    Action,
    Compress,
    Mend,
    Remove,
    Rules,
    Space,
    StoredLog,
    Trim,
    shrink,
    surplus,
    tidy,
)
from joblet.ports import LogBusy
from joblet.services.retention import Retention
from joblet.testing.clock import SECOND_NS, pass_time
from joblet.testing.joblet import FakeJoblet
from joblet.testing.logs import FakeLogKeeper
from joblet.testing.programs import prints

NOW = 1_000_000
MIB = 1024 * 1024


def log(name: str, size_bytes: int = MIB, **known: object) -> StoredLog:
    return StoredLog(JobId(name), size_bytes, **{"disk_bytes": size_bytes, **known})  # type: ignore[arg-type]


def ended(**seconds_ago: int) -> dict[JobId, int]:
    return {JobId(name): (NOW - ago) * SECOND_NS for name, ago in seconds_ago.items()}


def tidied(rules: Rules, logs: Sequence[StoredLog], ended_ns: dict[JobId, int]) -> Sequence[Action]:
    return tidy(rules, logs, ended_ns, now_ns=NOW * SECOND_NS)


def test_without_rules_everything_stays() -> None:
    logs = [log("old", 1 << 50), log("running", 1 << 50)]

    assert Rules().keep_everything
    assert tidied(Rules(), logs, ended(old=10**6)) == []
    assert shrink(Rules(), logs, ended(old=10**6)) == []


def test_a_log_goes_when_its_job_ended_too_long_ago() -> None:
    rules = Rules(max_age_s=100)

    actions = tidied(rules, [log("old"), log("young"), log("running")], ended(old=101, young=100))

    assert actions == [Remove(JobId("old"))]


def test_a_log_is_compressed_once_its_job_has_ended_for_long_enough() -> None:
    logs = [log("old"), log("young"), log("running"), log("done", plain=False, archived=True)]

    actions = tidied(Rules(compress_after_s=100), logs, ended(old=101, young=100, done=10**6))

    assert actions == [Compress(JobId("old"))]


@pytest.mark.parametrize(
    ("size_bytes", "first_bytes", "cut_at"),
    [
        (100_000, 0, 0),
        (100_000 + BLOCK_BYTES - 1, 0, 0),
        (100_000 + BLOCK_BYTES, 0, BLOCK_BYTES),
        (1_000_000, 0, 897_024),
        (1_000_000, 897_024, 0),
        (1_000_000, 892_928, 897_024),
    ],
)
def test_a_log_keeps_its_newest_bytes_in_whole_blocks_whether_or_not_its_job_runs(
    size_bytes: int, first_bytes: int, cut_at: int
) -> None:
    rules = Rules(max_bytes_per_job=100_000)

    actions = tidied(rules, [log("running", size_bytes, first_bytes=first_bytes)], {})

    assert actions == ([Trim(JobId("running"), cut_at)] if cut_at else [])


def test_an_archive_is_not_cut() -> None:
    rules = Rules(max_bytes_per_job=100_000)

    assert tidied(rules, [log("done", plain=False, archived=True)], ended(done=1)) == []


def test_a_log_that_goes_is_neither_cut_nor_compressed_before() -> None:
    rules = Rules(max_bytes_per_job=100_000, max_age_s=10, compress_after_s=5)

    actions = tidied(rules, [log("old"), log("young")], ended(old=11, young=6))

    assert actions == [Remove(JobId("old")), Trim(JobId("young"), 946_176), Compress(JobId("young"))]


def test_what_was_interrupted_is_mended_and_what_is_left_of_a_removal_goes() -> None:
    logs = [
        log("half", interrupted=True),
        log("left", 0, plain=False, disk_bytes=4096),
        log("early", 0, plain=False, disk_bytes=4096),
    ]

    assert tidied(Rules(), logs, ended(half=1, left=1)) == [Mend(JobId("half")), Remove(JobId("left"))]


def test_the_logs_of_the_jobs_that_ended_first_go_until_all_together_are_small_enough() -> None:
    logs = [log("third"), log("running", 5 * MIB), log("first"), log("second")]
    ends = ended(first=30, second=20, third=10)

    assert shrink(Rules(max_bytes=8 * MIB), logs, ends) == []
    assert shrink(Rules(max_bytes=7 * MIB), logs, ends) == [Remove(JobId("first"))]
    assert shrink(Rules(max_bytes=6 * MIB - 1), logs, ends) == [
        Remove(JobId(each)) for each in ("first", "second", "third")
    ]
    assert surplus(Rules(max_bytes=MIB), logs) == 7 * MIB


def test_a_log_that_somebody_reads_is_not_removed() -> None:
    logs = [log("read"), log("unread")]
    rules = Rules(max_age_s=1, max_bytes=1)

    def is_read(job_id: JobId) -> bool:
        return job_id == "read"

    removed = [Remove(JobId("unread"))]
    assert tidy(rules, logs, ended(read=10, unread=9), now_ns=NOW * SECOND_NS, is_read=is_read) == removed
    assert shrink(rules, logs, ended(read=10, unread=9), is_read=is_read) == removed


# In the server


@dataclass
class Kept:
    """A server whose logs are looked after."""

    joblet: FakeJoblet
    keeper: FakeLogKeeper
    retention: Retention

    async def has_ended(self, data: bytes) -> Job:
        """A job that has printed this and ended."""
        job = await self.joblet.run(prints(data))
        await self.joblet.ended(job)
        return job

    def pruned(self) -> list[dict[str, object]]:
        """What the server log says was done."""
        return [dict(line.fields) for line in self.joblet.journal.saying("logs pruned")]


@contextlib.asynccontextmanager
async def kept(**rules: float) -> AsyncIterator[Kept]:
    async with FakeJoblet() as joblet:
        keeper = FakeLogKeeper(joblet.engine.logs)
        retention = Retention(
            joblet.jobs,
            joblet.logs,
            joblet.engine.logs,
            keeper,
            joblet.clock,
            joblet.journal,
            Rules(**rules),  # type: ignore[arg-type]
        )
        task = asyncio.create_task(retention.run())
        await pass_time(1)
        yield Kept(joblet, keeper, retention)
        task.cancel()
        await asyncio.wait((task,))


async def test_logs_that_are_too_old_go_within_a_minute_and_the_server_log_says_so() -> None:
    async with kept(max_age_s=3600) as server:
        old = await server.has_ended(b"x" * 1000)
        await pass_time(3500)
        young = await server.has_ended(b"y" * 500)
        await pass_time(200)

        assert server.pruned() == [{"bytes": 1000, "logs": 1, "removed": 1, "cut": 0, "compressed": 0}]
        assert await server.joblet.log(young) == b"y" * 500
        with pytest.raises(
            LogPruned, match=f"the log of job {old.id} is not kept any more: its 1000 bytes were removed"
        ):
            server.joblet.logs.stream(old.id)
        assert server.joblet.jobs.log_bytes(server.joblet.jobs.get(old.id)) == 1000


async def test_a_running_jobs_log_is_cut_and_its_followers_go_on() -> None:
    async with kept(max_bytes_per_job=10_000) as server:
        job = await server.joblet.run(prints(b"x" * 100_000).then_sleeps(300).then_prints(b"end"))
        stream = server.joblet.logs.stream(job.id)
        assert await anext(stream) + await anext(stream) == b"x" * 100_000
        await pass_time(61)
        assert server.pruned() == [{"bytes": 86_016, "logs": 1, "removed": 0, "cut": 1, "compressed": 0}]

        assert await anext(stream) == b"end"
        assert stream.begins_at == 0
        late = server.joblet.logs.stream(job.id)
        assert await anext(late) == b"x" * 13_984 + b"end"
        assert late.begins_at == 86_016
        await late.aclose()


async def test_a_finished_log_is_compressed_and_reads_the_same() -> None:
    async with kept(compress_after_s=600) as server:
        job = await server.has_ended(b"line\n" * 1000)
        await pass_time(700)

        assert server.pruned() == [{"bytes": 4500, "logs": 1, "removed": 0, "cut": 0, "compressed": 1}]
        assert await server.joblet.log(job) == b"line\n" * 1000


async def test_compressing_comes_before_removing_what_is_too_much() -> None:
    async with kept(max_bytes=2_000_000, compress_after_s=600) as server:
        jobs = [await server.has_ended(b"x" * 900_000) for _ in range(2)]
        await pass_time(610)
        jobs += [await server.has_ended(b"x" * 900_000) for _ in range(2)]
        await pass_time(60)

        assert [await server.joblet.log(job) for job in jobs] == [b"x" * 900_000] * 4
        assert server.pruned()[-1]["removed"] == 0


async def test_the_oldest_logs_go_when_all_together_are_too_much() -> None:
    async with kept(max_bytes=2_000_000) as server:
        jobs = []
        for _ in range(4):
            jobs.append(await server.has_ended(b"x" * 900_000))
            await pass_time(1)
        await pass_time(60)

        assert server.pruned() == [{"bytes": 1_800_000, "logs": 2, "removed": 2, "cut": 0, "compressed": 0}]
        assert [server.joblet.engine.logs.size_bytes(job.id) > 0 for job in jobs] == [False, False, True, True]


async def test_the_logs_of_running_jobs_stay_though_they_are_too_much_and_the_server_log_says_so() -> None:
    async with kept(max_bytes=1_048_576) as server:
        job = await server.joblet.run(prints(b"x" * 2_000_000).then_runs_forever())
        await pass_time(600)

        [line] = server.joblet.journal.saying("logs of running jobs exceed logs.maxBytes")
        assert line.fields == {"bytes": 2_000_000, "maxBytes": 1_048_576}
        assert server.pruned() == []
        await server.joblet.jobs.stop(job.id)


async def test_a_log_is_not_removed_under_its_reader() -> None:
    async with kept(max_age_s=10) as server:
        job = await server.joblet.run(prints(b"one").then_sleeps(1).then_prints(b"two"))
        stream = server.joblet.logs.stream(job.id)
        assert await anext(stream) == b"one"
        await pass_time(200)
        assert await anext(stream) == b"two"
        assert server.pruned() == []

        await stream.aclose()
        await pass_time(60)

        assert len(server.pruned()) == 1


async def test_without_rules_nothing_is_looked_at_but_what_a_crash_left() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"x"))
        await joblet.ended(job)
        joblet.engine.logs.interrupt(job.id)
        keeper = FakeLogKeeper(joblet.engine.logs)
        retention = Retention(
            joblet.jobs, joblet.logs, joblet.engine.logs, keeper, joblet.clock, joblet.journal, Rules()
        )

        for _ in range(5):
            await retention.look()

        assert keeper.looks == 1
        assert not joblet.engine.logs.logs[job.id].interrupted


async def test_a_disk_that_is_nearly_full_is_told_of_once_an_hour_and_when_it_has_room_again() -> None:
    async with kept() as server:
        server.keeper.disk = Space(1000, 70)
        await pass_time(2.5 * 3600)
        warned = server.joblet.journal.saying("the disk of the logs is nearly full")
        server.keeper.disk = Space(1000, 110)
        await pass_time(120)
        assert server.joblet.journal.saying("the disk of the logs has room again") == []

        server.keeper.disk = Space(1000, 500)
        await pass_time(120)

        assert [(line.level, line.fields["used"], line.fields["freeBytes"]) for line in warned] == [
            ("WARN", "93%", 70)
        ] * 3
        [over] = server.joblet.journal.saying("the disk of the logs has room again")
        assert (over.level, over.fields["used"]) == ("INFO", "50%")


async def test_what_the_disk_refuses_is_told_and_tried_again() -> None:
    async with kept(compress_after_s=1) as server:
        await server.has_ended(b"x" * 1000)
        server.keeper.error = OSError(28, "No space left on device")
        await pass_time(61)

        [line] = server.joblet.journal.saying("logs cannot be pruned")
        assert (line.level, line.fields["why"], line.fields["tried"]) == ("WARN", "no space left on device", "compress")
        assert server.pruned() == []
        await pass_time(60)
        assert len(server.pruned()) == 1


async def test_a_log_that_another_process_works_on_is_left_for_the_next_time() -> None:
    async with kept(compress_after_s=1) as server:
        await server.has_ended(b"x" * 1000)
        server.keeper.error = LogBusy()
        await pass_time(61)
        assert server.pruned() == []
        assert server.joblet.journal.at("WARN") == []

        await pass_time(60)

        assert len(server.pruned()) == 1


async def test_a_surprise_does_not_end_it() -> None:
    async with kept(compress_after_s=1) as server:
        await server.has_ended(b"x" * 1000)
        server.keeper.error = KeyError("surprise")
        await pass_time(61)
        [line] = server.joblet.journal.at("ERROR")
        assert line.fields["task"] == "retention"

        await pass_time(60)

        assert len(server.pruned()) == 1


async def test_a_log_without_a_record_stays() -> None:
    async with kept(max_age_s=1, max_bytes=1_048_576) as server:
        server.joblet.engine.logs.append(JobId("nobody's"), b"x" * 2_000_000)

        await pass_time(600)

        assert server.joblet.engine.logs.size_bytes(JobId("nobody's")) == 2_000_000


async def test_the_store_is_asked_once_a_log() -> None:
    """A look at a hundred thousand logs must not cost as many look-ups each minute."""
    async with kept(max_age_s=10**6) as server:
        job = await server.has_ended(b"x")
        await pass_time(61)

        assert server.retention._ended_ns == {job.id: server.joblet.jobs.get(job.id).phase.ended_ns}  # type: ignore[union-attr]
        assert isinstance(server.joblet.jobs.get(job.id).phase, Ended)
