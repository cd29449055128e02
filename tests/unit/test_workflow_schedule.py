"""What the scheduler of a workflow does after each event, one rule at a time."""

from collections.abc import Callable, Iterable, Sequence

import pytest

from joblet.domain.workflow.definition import All, Any, Condition, Definition, Is, JobDefinition, Not, Outcome, Retries
from joblet.domain.workflow.schedule import (
    LONGEST_BACKOFF_S,
    STOPPED,
    Action,
    Cancel,
    Finished,
    Retry,
    Schedule,
    Start,
    Stop,
)
from joblet.domain.workflow.states import (
    ENDS,
    TRANSITIONS,
    Counts,
    IllegalEvent,
    NodeEvent,
    NodeState,
    WorkflowState,
)

C, F, E = Outcome.COMPLETED, Outcome.FAILED, Outcome.FINISHED
S, W = NodeState, WorkflowState
NOTHING = All()


def a_job(
    name: str, requires: Condition = NOTHING, *, retries: int = 0, backoff_s: float = 0.0, tolerated: bool = False
) -> JobDefinition:
    return JobDefinition(
        name, "true", requires=requires, retries=Retries(retries, backoff_s), continue_on_failure=tolerated
    )


def definition_of(*jobs: JobDefinition) -> Definition:
    return Definition({job.name: job for job in jobs})


def begun(*jobs: JobDefinition) -> Schedule:
    schedule = Schedule(definition_of(*jobs))
    schedule.begin()
    return schedule


def ran(schedule: Schedule, name: str, state: NodeState) -> Sequence[Action]:
    assert schedule.started(name) == ()
    return schedule.ended(name, state)


def seen(schedule: Schedule, names: Iterable[str]) -> object:
    """All that can be seen of it."""
    nodes = [schedule.job(name) for name in names]
    jobs = [(node.state, node.attempts, node.because, node.ready, node.retrying, node.pending.truth) for node in nodes]
    return schedule.state, schedule.counts, schedule.stopping, jobs


# When a job starts


def test_what_waits_for_nothing_starts_at_once_in_the_order_of_the_file() -> None:
    schedule = Schedule(definition_of(a_job("b"), a_job("c", Is("b", C)), a_job("a")))

    assert schedule.begin() == [Start("b"), Start("a")]
    assert schedule.begin() == []
    assert schedule.state is W.PENDING


@pytest.mark.parametrize("tolerated", [False, True])
@pytest.mark.parametrize(
    ("end", "outcomes"),
    [
        (S.COMPLETED, {C, E}),
        (S.FAILED, {F, E}),
        (S.STOPPED, {E}),
        (S.CANCELED, {E}),
    ],
)
def test_each_end_has_the_outcomes_of_the_specification(
    end: NodeState, outcomes: set[Outcome], tolerated: bool
) -> None:
    """COMPLETED holds also for a failure that is tolerated."""
    expected = outcomes | ({C} if end is S.FAILED and tolerated else set())
    first = a_job("a", Is("zero", F) if end is S.CANCELED else All(), tolerated=tolerated)
    waiting = [a_job(outcome, Is("a", outcome)) for outcome in Outcome]
    schedule = begun(a_job("zero"), first, *waiting)

    actions = ran(schedule, "zero", S.COMPLETED)
    if end is not S.CANCELED:
        actions = ran(schedule, "a", end)

    assert schedule.job("a").state is end
    assert {action.name for action in actions if isinstance(action, Start)} == expected
    assert {outcome for outcome in Outcome if schedule.job(outcome).ready} == expected
    for outcome in set(Outcome) - expected:
        assert Cancel(outcome, f"a {end}") in actions
        assert schedule.job(outcome).state is S.CANCELED


def test_any_starts_at_the_first_of_them_and_the_others_change_nothing_more() -> None:
    schedule = begun(a_job("a"), a_job("b"), a_job("c", Any((Is("a", C), Is("b", C)))))

    assert ran(schedule, "b", S.COMPLETED) == [Start("c")]
    assert ran(schedule, "a", S.FAILED) == []
    assert schedule.job("c").ready


