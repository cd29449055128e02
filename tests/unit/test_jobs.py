"""The life of a job through the services: run, look up, list, stop, and every end it can have."""

import asyncio
from dataclasses import replace

import pytest

from joblet.domain.errors import (
    AmbiguousJobId,
    InvalidCommand,
    InvalidLimit,
    InvalidRequest,
    JobletError,
    JobNotFound,
    TooManyJobs,
)
from joblet.domain.job import MASK, Ended, JobState, Running
from joblet.domain.limits import MIB, Machine
from joblet.services.request import JobDefaults, JobRequest
from joblet.testing.clock import EPOCH_NS, SECOND_NS, VirtualClock, pass_time
from joblet.testing.engine import FakeEngine
from joblet.testing.joblet import FakeJoblet
from joblet.testing.programs import exits, killed_by, oom, prints, runs_forever, sleeps


async def test_a_job_that_has_been_started_is_running_and_stored() -> None:
    """RunJob answers once both are true."""
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(10))

        assert isinstance(job.phase, Running)
        assert joblet.jobs.get(job.id) == job
        assert [stored.id for stored in joblet.store.unfinished()] == [job.id]


async def test_a_job_that_exits_with_0_is_completed_at_that_moment() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"hello\n").then_sleeps(3))

        ended = await joblet.ended(job)

        assert isinstance(job.phase, Running)
        assert ended == Ended(
            JobState.COMPLETED, 0, job.phase.started_ns, job.phase.started_ns + 3 * SECOND_NS, log_bytes=6
        )
        assert joblet.jobs.get(job.id).phase == ended
        assert joblet.store.unfinished() == []


async def test_a_job_that_exits_with_another_code_has_failed_with_it() -> None:
    async with FakeJoblet() as joblet:
        ended = await joblet.ended(await joblet.run(exits(3)))

        assert (ended.state, ended.exit_code) == (JobState.FAILED, 3)
        assert joblet.journal.saying("job failed")[0].level == "ERROR"


async def test_a_job_killed_by_a_signal_has_128_and_its_number() -> None:
    async with FakeJoblet() as joblet:
        ended = await joblet.ended(await joblet.run(killed_by(11)))

        assert (ended.state, ended.exit_code, ended.signal) == (JobState.FAILED, 139, 11)


async def test_a_job_out_of_memory_is_a_limit_violation_in_the_log() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(oom())

        assert (await joblet.ended(job)).oom_killed
        [line] = joblet.journal.saying("memory limit exceeded")
        assert (line.level, line.fields["jobId"]) == ("WARN", job.id)


async def test_a_missing_command_is_a_job_that_failed_with_127() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run("no-such-program")

        ended = await joblet.ended(job)

        assert (ended.state, ended.exit_code) == (JobState.FAILED, 127)
        assert await joblet.log(job) == b"joblet: command not found: no-such-program\n"


async def test_an_end_that_overtakes_the_answer_to_the_start_is_held_back() -> None:
    """The command can be over before the engine has said that it runs."""
    clock = VirtualClock()
    async with FakeJoblet(clock=clock, engine=FakeEngine(clock=clock, answer_s=5)) as joblet:
        job = await joblet.run(exits(3))

        assert isinstance(job.phase, Running)
        assert (await joblet.ended(job)).exit_code == 3
        messages = [line.message for line in joblet.journal.lines if "jobId" in line.fields]
        assert messages == ["job started successfully", "job failed"]


async def test_an_end_is_forgotten_by_the_engine_only_once_it_is_stored() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(exits(0))
        await joblet.ended(job)

        assert joblet.store.get(job.id) == joblet.jobs.get(job.id)
        await joblet.close()
        assert joblet.engine.unforgotten == frozenset()


async def test_the_start_is_logged_in_the_words_of_the_specification() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run("sleep", "1")

        [line] = joblet.journal.saying("job started successfully")
        assert line.level == "INFO"
        assert line.fields == {"jobId": job.id, "pid": 1001, "command": "sleep 1", "duration": "3ms"}


