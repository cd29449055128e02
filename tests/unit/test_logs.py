"""Streams of a job's log: history then live, from any offset, to any number of readers."""

import asyncio
from collections.abc import Sequence

import pytest

from joblet.domain.errors import InvalidRequest, JobNotFound, SlowReader
from joblet.domain.job import JobState
from joblet.services.logs import CHUNK_BYTES, LEAST_CHUNK_BYTES, LogStream, deliver
from joblet.testing.clock import VirtualClock, pass_time
from joblet.testing.engine import FakeEngine
from joblet.testing.joblet import FakeJoblet
from joblet.testing.programs import Prints, Sleeps, exits, prints, sleeps


async def all_of(stream: LogStream) -> list[bytes]:
    return [chunk async for chunk in stream]


async def test_history_comes_first_and_then_what_is_printed_live() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(
            prints(b"one\n").then_sleeps(1).then_prints(b"two\n").then_sleeps(1).then_prints(b"three\n")
        )
        stream = joblet.logs.stream(job.id)

        assert await anext(stream) == b"one\n"
        assert await anext(stream) == b"two\n"
        assert await anext(stream) == b"three\n"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert joblet.jobs.get(job.id).state is JobState.COMPLETED


async def test_the_stream_of_a_silent_job_ends_with_the_job() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(3600))

        assert await all_of(joblet.logs.stream(job.id)) == []
        assert joblet.jobs.get(job.id).state is JobState.COMPLETED


async def test_a_finished_job_has_its_whole_log_in_pieces_of_the_chosen_size() -> None:
    async with FakeJoblet(chunk_bytes=4) as joblet:
        job = await joblet.run(prints(b"0123456789"))
        await joblet.ended(job)

        assert await all_of(joblet.logs.stream(job.id)) == [b"0123", b"4567", b"89"]


async def test_many_readers_get_the_same_bytes_from_one_watch_whenever_they_come() -> None:
    async with FakeJoblet() as joblet:
        printed = [b"%d\n" % number for number in range(50)]
        program = prints(b"")
        for line in printed:
            program = program.then_prints(line).then_sleeps(1)
        job = await joblet.run(program)
        readers = []
        for number in range(100):
            readers.append(asyncio.create_task(all_of(joblet.logs.stream(job.id))))
            if number % 2:
                await pass_time(0.9)
        assert joblet.engine.watched == {job.id}
        assert joblet.logs.readers == 100

        received = await asyncio.gather(*readers)

        assert {b"".join(chunks) for chunks in received} == {b"".join(printed)}
        assert joblet.logs.readers == 0
        assert joblet.engine.watched == frozenset()


async def test_a_stream_resumes_at_an_offset_without_gap_or_repeat() -> None:
    async with FakeJoblet(chunk_bytes=3) as joblet:
        job = await joblet.run(prints(b"0123456789").then_sleeps(5).then_prints(b"abc"))
        stream = joblet.logs.stream(job.id)
        first = await anext(stream) + await anext(stream)
        await stream.aclose()

        rest = b"".join(await all_of(joblet.logs.stream(job.id, offset_bytes=stream.offset_bytes)))

        assert first + rest == b"0123456789abc"


async def test_an_offset_beyond_the_end_waits_for_the_log_to_get_there() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"01234").then_sleeps(1).then_prints(b"56789"))

        assert b"".join(await all_of(joblet.logs.stream(job.id, offset_bytes=8))) == b"89"
        assert await all_of(joblet.logs.stream(job.id, offset_bytes=100)) == []
        assert not joblet.journal.saying("log is incomplete")


async def test_a_reader_that_does_not_follow_ends_at_what_was_there_when_it_came() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"before").then_runs_forever(Sleeps(0.01), Prints(b"more")))
        stream = joblet.logs.stream(job.id, follow=False)
        await pass_time(1)

        assert await all_of(stream) == [b"before"]
        assert joblet.engine.watched == frozenset()
        await joblet.jobs.stop(job.id)


