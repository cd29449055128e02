"""Streams of a part of a log: what was removed is left out, and a time leads to a place."""

import pytest

from joblet.domain.errors import InvalidRequest, LogPruned
from joblet.domain.job import Job
from joblet.services.logs import LogStream
from joblet.testing.clock import EPOCH_NS, SECOND_NS, pass_time
from joblet.testing.joblet import FakeJoblet
from joblet.testing.logs import FakeLogKeeper
from joblet.testing.programs import prints

DATA = b"".join(b"line %06d\n" % number for number in range(2000))  # 24,000 bytes


async def pieces(stream: LogStream) -> list[tuple[int, bytes]]:
    """Each piece with what the reader is told about its beginning."""
    return [(stream.begins_at, chunk) async for chunk in stream]


async def ended(joblet: FakeJoblet, data: bytes = DATA) -> Job:
    job = await joblet.run(prints(data))
    await joblet.ended(job)
    return job


async def trim(joblet: FakeJoblet, job: Job, first_bytes: int) -> None:
    await FakeLogKeeper(joblet.engine.logs).trim(job.id, first_bytes)


async def remove(joblet: FakeJoblet, job: Job) -> None:
    await FakeLogKeeper(joblet.engine.logs).remove(job.id)


async def test_a_log_without_its_beginning_begins_where_it_begins_and_says_so_once() -> None:
    async with FakeJoblet(chunk_bytes=10_000) as joblet:
        job = await ended(joblet)
        await trim(joblet, job, 8192)

        assert await pieces(joblet.logs.stream(job.id)) == [(8192, DATA[8192:18192]), (0, DATA[18192:])]
        assert await pieces(joblet.logs.stream(job.id, follow=False)) == [(8192, DATA[8192:18192]), (0, DATA[18192:])]


async def test_a_log_that_was_not_cut_says_nothing() -> None:
    async with FakeJoblet(chunk_bytes=10_000) as joblet:
        job = await ended(joblet)

        assert [begin for begin, _ in await pieces(joblet.logs.stream(job.id))] == [0, 0, 0]
        assert [begin for begin, _ in await pieces(joblet.logs.stream(job.id, offset_bytes=5))] == [0, 0, 0]


async def test_a_reader_whose_next_bytes_are_removed_goes_on_behind_them() -> None:
    async with FakeJoblet(chunk_bytes=4000) as joblet:
        job = await ended(joblet)
        stream = joblet.logs.stream(job.id)
        assert await anext(stream) == DATA[:4000]

        await trim(joblet, job, 20_480)

        assert await pieces(stream) == [(20_480, DATA[20_480:])]


async def test_a_reader_that_does_not_follow_ends_when_everything_it_came_for_is_removed() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(DATA[:8000]).then_sleeps(1).then_prints(DATA[8000:]))
        stream = joblet.logs.stream(job.id, follow=False)
        await joblet.ended(job)

        await trim(joblet, job, 12_288)

        assert await pieces(stream) == []


async def test_a_resumed_reader_is_told_where_it_goes_on() -> None:
    async with FakeJoblet() as joblet:
        job = await ended(joblet)
        await trim(joblet, job, 8192)

        assert await pieces(joblet.logs.stream(job.id, offset_bytes=100)) == [(8192, DATA[8192:])]
        assert await pieces(joblet.logs.stream(job.id, offset_bytes=8192)) == [(0, DATA[8192:])]
        assert await pieces(joblet.logs.stream(job.id, offset_bytes=9000)) == [(0, DATA[9000:])]


@pytest.mark.parametrize("chunk_bytes", [100, 100_000])
async def test_the_tail_of_a_log_without_its_beginning_is_at_most_what_is_there(chunk_bytes: int) -> None:
    async with FakeJoblet(chunk_bytes=chunk_bytes) as joblet:
        job = await ended(joblet)
        await trim(joblet, job, 8192)

        few = await pieces(joblet.logs.stream(job.id, tail_lines=3))
        all_ = await pieces(joblet.logs.stream(job.id, tail_lines=10**6))

        assert few == [(24_000 - 36, DATA[-36:])]
        assert all_[0][0] == 8192
        assert b"".join(chunk for _, chunk in all_) == DATA[8192:]


async def test_a_log_that_was_removed_is_an_error_for_who_wants_some_of_it() -> None:
    async with FakeJoblet() as joblet:
        job = await ended(joblet)
        await remove(joblet, job)

        for offset_bytes, tail_lines, since_ns, follow in ((0, 0, 0, True), (23_999, 1, 1, False)):
            with pytest.raises(LogPruned, match="its 24000 bytes were removed to make room"):
                joblet.logs.stream(
                    job.id, offset_bytes=offset_bytes, tail_lines=tail_lines, since_ns=since_ns, follow=follow
                )


@pytest.mark.parametrize("offset_bytes", [24_000, 2**62])
async def test_who_waits_for_the_end_only_does_not_need_the_log(offset_bytes: int) -> None:
    """`rnx wait` is a stream behind the end."""
    async with FakeJoblet() as joblet:
        job = await ended(joblet)
        await remove(joblet, job)

        assert await pieces(joblet.logs.stream(job.id, offset_bytes=offset_bytes)) == []