def test_not_holds_once_its_part_no_longer_can() -> None:
    both = All((Is("a", C), Is("b", C)))
    schedule = begun(a_job("a"), a_job("b"), a_job("c", Not(both)))

    assert ran(schedule, "a", S.FAILED) == [Start("c")]


def test_what_can_no_longer_run_is_canceled_at_once_and_so_down_the_graph() -> None:
    schedule = begun(
        a_job("build"), a_job("test", Is("build", C)), a_job("ship", Is("test", C)), a_job("tell", Is("ship", E))
    )

    assert ran(schedule, "build", S.FAILED) == [
        Cancel("test", "build FAILED"),
        Cancel("ship", "test CANCELED"),
        Start("tell"),
    ]
    assert schedule.job("test").because == "build FAILED"


def test_a_condition_that_nothing_can_fulfil_is_canceled_at_the_beginning() -> None:
    schedule = Schedule(definition_of(a_job("a", Any(())), a_job("b", Is("a", E)), a_job("c", Is("a", C))))

    actions = schedule.begin()

    assert actions == [Cancel("a", "nothing can make it run"), Start("b"), Cancel("c", "a CANCELED")]


# Retries


def test_a_failure_is_tried_again_after_twice_the_wait_each_time() -> None:
    schedule = begun(a_job("a", retries=3, backoff_s=1.5), a_job("b", Is("a", E)))

    for attempt, after_s in ((2, 1.5), (3, 3.0), (4, 6.0)):
        assert ran(schedule, "a", S.FAILED) == [Retry("a", attempt, after_s)]
        node = schedule.job("a")
        assert (node.state, node.retrying, node.ready, node.attempts) == (S.PENDING, True, False, attempt - 1)
        assert schedule.state is W.RUNNING
        assert schedule.job("b").state is S.PENDING
        assert schedule.retry_due("a") == [Start("a")]
    assert ran(schedule, "a", S.FAILED) == [Start("b")]
    assert schedule.job("a").attempts == 4


def test_those_who_wait_hear_only_of_the_last_attempt() -> None:
    schedule = begun(a_job("a", retries=1), a_job("b", Is("a", F)), a_job("c", Is("a", C)))

    assert ran(schedule, "a", S.FAILED) == [Retry("a", 2, 0.0)]
    schedule.retry_due("a")
    assert ran(schedule, "a", S.COMPLETED) == [Cancel("b", "a COMPLETED"), Start("c")]


def test_the_wait_is_never_longer_than_an_hour() -> None:
    schedule = begun(a_job("a", retries=100, backoff_s=1000.0))

    waits = []
    for _ in range(100):
        (retry,) = ran(schedule, "a", S.FAILED)
        assert isinstance(retry, Retry)
        waits.append(retry.after_s)
        schedule.retry_due("a")

    assert waits[:3] == [1000.0, 2000.0, LONGEST_BACKOFF_S]
    assert set(waits[2:]) == {LONGEST_BACKOFF_S}


def test_a_stopped_attempt_is_not_tried_again() -> None:
    schedule = begun(a_job("a", retries=3))

    assert ran(schedule, "a", S.STOPPED) == [Finished(W.STOPPED)]


# Attempts that never ran


def test_an_attempt_that_never_ran_is_made_again_and_does_not_count() -> None:
    schedule = begun(a_job("a", retries=1))

    schedule.started("a")
    assert schedule.not_started("a") == [Start("a")]
    assert (schedule.job("a").attempts, schedule.state) == (0, W.PENDING)
    assert ran(schedule, "a", S.FAILED) == [Retry("a", 2, 0.0)]


def test_an_attempt_that_never_ran_is_canceled_after_a_stop() -> None:
    schedule = begun(a_job("a"))
    schedule.started("a")
    schedule.stop()

    assert schedule.not_started("a") == [Cancel("a", STOPPED), Finished(W.CANCELED)]


