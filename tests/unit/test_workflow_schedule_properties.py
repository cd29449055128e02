"""
The scheduler against facts alone: whatever happens in whatever order, it stands where the recorded attempts say.

`Facts` says naively, from nothing but the attempts and whether a stop was asked for, where everything must stand; a
`Driver` does what the server does, and compares after each step. A crash is `resume` with the same facts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from joblet.domain.workflow.definition import All, Any, Condition, Definition, Is, JobDefinition, Not, Outcome, Retries
from joblet.domain.workflow.schedule import (
    Action,
    Cancel,
    Finished,
    Retry,
    Schedule,
    Start,
    Stop,
    resume,
)
from joblet.domain.workflow.states import (
    Attempt,
    Counts,
    NodeState,
    WorkflowState,
)

S, W = NodeState, WorkflowState
OVER: Final = (S.COMPLETED, S.FAILED, S.STOPPED, S.CANCELED)
NAMES: Final = "abcdefgh"

# What may happen, as pairs of an event and a job; "stop" is of none.
Event = tuple[str, str]
ENDS: Final[Mapping[str, NodeState]] = {"completes": S.COMPLETED, "fails": S.FAILED, "is stopped": S.STOPPED}


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that outlives a crash; the rest follows."""

    definition: Definition = field(compare=False)
    attempts: tuple[Attempt, ...] = ()
    stop: bool = False

    def of(self, name: str) -> list[NodeState]:
        return [attempt.state for attempt in self.attempts if attempt.name == name]

    def states(self) -> dict[str, NodeState]:
        """Each job's, over and over until nothing more follows."""
        states = dict.fromkeys(self.definition.jobs, S.PENDING)
        while True:
            after = {name: self._state(name, states) for name in states}
            if after == states:
                return states
            states = after

    def _state(self, name: str, states: Mapping[str, NodeState]) -> NodeState:
        tried = self.of(name)
        if not tried:
            never = self.stop or self.holds(self.definition.jobs[name].requires, states) is False
            return S.CANCELED if never else S.PENDING
        again = tried[-1] is S.FAILED and len(tried) <= self.definition.jobs[name].retries.most and not self.stop
        return S.PENDING if again else tried[-1]

    def holds(self, condition: Condition, states: Mapping[str, NodeState]) -> bool | None:
        match condition:
            case Is(job, outcome):
                state = states[job]
                if state not in OVER:
                    return None
                completed = {S.COMPLETED, S.FAILED} if self.definition.jobs[job].continue_on_failure else {S.COMPLETED}
                wanted = {Outcome.COMPLETED: completed, Outcome.FAILED: {S.FAILED}, Outcome.FINISHED: set(OVER)}
                return state in wanted[outcome]
            case Not(part):
                truth = self.holds(part, states)
                return None if truth is None else not truth
            case All(parts) | Any(parts):
                truths = {self.holds(part, states) for part in parts}
                decisive = isinstance(condition, Any)
                return decisive if decisive in truths else None if None in truths else not decisive

    def startable(self) -> set[str]:
        """Those that must have been handed out, or wait for their next attempt: all that may run, at once."""
        states = self.states()
        waiting = [name for name, state in states.items() if state is S.PENDING]
        return {name for name in waiting if self.of(name) or self.holds(self.definition.jobs[name].requires, states)}

    def state(self) -> WorkflowState:
        states = self.states()
        fatal = {name for name, job in self.definition.jobs.items() if not job.continue_on_failure}
        if not all(state in OVER for state in states.values()):
            return W.RUNNING if self.attempts else W.PENDING
        if self.stop and set(states.values()) != {S.COMPLETED}:
            return W.STOPPED if self.attempts else W.CANCELED
        if any(states[name] is S.FAILED for name in fatal):
            return W.FAILED
        return W.STOPPED if S.STOPPED in states.values() else W.COMPLETED

    def counts(self) -> Counts:
        ends = list(self.states().values())
        canceled = ends.count(S.CANCELED) + ends.count(S.STOPPED)
        return Counts(len(ends), ends.count(S.COMPLETED), ends.count(S.FAILED), canceled)

    def possible(self) -> list[Event]:
        """What can happen next. A retry falls due together with its start: when it does is no fact."""
        running = [name for name, state in self.states().items() if state is S.RUNNING]
        events = [("starts", name) for name in sorted(self.startable())]
        events += [(event, name) for name in running for event in (*ENDS, "never ran")]
        return [*events, ("stop", "")] if events and not self.stop else events

    def after(self, event: Event) -> "Facts":
        what, name = event
        if what == "stop":
            return Facts(self.definition, self.attempts, True)
        if what == "starts":
            return Facts(self.definition, (*self.attempts, Attempt(name, S.RUNNING)), self.stop)
        under_way = self.attempts.index(Attempt(name, S.RUNNING))
        end = () if what == "never ran" else (Attempt(name, ENDS[what]),)
        return Facts(self.definition, (*self.attempts[:under_way], *end, *self.attempts[under_way + 1 :]), self.stop)


