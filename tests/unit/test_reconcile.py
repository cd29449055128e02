"""The table that makes the store and the engine agree, for every combination there is."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from joblet.domain.job import Job, JobId, JobSpec, JobState, Phase, Running, Waiting
from joblet.domain.limits import Limits
from joblet.domain.reconcile import LOST_IN_SETUP, LOST_RUNNING, Action, Kill, MarkLost, MarkRunning, reconcile

IDS = [JobId(letter) for letter in "abcdefgh"]
STARTS = st.builds(Running, started_ns=st.integers(1, 3), pid=st.integers(1, 3))


def a_job(job_id: str, phase: Phase) -> Job:
    return Job(JobId(job_id), JobSpec("true", (), Limits(100, "", 1, 0), 0), 1, phase)


SITUATIONS = st.fixed_dictionaries(
    {
        "stored": st.dictionaries(st.sampled_from(IDS), st.one_of(st.just(Waiting()), STARTS)),
        "running": st.dictionaries(st.sampled_from(IDS), STARTS),
        "ended": st.frozensets(st.sampled_from(IDS)),
        "in_flight": st.frozensets(st.sampled_from(IDS)),
    }
)


def actions_of(situation: Mapping[str, object]) -> dict[JobId, Action]:
    stored, running, ended, in_flight = (situation[key] for key in ("stored", "running", "ended", "in_flight"))
    assert isinstance(stored, dict)
    assert isinstance(running, dict)
    assert isinstance(ended, frozenset)
    assert isinstance(in_flight, frozenset)
    jobs = [a_job(job_id, phase) for job_id, phase in stored.items()]
    actions = reconcile(jobs, running=running, ended=ended, in_flight=in_flight)
    assert len({action.job_id for action in actions}) == len(actions), "more than one action for a job"
    return {action.job_id: action for action in actions}


@given(SITUATIONS)
def test_each_cell_of_the_table(situation: dict[str, dict[JobId, Phase]]) -> None:
    actions = actions_of(situation)

    for job_id in IDS:
        stored, running = situation["stored"].get(job_id), situation["running"].get(job_id)
        expected: Action | None = None
        if job_id in situation["in_flight"]:
            expected = None
        elif stored is None:
            expected = Kill(job_id) if running else None
        elif isinstance(running, Running):
            expected = None if stored == running else MarkRunning(job_id, running)
        elif job_id not in situation["ended"]:
            expected = MarkLost(job_id, LOST_IN_SETUP if stored == Waiting() else LOST_RUNNING)
        assert actions.get(job_id) == expected


@given(SITUATIONS)
def test_nothing_is_running_that_is_not(situation: dict[str, dict[JobId, Phase]]) -> None:
    """After the actions, a stored job is RUNNING exactly when the engine runs it, or its end is on the way."""
    actions = actions_of(situation)

    for job_id, phase in situation["stored"].items():
        if job_id in situation["in_flight"] or job_id in situation["ended"]:
            continue
        match actions.get(job_id):
            case MarkRunning(running=running):
                state = a_job(job_id, running).state
            case MarkLost():
                state = JobState.FAILED
            case _:
                state = a_job(job_id, phase).state
        assert (state is JobState.RUNNING) == (job_id in situation["running"])


@given(SITUATIONS)
def test_doing_it_twice_changes_nothing_more(situation: dict[str, dict[JobId, Phase]]) -> None:
    actions = actions_of(situation)
    stored = dict(situation["stored"])
    running = dict(situation["running"])
    for job_id, action in actions.items():
        match action:
            case MarkRunning(running=found):
                stored[job_id] = found
            case MarkLost():
                del stored[job_id]
            case Kill():
                del running[job_id]

    assert actions_of({**situation, "stored": stored, "running": running}) == {}