async def test_a_job_gets_the_configured_defaults_for_what_it_leaves_open() -> None:
    defaults = JobDefaults(cpu_max_percent=50, memory_max_bytes=7 * MIB, io_max_bytes_per_s=9, timeout_s=60)
    async with FakeJoblet(defaults=defaults) as joblet:
        plain = await joblet.run(exits(0))
        wished = await joblet.run(
            exits(0), cpu_max_percent=200, memory_max_bytes=MIB, io_max_bytes_per_s=1, cpu_cores="1", timeout_s=5
        )

        limits = plain.spec.limits
        assert (limits.cpu_max_percent, limits.memory_max_bytes, limits.io_max_bytes_per_s) == (50, 7 * MIB, 9)
        assert plain.spec.timeout_s == 60
        limits = wished.spec.limits
        assert (limits.cpu_max_percent, limits.memory_max_bytes, limits.io_max_bytes_per_s) == (200, MIB, 1)
        assert (limits.cpu_cores, wished.spec.timeout_s) == ("1", 5)


async def test_a_default_above_what_the_machine_has_is_lowered_to_it() -> None:
    """Else a small machine with the default configuration could run nothing at all."""
    async with FakeJoblet(machine=Machine(cores=1, memory_bytes=256 * MIB)) as joblet:
        job = await joblet.run(exits(0))

        assert job.spec.limits.memory_max_bytes == 256 * MIB


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (JobRequest(" "), InvalidCommand, "invalid command: command is empty"),
        (JobRequest("a;b"), InvalidCommand, "invalid command: command contains dangerous characters"),
        (JobRequest("a", ("\0",)), InvalidCommand, "invalid command: argument 1 contains a NUL character"),
        (
            JobRequest("a", memory_max_bytes=8193 * MIB),
            InvalidLimit,
            "job creation failed: maxMemory exceeds system limits",
        ),
        (JobRequest("a", cpu_max_percent=401), InvalidLimit, "job creation failed: maxCPU exceeds system limits"),
        (JobRequest("a", io_max_bytes_per_s=-1), InvalidLimit, "job creation failed: maxIOBPS must not be negative"),
        (JobRequest("a", timeout_s=-1), InvalidLimit, "job creation failed: timeout must not be negative"),
        (JobRequest("a", cpu_cores="4"), InvalidLimit, "job creation failed: cpuCores exceeds system limits"),
        (JobRequest("a", work_dir="\0"), InvalidRequest, "invalid request: workDir contains a NUL character"),
        (
            JobRequest("a", secret_environment={"S": "x\0hidden"}),
            InvalidRequest,
            "invalid request: secret_environment variable S contains a NUL character",
        ),
    ],
)
async def test_a_request_that_cannot_be_accepted_makes_no_job(
    request_: JobRequest, error: type[JobletError], message: str
) -> None:
    async with FakeJoblet() as joblet:
        with pytest.raises(error) as raised:
            await joblet.jobs.run(request_)

        assert raised.value.message == message
        assert joblet.jobs.list() == []
        assert joblet.engine.started == []


async def test_secrets_reach_the_job_and_nobody_else() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(1), environment={"PLAIN": "plain-value"}, secret_environment={"TOKEN": "hunter2"})
        await joblet.ended(job)

        assert joblet.engine.started[0].spec.secret_environment == {"TOKEN": "hunter2"}
        for seen in (job, joblet.jobs.get(job.id), joblet.jobs.list()[0], joblet.store.get(job.id)):
            assert seen is not None
            assert seen.spec.secret_environment == {"TOKEN": MASK}
            assert seen.spec.environment == {"PLAIN": "plain-value"}
        assert "hunter2" not in repr(joblet.journal.lines)
        assert "plain-value" not in repr(joblet.journal.lines)


# Concurrency


async def test_one_job_more_than_allowed_is_refused_and_makes_nothing() -> None:
    async with FakeJoblet(defaults=JobDefaults(max_concurrent_jobs=3)) as joblet:
        jobs = [await joblet.run(runs_forever()) for _ in range(3)]

        with pytest.raises(TooManyJobs, match=r"too many jobs: 3 are already running \(maxConcurrentJobs: 3\)"):
            await joblet.run(runs_forever())

        assert [job.id for job in joblet.jobs.list()] == [job.id for job in jobs]
        await joblet.jobs.stop(jobs[0].id)
        assert isinstance((await joblet.run(runs_forever())).phase, Running)