def test_a_retry_that_never_ran_leaves_the_failure_before_it_after_a_stop() -> None:
    """As `resume` has it, which knows of the failure only."""
    schedule = begun(a_job("a", retries=1))
    ran(schedule, "a", S.FAILED)
    schedule.retry_due("a")
    schedule.started("a")
    schedule.stop()

    assert schedule.not_started("a") == [Finished(W.STOPPED)]
    assert (schedule.job("a").state, schedule.job("a").attempts) == (S.FAILED, 1)


# Stopping


def test_a_stop_cancels_what_waits_and_stops_what_runs() -> None:
    schedule = begun(a_job("a"), a_job("b"), a_job("c", Is("b", E)))
    schedule.started("b")

    assert schedule.stop() == [Cancel("a", STOPPED), Stop("b"), Cancel("c", STOPPED)]
    assert schedule.stopping
    assert schedule.stop() == ()
    assert schedule.ended("b", S.STOPPED) == [Finished(W.STOPPED)]


def test_what_a_stop_cancels_is_canceled_by_it_and_not_by_others_it_canceled() -> None:
    schedule = begun(a_job("a"), a_job("b", Is("a", C)), a_job("c", Is("b", C)))

    assert schedule.stop() == [
        *(Cancel(name, STOPPED) for name in "abc"),
        Finished(W.CANCELED),
    ]
    assert {schedule.job(name).because for name in "abc"} == {STOPPED}


@pytest.mark.parametrize("due", [False, True])
def test_a_stop_makes_a_failure_final_that_was_to_be_tried_again(due: bool) -> None:
    """Also when its wait is over and there was only no room for it yet: that is no fact that outlives a crash."""
    schedule = begun(a_job("zero", Is("a", F)), a_job("a", retries=1), a_job("b", Is("a", F)))
    ran(schedule, "a", S.FAILED)
    if due:
        schedule.retry_due("a")

    actions = schedule.stop()

    assert actions == [Cancel("zero", STOPPED), Cancel("b", STOPPED), Finished(W.STOPPED)]
    assert schedule.job("a").state is S.FAILED


def test_after_a_stop_nothing_starts_and_nothing_is_tried_again() -> None:
    schedule = begun(a_job("a", retries=9), a_job("b"), a_job("c", Is("a", F)))
    schedule.started("a")
    schedule.started("b")
    schedule.stop()

    assert schedule.ended("a", S.FAILED) == []
    assert schedule.ended("b", S.COMPLETED) == [Finished(W.STOPPED)]


def test_a_stop_after_the_end_changes_nothing() -> None:
    schedule = begun(a_job("a"), a_job("b", Is("a", F)))
    ran(schedule, "a", S.COMPLETED)
    before = seen(schedule, "ab")

    assert schedule.stop() == ()
    assert seen(schedule, "ab") == before
    assert schedule.state is W.COMPLETED


# The whole


@pytest.mark.parametrize(
    ("ends", "stop", "state", "counts"),
    [
        ([S.COMPLETED, S.COMPLETED], False, W.COMPLETED, Counts(2, 2, 0, 0)),
        ([S.COMPLETED, S.COMPLETED], True, W.COMPLETED, Counts(2, 2, 0, 0)),
        ([S.COMPLETED, S.FAILED], False, W.FAILED, Counts(2, 1, 1, 0)),
        ([S.STOPPED, S.FAILED], False, W.FAILED, Counts(2, 0, 1, 1)),
        ([S.STOPPED, S.FAILED], True, W.STOPPED, Counts(2, 0, 1, 1)),
        ([None, S.FAILED], True, W.STOPPED, Counts(2, 0, 1, 1)),
        ([S.COMPLETED, S.STOPPED], False, W.STOPPED, Counts(2, 1, 0, 1)),
        ([S.COMPLETED, S.STOPPED], True, W.STOPPED, Counts(2, 1, 0, 1)),
        ([S.COMPLETED, None], True, W.STOPPED, Counts(2, 1, 0, 1)),
        ([None, None], True, W.CANCELED, Counts(2, 0, 0, 2)),
    ],
)
def test_the_state_of_the_whole_follows_from_the_ends(
    ends: list[NodeState | None], stop: bool, state: WorkflowState, counts: Counts
) -> None:
    schedule = begun(a_job("0"), a_job("1"))
    for number, end in enumerate(ends):
        if end is not None:
            schedule.started(str(number))
    last = [*(schedule.stop() if stop else ())]
    for number, end in enumerate(ends):
        if end is not None:
            last += schedule.ended(str(number), end)

    assert last[-1] == Finished(state)
    assert (schedule.state, schedule.counts) == (state, counts)