@dataclass(slots=True)
class Driver:
    """A server's part: it keeps what it was told to do until that is done, and stops believing once it is over."""

    facts: Facts
    schedule: Schedule
    ready: set[str] = field(default_factory=set)
    retrying: set[str] = field(default_factory=set)
    stopping: set[str] = field(default_factory=set)
    over: dict[str, NodeState] = field(default_factory=dict)
    finished: list[WorkflowState] = field(default_factory=list)

    def do(self, actions: Sequence[Action]) -> "Driver":
        assert not (actions and self.finished), f"{actions} after the end"
        for action in actions:
            match action:
                case Start(name):
                    assert name not in self.ready | self.retrying
                    self.ready.add(name)
                case Retry(name, attempt, after_s):
                    assert name not in self.ready | self.retrying
                    failures = len(self.facts.of(name))
                    backoff_s = self.facts.definition.jobs[name].retries.backoff_s
                    assert (attempt, after_s) == (failures + 1, min(3600, backoff_s * 2 ** (failures - 1)))
                    self.retrying.add(name)
                case Stop(name):
                    assert name not in self.stopping
                    self.stopping.add(name)
                case Cancel(name, because):
                    assert self.schedule.job(name).because == because != ""
                case Finished(state):
                    self.finished.append(state)
                    assert action is actions[-1]
        return self

    def see(self, event: Event) -> None:
        what, name = event
        if what == "starts" and name in self.retrying:
            self.due(name)
        self.facts = self.facts.after(event)
        match what:
            case "stop":
                self.ready.clear()
                self.retrying.clear()
                self.do(self.schedule.stop())
            case "starts":
                self.ready.remove(name)
                self.do(self.schedule.started(name))
            case "never ran":
                self.stopping.discard(name)
                self.do(self.schedule.not_started(name))
            case end:
                self.stopping.discard(name)
                self.do(self.schedule.ended(name, ENDS[end]))

    def due(self, name: str) -> None:
        self.retrying.remove(name)
        self.do(self.schedule.retry_due(name))

    def check(self) -> None:
        """It stands where the facts say, and has asked for exactly what is still to be done."""
        facts, names = self.facts, list(self.facts.definition.jobs)
        states = facts.states()
        nodes = {name: self.schedule.job(name) for name in names}
        assert {name: node.state for name, node in nodes.items()} == states
        assert {name: node.attempts for name, node in nodes.items()} == {name: len(facts.of(name)) for name in names}
        assert {name for name, node in nodes.items() if node.because} == self._with(S.CANCELED, states)
        assert {name for name, node in nodes.items() if node.ready} == self.ready
        assert {name for name, node in nodes.items() if node.retrying} == self.retrying
        assert self.ready | self.retrying == facts.startable()
        assert self.schedule.stopping == facts.stop
        assert self.stopping == (self._with(S.RUNNING, states) if facts.stop else set())
        assert (self.schedule.state, self.schedule.counts) == (facts.state(), facts.counts())
        assert self.finished == ([facts.state()] if all(state in OVER for state in states.values()) else [])
        assert {name: states[name] for name in self.over} == self.over, "what has ended has ended otherwise since"
        self.over = {name: state for name, state in states.items() if state in OVER}

    def _with(self, state: NodeState, states: Mapping[str, NodeState]) -> set[str]:
        return {name for name in states if states[name] is state}


def fresh(definition: Definition) -> Driver:
    schedule = Schedule(definition)
    return Driver(Facts(definition), schedule).do(schedule.begin())


def resumed(facts: Facts) -> Driver:
    schedule, actions = resume(facts.definition, facts.attempts, stop_requested=facts.stop)
    return Driver(facts, schedule).do(actions)


@st.composite
def definitions(draw: st.DrawFn) -> Definition:
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    jobs = {}
    for index, name in enumerate(names):
        leaves: st.SearchStrategy[Condition] = (
            st.builds(Is, st.sampled_from(names[:index]), st.sampled_from(Outcome)) if index else st.just(All())
        )
        lists = st.lists(leaves, max_size=4).map(tuple)
        requires: st.SearchStrategy[Condition] = st.recursive(
            st.one_of(leaves, st.builds(All, lists), st.builds(Any, lists)),
            lambda inner: st.one_of(
                st.builds(Not, inner),
                st.builds(All, st.lists(inner, max_size=3).map(tuple)),
                st.builds(Any, st.lists(inner, max_size=3).map(tuple)),
            ),
            max_leaves=4,
        )
        retries = st.builds(Retries, st.integers(0, 2), st.sampled_from([0.0, 0.5, 3000.0]))
        jobs[name] = JobDefinition(
            name, "true", requires=draw(requires), retries=draw(retries), continue_on_failure=draw(st.booleans())
        )
    return Definition({name: jobs[name] for name in draw(st.permutations(names))})