@pytest.mark.parametrize(
    ("printed", "lines", "expected"),
    [
        (b"one\ntwo\nthree\n", 1, b"three\n"),
        (b"one\ntwo\nthree\n", 2, b"two\nthree\n"),
        (b"one\ntwo\nthree", 2, b"two\nthree"),
        (b"one\ntwo\nthree\n", 3, b"one\ntwo\nthree\n"),
        (b"one\ntwo\nthree\n", 100, b"one\ntwo\nthree\n"),
        (b"\n\n\n", 2, b"\n\n"),
        (b"no newline at all", 1, b"no newline at all"),
        (b"", 5, b""),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [1, 3, 1000])
async def test_the_tail_is_the_last_lines_and_what_comes_after(
    printed: bytes, lines: int, expected: bytes, chunk_bytes: int
) -> None:
    async with FakeJoblet(chunk_bytes=chunk_bytes) as joblet:
        job = await joblet.run(prints(printed).then_sleeps(1).then_prints(b"later\n"))

        received = b"".join(await all_of(joblet.logs.stream(job.id, tail_lines=lines)))

        assert received == expected + b"later\n"


async def test_looking_for_the_tail_lets_the_loop_go_after_each_block() -> None:
    """A log in the page cache is read without waiting: nobody else's call would be answered meanwhile."""
    async with FakeJoblet(chunk_bytes=4) as joblet:
        job = await joblet.run(prints(b"one\n" + b"x" * 400 + b"\n"))
        await joblet.ended(job)
        loop = asyncio.get_running_loop()
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1
            if not looking.done():
                loop.call_soon(count)

        looking = asyncio.create_task(joblet.logs.tail_offset(job.id, 1, not_before=0))
        loop.call_soon(count)

        assert await looking == 4
        assert turns >= 100


async def test_a_tail_of_more_lines_than_the_log_has_bytes_is_the_whole_log_unread() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"one\ntwo\n"))
        await joblet.ended(job)
        reads = joblet.engine.logs.reads

        assert await joblet.logs.tail_offset(job.id, 10**9, not_before=2) == 2
        assert joblet.engine.logs.reads == reads


async def test_a_tail_begins_no_earlier_than_the_offset() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"one\ntwo\nthree\n"))
        await joblet.ended(job)

        assert await all_of(joblet.logs.stream(job.id, tail_lines=3, offset_bytes=6)) == [b"o\nthree\n"]
        assert await all_of(joblet.logs.stream(job.id, tail_lines=1, offset_bytes=2)) == [b"three\n"]


async def test_what_cannot_be_streamed_is_refused_before_anything_is_read() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(exits(0))

        with pytest.raises(JobNotFound):
            joblet.logs.stream("no-such-job")
        with pytest.raises(InvalidRequest, match="offset must not be negative"):
            joblet.logs.stream(job.id, offset_bytes=-1)
        with pytest.raises(InvalidRequest, match="tail must not be negative"):
            joblet.logs.stream(job.id, tail_lines=-1)


async def test_a_stream_of_a_job_that_is_being_set_up_just_waits() -> None:
    clock = VirtualClock()
    async with FakeJoblet(clock=clock, engine=FakeEngine(clock=clock, set_up_s=5)) as joblet:
        starting = asyncio.create_task(joblet.run(prints(b"hello").then_sleeps(1)))
        await pass_time(1)
        [job] = joblet.jobs.list()

        assert await all_of(joblet.logs.stream(job.id)) == [b"hello"]
        await starting


async def test_a_stream_that_comes_before_the_engine_knows_of_the_job_is_live_all_the_same() -> None:
    clock = VirtualClock()
    async with FakeJoblet(clock=clock, engine=FakeEngine(clock=clock, accept_s=5)) as joblet:
        starting = asyncio.create_task(joblet.run(prints(b"hello").then_runs_forever()))
        await pass_time(1)
        [job] = joblet.jobs.list()
        stream = joblet.logs.stream(job.id)

        assert await anext(stream) == b"hello"

        await stream.aclose()
        await starting
        await joblet.jobs.stop(job.id)


async def test_a_stream_goes_on_after_the_engine_was_away() -> None:
    """Whatever was watched is watched again."""
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"one").then_sleeps(2).then_prints(b"two").then_sleeps(5).then_prints(b"three"))
        reader = asyncio.create_task(all_of(joblet.logs.stream(job.id)))
        await pass_time(1)
        joblet.engine.lose()
        await pass_time(3)
        joblet.engine.come_back()
        await pass_time(0)
        assert joblet.engine.watched == {job.id}

        assert b"".join(await reader) == b"onetwothree"


async def test_a_stalled_disk_delays_the_end_but_loses_nothing() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(1).then_prints(b"one").then_sleeps(1).then_prints(b"two").then_exits(3))
        joblet.engine.stall_logs()
        reader = asyncio.create_task(all_of(joblet.logs.stream(job.id)))
        await pass_time(60)
        assert not reader.done()

        joblet.engine.resume_logs()

        assert b"".join(await reader) == b"onetwo"
        assert (await joblet.ended(job)).exit_code == 3


async def test_a_log_that_lost_its_end_is_delivered_as_far_as_it_goes_with_a_warning() -> None:
    """Nobody will write the rest any more, so waiting for it would be for ever."""
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"0123456789"))
        await joblet.ended(job)
        joblet.engine.logs.cut(job.id, 4)

        assert await all_of(joblet.logs.stream(job.id)) == [b"0123"]
        [line] = joblet.journal.saying("log is incomplete")
        assert (line.level, line.fields) == ("WARN", {"jobId": job.id, "logBytes": 10, "readableBytes": 4})


# Delivery