async def test_jobs_being_set_up_count_too() -> None:
    async with FakeJoblet(defaults=JobDefaults(max_concurrent_jobs=3)) as joblet:
        results = await asyncio.gather(*(joblet.run(sleeps(1)) for _ in range(10)), return_exceptions=True)

        assert sum(isinstance(result, TooManyJobs) for result in results) == 7
        assert len(joblet.engine.started) == 3


async def test_two_hundred_jobs_at_once_all_reach_their_own_end() -> None:
    async with FakeJoblet(defaults=JobDefaults(max_concurrent_jobs=200)) as joblet:
        programs = [prints(b"%d\n" % number).then_sleeps(number / 7).then_exits(number % 5) for number in range(200)]

        jobs = await asyncio.gather(*(joblet.run(program) for program in programs))
        ends = await asyncio.gather(*(joblet.ended(job) for job in jobs))

        assert [ended.exit_code for ended in ends] == [number % 5 for number in range(200)]
        assert [await joblet.log(job) for job in jobs] == [b"%d\n" % number for number in range(200)]
        await joblet.close()
        assert joblet.store.unfinished() == []
        assert joblet.engine.unforgotten == frozenset()


# Look-up


async def test_any_unique_prefix_names_a_job_in_either_case() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(exits(0))

        for name in (job.id, job.id[:8], job.id[:1], job.id.upper(), job.id[:8].upper()):
            assert joblet.jobs.get(name).id == job.id


class LookAlikes(FakeJoblet):
    """Its ids differ in one character."""

    def new_id(self) -> str:
        return f"aaaaaaa{len(self.engine.started)}-0000-4000-8000-000000000000"


async def test_an_ambiguous_prefix_lists_its_matches() -> None:
    async with LookAlikes() as joblet:
        ids = [(await joblet.run(exits(0))).id for _ in range(3)]

        with pytest.raises(AmbiguousJobId) as raised:
            joblet.jobs.get("aaaa")

        assert raised.value.message == f"ambiguous job id: aaaa matches {', '.join(ids)}"


@pytest.mark.parametrize("name", ["", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "%", "*", "zzz", "\0"])
async def test_what_matches_no_job_is_not_found(name: str) -> None:
    async with FakeJoblet() as joblet:
        await joblet.run(exits(0))

        for call in (joblet.jobs.get, joblet.jobs.resolve, joblet.logs.stream):
            with pytest.raises(JobNotFound) as raised:
                call(name)
            assert raised.value.message == f"job not found: {name}"
        with pytest.raises(JobNotFound):
            await joblet.jobs.stop(name)


async def test_jobs_are_listed_oldest_first_as_they_stand_now() -> None:
    async with FakeJoblet() as joblet:
        first = await joblet.run(runs_forever())
        second = await joblet.run(exits(0))
        await joblet.ended(second)

        listed = joblet.jobs.list()

        assert [(job.id, job.state) for job in listed] == [
            (first.id, JobState.RUNNING),
            (second.id, JobState.COMPLETED),
        ]


async def test_the_length_of_a_log_is_known_during_and_after_the_job() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(prints(b"12345").then_sleeps(5).then_prints(b"6789"))

        assert joblet.jobs.log_bytes(job) == 5
        await joblet.ended(job)
        assert joblet.jobs.log_bytes(joblet.jobs.get(job.id)) == 9


async def test_limits_that_are_not_enforced_are_said_on_the_job() -> None:
    clock = VirtualClock()
    engine = FakeEngine(clock=clock, limits_enforced="no: this machine has no writable cgroups v2")
    async with FakeJoblet(clock=clock, engine=engine) as joblet:
        job = await joblet.run(exits(0))

        assert job.limits_enforced == "no: this machine has no writable cgroups v2"
        assert joblet.journal.saying("engine attached")[0].level == "WARN"


async def test_a_notice_of_the_engine_is_a_line_of_the_server_log() -> None:
    async with FakeJoblet() as joblet:
        joblet.engine.warn("WARN", "cgroup not removed", jobId="x")
        await pass_time(0)

        [line] = joblet.journal.saying("cgroup not removed")
        assert (line.level, line.fields) == ("WARN", {"jobId": "x"})


async def test_times_are_those_of_the_clock() -> None:
    async with FakeJoblet() as joblet:
        job = await joblet.run(sleeps(1))

        assert job.created_ns == EPOCH_NS
        assert job == replace(job, phase=Running(EPOCH_NS + 3_000_000, 1001))