@given(definitions(), st.data())
@settings(max_examples=50, deadline=None)
def test_it_stands_where_the_facts_say_after_each_step_and_after_a_crash_there(
    definition: Definition, data: st.DataObject
) -> None:
    """So the order respects every condition, nothing that may run waits, and each job and the whole end once."""
    driver = fresh(definition)
    driver.check()
    for step in range(60):
        if not (possible := driver.facts.possible()):
            break
        # Towards the end nothing goes wrong any more, so that it comes.
        tame = [event for event in possible if event[0] in ("starts", "completes")]
        driver.see(data.draw(st.sampled_from(possible if step < 30 else tame)))
        driver.check()
        resumed(driver.facts).check()
    assert driver.finished


def small_graphs() -> Iterator[Definition]:
    """Three jobs: the second waits in each way for the first, the third in some for both."""
    outcomes = [Is("a", outcome) for outcome in Outcome]
    ways: list[Condition] = [All(), *outcomes, *map(Not, outcomes)]
    for second in ways:
        both: list[Condition] = [All((Is("a", Outcome.COMPLETED), Is("b", Outcome.COMPLETED)))]
        both += [Any((Is("a", Outcome.FAILED), Not(Is("b", Outcome.COMPLETED)))), Is("b", Outcome.FINISHED)]
        for third in both:
            for retried, tolerated in ((0, False), (1, False), (1, True)):
                yield Definition(
                    {
                        "c": JobDefinition("c", "true", requires=third),
                        "a": JobDefinition("a", "true", retries=Retries(retried, 1), continue_on_failure=tolerated),
                        "b": JobDefinition("b", "true", requires=second),
                    }
                )


def test_every_way_a_small_graph_can_go_crashes_after_each_step_and_goes_on() -> None:
    """Each set of facts and what may happen then, on a machine that never crashed and on one that did just before."""
    reached = 0
    for definition in small_graphs():
        start = Facts(definition)
        resumed(start).check()
        rest: list[tuple[Facts, tuple[Event, ...]]] = [(start, ())]
        known = {start}
        while rest:
            facts, way = rest.pop()
            for event in facts.possible():
                steady = fresh(definition)
                for earlier in (*way, event):
                    for name in sorted(steady.retrying):
                        steady.due(name)
                    steady.see(earlier)
                steady.check()
                crashed = resumed(facts)
                crashed.see(event)
                crashed.check()
                if steady.facts not in known:
                    known.add(steady.facts)
                    rest.append((steady.facts, (*way, event)))
        reached += len(known)
    assert reached > 5000


class Crashes(RuleBasedStateMachine):
    """One machine never crashes, the other again and again; both are told the same."""

    @initialize(definition=definitions())
    def begin(self, definition: Definition) -> None:
        self.steady = fresh(definition)
        self.shaken = fresh(definition)

    def happens(self, event: Event) -> None:
        self.steady.see(event)
        self.shaken.see(event)

    @precondition(lambda self: self.steady.facts.startable())
    @rule(choice=st.integers(0, 100))
    def starts(self, choice: int) -> None:
        names = sorted(self.steady.facts.startable())
        self.happens(("starts", names[choice % len(names)]))

    @precondition(lambda self: S.RUNNING in self.steady.facts.states().values())
    @rule(choice=st.integers(0, 100), what=st.sampled_from([*ENDS, "never ran"]))
    def ends(self, choice: int, what: str) -> None:
        names = sorted(attempt.name for attempt in self.steady.facts.attempts if attempt.state is S.RUNNING)
        self.happens((what, names[choice % len(names)]))

    @precondition(lambda self: len(self.steady.facts.attempts) > 1 and ("stop", "") in self.steady.facts.possible())
    @rule()
    def stop(self) -> None:
        """Late, so that there is something to stop; the other tests stop at once as well."""
        self.happens(("stop", ""))

    @precondition(lambda self: self.steady.retrying)
    @rule(choice=st.integers(0, 100))
    def due(self, choice: int) -> None:
        name = sorted(self.steady.retrying)[choice % len(self.steady.retrying)]
        self.steady.due(name)
        if name in self.shaken.retrying:  # else a crash made it wait anew, and it was due in the meantime
            self.shaken.due(name)

    @rule()
    def crash(self) -> None:
        self.shaken = resumed(self.shaken.facts)

    @invariant()
    def they_agree(self) -> None:
        self.steady.check()
        self.shaken.check()
        one, other = self.steady, self.shaken
        for name in one.facts.definition.jobs:
            node, twin = one.schedule.job(name), other.schedule.job(name)
            assert (node.state, node.attempts) == (twin.state, twin.attempts)
        assert one.ready | one.retrying == other.ready | other.retrying
        assert (one.stopping, one.finished) == (other.stopping, other.finished)
        assert (one.schedule.state, one.schedule.counts) == (other.schedule.state, other.schedule.counts)
        assert one.schedule.stopping == other.schedule.stopping


def test_a_machine_that_crashes_at_any_step_is_told_from_one_that_did_not_by_nothing() -> None:
    run_state_machine_as_test(Crashes, settings=settings(max_examples=50, stateful_step_count=40, deadline=None))