async def test_a_job_that_printed_nothing_has_an_empty_log_and_no_error() -> None:
    async with FakeJoblet() as joblet:
        job = await ended(joblet, b"")

        assert await pieces(joblet.logs.stream(job.id)) == []


@pytest.mark.parametrize("follow", [True, False])
async def test_a_reader_whose_log_is_removed_is_told(follow: bool) -> None:
    async with FakeJoblet(chunk_bytes=4000) as joblet:
        job = await ended(joblet)
        stream = joblet.logs.stream(job.id, follow=follow)
        assert await anext(stream) == DATA[:4000]

        await remove(joblet, job)

        with pytest.raises(LogPruned):
            await anext(stream)
        assert not joblet.logs.is_read(job.id)


async def test_a_log_is_read_from_its_streams_first_piece_to_its_last() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"x").then_sleeps(1).then_prints(b"y"))
        stream = joblet.logs.stream(job.id)
        seen = [joblet.logs.is_read(job.id)]
        await anext(stream)
        seen.append(joblet.logs.is_read(job.id))
        assert await pieces(stream) == [(0, b"y")]
        await stream.aclose()
        seen.append(joblet.logs.is_read(job.id))

        assert seen == [False, True, False]


# Since


async def two_minutes(joblet: FakeJoblet) -> Job:
    """A job that prints a line each ten seconds, beginning at 0, whose writer notes each time."""
    program = prints(b"line 0\n")
    for number in range(1, 13):
        program = program.then_sleeps(10).then_prints(b"line %d\n" % number)
    job = await joblet.run(program)
    for _ in range(13):
        await pass_time(0.5)
        joblet.engine.logs.note_time(job.id, joblet.clock.now_ns())
        await pass_time(9.5)
    await joblet.ended(job)
    return job


@pytest.mark.parametrize(("at_s", "first"), [(-1, 0), (5, 1), (25, 3), (30, 3), (31, 4), (119, 12)])
async def test_since_begins_with_what_was_printed_from_that_time_on(at_s: float, first: int) -> None:
    async with FakeJoblet() as joblet:
        job = await two_minutes(joblet)

        found = await pieces(joblet.logs.stream(job.id, since_ns=EPOCH_NS + round(at_s * SECOND_NS)))

        expected = b"".join(b"line %d\n" % number for number in range(first, 13))
        assert [chunk for _, chunk in found] == [expected]
        assert found[0][0] == len(joblet.engine.logs.whole(job.id)) - len(expected)


async def test_since_after_the_end_is_nothing() -> None:
    async with FakeJoblet() as joblet:
        job = await two_minutes(joblet)

        assert await pieces(joblet.logs.stream(job.id, since_ns=joblet.clock.now_ns() + SECOND_NS)) == []


async def test_since_begins_with_a_whole_line() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"one\ntwo ").then_sleeps(60).then_prints(b"and a half\nthree\n"))
        await pass_time(1)
        joblet.engine.logs.note_time(job.id, joblet.clock.now_ns())
        await joblet.ended(job)

        found = await pieces(joblet.logs.stream(job.id, since_ns=EPOCH_NS + 30 * SECOND_NS))

        assert found == [(4, b"two and a half\nthree\n")]


async def test_since_in_a_line_that_nobody_could_read_begins_in_it() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"x" * 100_000).then_sleeps(60).then_prints(b"y"))
        await pass_time(1)
        joblet.engine.logs.note_time(job.id, joblet.clock.now_ns())
        await joblet.ended(job)

        assert await pieces(joblet.logs.stream(job.id, since_ns=EPOCH_NS + 30 * SECOND_NS)) == [(100_000, b"y")]


async def test_since_of_a_log_whose_times_nobody_noted_is_all_of_it() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"one\n").then_sleeps(60).then_prints(b"two\n"))
        await joblet.ended(job)

        found = await pieces(joblet.logs.stream(job.id, since_ns=EPOCH_NS + 30 * SECOND_NS))

        assert found == [(0, b"one\ntwo\n")]


async def test_since_before_what_is_kept_is_what_is_kept() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(DATA).then_sleeps(60))
        joblet.engine.logs.note_time(job.id, joblet.clock.now_ns() + SECOND_NS)
        await joblet.ended(job)
        await trim(joblet, job, 8192)

        assert await pieces(joblet.logs.stream(job.id, since_ns=EPOCH_NS)) == [(8192, DATA[8192:])]
        both = joblet.logs.stream(job.id, since_ns=EPOCH_NS, tail_lines=1)
        assert await pieces(both) == [(24_000 - 12, DATA[-12:])]


async def test_a_time_before_1970_is_refused() -> None:
    async with FakeJoblet() as joblet:
        job = await ended(joblet)

        with pytest.raises(InvalidRequest, match="since must not be negative"):
            joblet.logs.stream(job.id, since_ns=-1)