@pytest.mark.parametrize(("stop", "state"), [(False, W.COMPLETED), (True, W.STOPPED)])
def test_a_failure_that_is_tolerated_does_not_fail_the_whole(stop: bool, state: WorkflowState) -> None:
    schedule = begun(a_job("a", tolerated=True))
    schedule.started("a")
    if stop:
        schedule.stop()

    assert schedule.ended("a", S.FAILED) == [Finished(state)]
    assert schedule.counts == Counts(1, 0, 1, 0)


def test_a_job_that_never_ran_because_it_need_not_does_not_spoil_the_whole() -> None:
    schedule = begun(a_job("a"), a_job("mend", Is("a", F)))

    assert ran(schedule, "a", S.COMPLETED) == [Cancel("mend", "a COMPLETED"), Finished(W.COMPLETED)]
    assert schedule.counts == Counts(2, 1, 0, 1)


# Events that cannot happen

EVENTS: dict[str, Callable[[Schedule], Sequence[Action]]] = {
    "started": lambda schedule: schedule.started("a"),
    "completed": lambda schedule: schedule.ended("a", S.COMPLETED),
    "failed": lambda schedule: schedule.ended("a", S.FAILED),
    "stopped": lambda schedule: schedule.ended("a", S.STOPPED),
    "not started": lambda schedule: schedule.not_started("a"),
    "retry due": lambda schedule: schedule.retry_due("a"),
}
RUNS = {"completed", "failed", "stopped", "not started"}
# How "a" gets somewhere, and what can happen to it then.
SITUATIONS: dict[str, tuple[list[str], set[str]]] = {
    "not begun": ([], set()),
    "ready": (["begin"], {"started"}),
    "running": (["begin", "started"], RUNS),
    "retrying": (["begin", "started", "failed"], {"retry due"}),
    "ready again": (["begin", "started", "failed", "retry due"], {"started"}),
    "running again": (["begin", "started", "failed", "retry due", "started"], RUNS),
    "lost": (["begin", "started", "not started"], {"started"}),
    "completed": (["begin", "started", "completed"], set()),
    "stopped": (["begin", "started", "stopped"], set()),
    "failed": (["begin", "started", "failed", "retry due", "started", "failed"], set()),
    "canceled": (["begin", "stop"], set()),
    "stopping": (["begin", "started", "stop"], RUNS),
    "given up": (["begin", "started", "failed", "stop"], set()),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("event", EVENTS)
def test_an_event_that_cannot_happen_is_refused_and_changes_nothing(situation: str, event: str) -> None:
    way, possible = SITUATIONS[situation]
    steps = EVENTS | {"begin": Schedule.begin, "stop": Schedule.stop}
    schedule = Schedule(definition_of(a_job("a", retries=1), a_job("b", Is("a", E))))
    for step in way:
        steps[step](schedule)
    before = seen(schedule, "ab")

    if event in possible:
        EVENTS[event](schedule)
        assert seen(schedule, "ab") != before
    else:
        with pytest.raises(IllegalEvent, match="a is "):
            EVENTS[event](schedule)
        assert seen(schedule, "ab") == before


def test_the_table_has_every_state_uses_every_event_and_reaches_every_end() -> None:
    assert set(TRANSITIONS) == set(NodeState)
    assert {event for events in TRANSITIONS.values() for event in events} == set(NodeEvent)
    assert {state for events in TRANSITIONS.values() for state in events.values()} == set(NodeState)
    assert set(ENDS) == {S.COMPLETED, S.FAILED, S.STOPPED, S.CANCELED}