async def test_delivery_sends_everything_in_order() -> None:
    async with FakeJoblet(chunk_bytes=2) as joblet:
        job = await joblet.run(prints(b"01234").then_sleeps(1).then_prints(b"56789"))
        sent: list[bytes] = []

        async def send(chunk: bytes) -> None:
            sent.append(chunk)

        await deliver(joblet.logs.stream(job.id), send)

        assert b"".join(sent) == b"0123456789"


async def test_a_slow_reader_that_makes_progress_is_not_removed() -> None:
    async with FakeJoblet(chunk_bytes=1) as joblet:
        job = await joblet.run(prints(b"0123456789"))
        sent: list[bytes] = []

        async def send(chunk: bytes) -> None:
            await pass_time(29)
            sent.append(chunk)

        await deliver(joblet.logs.stream(job.id), send)

        assert len(sent) == 10


async def test_pieces_grow_for_a_quick_reader_and_are_the_least_for_a_slow_one() -> None:
    """Each waits in the server's memory for as long as its reader takes."""
    async with FakeJoblet(chunk_bytes=CHUNK_BYTES) as joblet:
        job = await joblet.run(prints(b"x" * (48 * CHUNK_BYTES)))
        sizes: list[int] = []

        async def send(chunk: bytes) -> None:
            sizes.append(len(chunk))
            if sum(sizes) > 40 * CHUNK_BYTES:
                await pass_time(1)

        await deliver(joblet.logs.stream(job.id), send)

        slow_from = sizes.index(CHUNK_BYTES) + sizes.count(CHUNK_BYTES)
        assert sizes[0] == LEAST_CHUNK_BYTES
        assert sizes[:slow_from] == sorted(sizes[:slow_from])
        assert set(sizes[slow_from:-1]) == {LEAST_CHUNK_BYTES}


async def test_a_reader_that_stalls_is_removed_and_told_where_to_resume() -> None:
    async with FakeJoblet(chunk_bytes=4) as joblet:
        job = await joblet.run(prints(b"0123456789").then_runs_forever())
        sent: list[bytes] = []

        async def send(chunk: bytes) -> None:
            if sent:
                await asyncio.Event().wait()
            sent.append(chunk)

        with pytest.raises(SlowReader) as raised:
            await deliver(joblet.logs.stream(job.id), send, stall_timeout_s=30)

        assert raised.value.message == (
            f"slow client removed: the log stream of {job.id} made no progress for 30 s (resume at offset 4)"
        )
        assert sent == [b"0123"]
        await joblet.jobs.stop(job.id)


async def test_a_reader_waiting_for_output_is_never_too_slow() -> None:
    """What stalls is the job, not the reader."""
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(3600).then_prints(b"at last"))
        sent: list[bytes] = []

        async def send(chunk: bytes) -> None:
            sent.append(chunk)

        await deliver(joblet.logs.stream(job.id), send, stall_timeout_s=1)

        assert sent == [b"at last"]


async def test_a_timeout_of_the_sending_itself_is_not_taken_for_a_stall() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"x"))

        async def send(chunk: bytes) -> None:
            raise TimeoutError("the sender's own")

        with pytest.raises(TimeoutError, match="the sender's own"):
            await deliver(joblet.logs.stream(job.id), send)


@pytest.mark.parametrize("when_s", [0.0, 1.0])
async def test_a_reader_that_vanishes_leaves_no_watch_behind(when_s: float) -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"x").then_runs_forever())
        sent: list[bytes] = []

        async def send(chunk: bytes) -> None:
            sent.append(chunk)

        staying = asyncio.create_task(all_of(joblet.logs.stream(job.id)))
        leaving = asyncio.create_task(deliver(joblet.logs.stream(job.id), send))
        await pass_time(when_s)

        leaving.cancel()
        await asyncio.wait((leaving,))

        assert joblet.logs.readers <= 1
        await joblet.jobs.stop(job.id)
        assert b"".join(await staying) == b"x"
        assert joblet.logs.readers == 0
        assert joblet.engine.watched == frozenset()


async def test_a_thousand_waiting_readers_cost_nothing_while_nothing_happens() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(3600))
        readers = [asyncio.create_task(all_of(joblet.logs.stream(job.id))) for _ in range(1000)]
        await pass_time(1)
        reads_before = joblet.engine.logs.reads

        await pass_time(3000)

        assert joblet.engine.logs.reads == reads_before
        received: Sequence[list[bytes]] = await asyncio.gather(*readers)
        assert received == [[]] * 1000


async def test_readers_of_a_stopped_server_find_the_log_again_at_the_next() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"one").then_sleeps(5).then_prints(b"two"))
        stream = joblet.logs.stream(job.id)
        assert await anext(stream) == b"one"

        await joblet.crash()

        assert await joblet.log(job, offset_bytes=stream.offset_bytes) == b"two"
