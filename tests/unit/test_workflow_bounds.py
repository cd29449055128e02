"""
How much a workflow file may mean: aliases multiply what it holds, and every product ends at a bound.

What is large and meant passes: ten thousand jobs in a chain, one before all others, one after them, and layers.

Runs in: pytest.
"""

from collections.abc import Callable
from typing import Final

import pytest

from joblet.api import convert
from joblet.configkeys import KEYS
from joblet.domain.workflow.definition import JobDefinition
from joblet.domain.workflow.states import Counts, WorkflowState
from joblet.domain.workflow.workflow import Workflow, WorkflowId, WorkflowJob
from joblet.wire import joblet_pb2 as pb
from joblet.workflowfile.nodes import MAX_FOUND
from joblet.workflowfile.read import MAX_LISTED_BYTES, parse
from joblet.yamlfile import YamlInvalid

MAKE: Final = "command: make"
JOBS: Final = 10_000


def refused(text: str) -> YamlInvalid:
    with pytest.raises(YamlInvalid) as raised:
        parse(text.encode(), "w")
    return raised.value


def jobs_of(text: str) -> list[JobDefinition]:
    return list(parse(text.encode(), "w").definition.jobs.values())


def file_of(*first: str, then: str = "", times: int = 0) -> str:
    """Jobs as they are given, and as many more that are all alike."""
    return "\n".join(["jobs:", *(f"  {line}" for line in first), *(f"  j{n}: {then}" for n in range(times)), ""])


def test_an_expression_that_many_jobs_share_is_read_once() -> None:
    shared = "requires: [expression: *e]"

    _, first, *others = jobs_of(
        file_of(
            f"a: {{{MAKE}}}",
            f"b: {{{MAKE}, requires: [expression: &e a!=FAILED]}}",
            then=f"{{{MAKE}, {shared}}}",
            times=3,
        )
    )

    assert all(job.requires is first.requires and job.dependencies == ("a",) for job in others)


def test_a_list_of_requirements_that_many_jobs_share_is_read_once() -> None:
    _, _, first, *others = jobs_of(
        file_of(
            f"a: {{{MAKE}}}",
            f"b: {{{MAKE}}}",
            f"c: {{{MAKE}, requires: &r [a: COMPLETED, b: FAILED]}}",
            then=f"{{{MAKE}, requires: *r}}",
            times=3,
        )
    )

    assert all(job.requires is first.requires and job.dependencies == ("a", "b") for job in others)


def test_what_is_wrong_with_a_shared_expression_or_list_is_told_once() -> None:
    expression = file_of(
        f"a: {{{MAKE}, requires: [expression: &e 'b='] }}", then=f"{{{MAKE}, requires: [expression: *e]}}", times=9
    )
    unknown = file_of(f"a: {{{MAKE}, requires: &r [gone: FAILED, {{}}]}}", then=f"{{{MAKE}, requires: *r}}", times=9)

    assert [problem.line for problem in refused(expression).problems] == [2]
    assert [problem.what for problem in refused(unknown).problems] == ["there is no job gone", "is empty"]


def test_a_shared_list_cannot_be_that_of_a_job_in_it() -> None:
    text = file_of(f"a: {{{MAKE}, requires: &r [b: FAILED]}}", f"b: {{{MAKE}, requires: *r}}")

    assert str(refused(text)) == "w:2:36: jobs.b.requires: a job cannot require itself"


def test_a_long_expression_of_many_jobs_ends_at_a_bound() -> None:
    """500 terms shared by 3,000 jobs: a million and a half conditions from 60 KB."""
    terms = " OR ".join(["a=FAILED"] * 500)
    text = file_of(
        f"a: {{{MAKE}}}",
        f"b: {{{MAKE}, requires: [expression: &e {terms}]}}",
        then=f"{{{MAKE}, requires: [expression: *e]}}",
        times=3000,
    )

    assert str(refused(text)) == (
        "w:501:3: jobs.j497: makes the conditions of all jobs longer than 250000 outcomes, ANDs, ORs and NOTs,"
        " each alias counted with all that it stands for"
    )


def test_an_expression_used_many_times_in_one_job_ends_at_a_bound() -> None:
    terms = " OR ".join(["a=FAILED"] * 5000)
    text = file_of(
        f"a: {{{MAKE}}}",
        f"b: {{{MAKE}, requires: [expression: &e {terms}]}}",
        then=f"{{{MAKE}, requires: [{'{expression: *e}, ' * 200}]}}",
        times=1,
    )

    assert str(refused(text)).startswith("w:4:3: jobs.j0: makes the conditions of all jobs longer than 250000 outcomes")


def test_long_lists_of_long_names_end_at_what_an_answer_has_room_for() -> None:
    """200 names of 60 characters or more required by 600 jobs: an answer of 8 MB from 50 KB."""
    names = [f"{'x' * 60}{n}" for n in range(200)]
    required = ", ".join(f"{name}: COMPLETED" for name in names)
    text = file_of(
        *(f"{name}: {{{MAKE}}}" for name in names),
        f"a: {{{MAKE}, requires: &r [{required}]}}",
        then=f"{{{MAKE}, requires: *r}}",
        times=600,
    )

    assert str(refused(text)) == (
        "w:480:3: jobs.j277: makes the list of all jobs, each with the names of those it waits for, longer than the"
        " 3670016 bytes that an answer of the server has room for"
    )


@pytest.mark.parametrize(("name_length", "others"), [(10, 0), (64, 0), (64, 20), (4, 100)])
def test_the_longest_list_fits_into_an_answer_beside_the_longest_file(name_length: int, others: int) -> None:
    """As the configuration has them by default: what a server takes, and what it sends."""
    bytes_of = {key.path: int(str(key.default)) for key in KEYS if key.path.endswith("MsgSize")}
    name = "x" * name_length
    at_ns = 1_800_000_000_123_456_789
    job = WorkflowJob(
        name, (name,) * others, "COMPLETED", "u" * 36, at_ns, at_ns, 255, "it exceeded its timeout of 3600 s", 101
    )
    jobs = [job] * (MAX_LISTED_BYTES // (128 + (name_length + 2) * (1 + others)))
    workflow = Workflow(
        WorkflowId("u" * 36),
        "w" * 255,
        at_ns,
        "#" * bytes_of["grpc.maxRecvMsgSize"],
        Counts(len(jobs)),
        WorkflowState.RUNNING,
        at_ns,
        at_ns,
    )

    answer = pb.GetWorkflowStatusResponse(
        workflow=convert.workflow_info(workflow, with_yaml=True), jobs=map(convert.workflow_job, jobs)
    )

    assert answer.ByteSize() <= bytes_of["grpc.maxSendMsgSize"]


GRAPHS: Final[dict[str, Callable[[int], list[int]]]] = {
    "chain": lambda n: [n - 1] if n else [],
    "one before all": lambda n: [0] if n else [],
    "one after all": lambda n: list(range(n)) if n == JOBS - 1 else [],
    "layers": lambda n: [n // 100 * 100 - 100 + (n + step) % 100 for step in (0, 1, 50)] if n >= 100 else [],
    "ten full layers": lambda n: list(range(n // 100 * 100 - 100, n // 100 * 100)) if 100 <= n < 1000 else [],
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_ten_thousand_jobs_that_are_meant_pass(graph: str) -> None:
    required = {n: GRAPHS[graph](n) for n in range(JOBS)}
    lines = (
        f"job-{n}: {{{MAKE}, requires: [{', '.join(f'job-{other}: COMPLETED' for other in others)}]}}"
        for n, others in required.items()
    )

    jobs = jobs_of(file_of(*lines))

    assert sum(len(job.dependencies) for job in jobs) == sum(map(len, required.values()))


LONG: Final = {
    "args": (f"{MAKE}, args: [&t {'é' * 100_000}]", f"{MAKE}, args: [*t]"),
    "command": (f"command: &t {'é' * 100_000}", "command: *t"),
    "environment": (f"{MAKE}, environment: {{A: &t {'$' * 100_000}}}", f"{MAKE}, environment: {{A: *t}}"),
}


@pytest.mark.parametrize("key", LONG)
def test_long_values_of_many_jobs_end_at_a_bound(key: str) -> None:
    first, then = LONG[key]

    found = refused(file_of(f"a: {{{first}}}", then=f"{{{then}}}", times=1000))

    assert str(found) == (
        "w:337:3: jobs.j334: holds more than 33554432 characters, each alias counted with all that it stands for"
    )


def test_a_file_of_nothing_but_problems_is_read_no_further_than_a_thousand() -> None:
    found = refused(file_of(then="{secret_environment: {A: hunter2}}", times=5000))

    assert str(found).splitlines()[:2] == [
        f"w: has more than {MAX_FOUND} problems; they are not all shown",
        "w:2:3: jobs.j0: has no command",
    ]
    assert len(found.problems) == MAX_FOUND + 1


def test_a_secret_is_hidden_that_is_one_only_after_where_reading_ends() -> None:
    first = "a: {command: make, timeout: &t hunter2}"
    last = "z: {command: make, secret_environment: {A: *t}}"

    found = refused(file_of(first, *(f"j{n}:" for n in range(2000)), last))

    assert "hunter2" not in "".join(problem.at("w") for problem in found.problems)
    assert found.problems[1].at("w") == (
        "w:2:31: jobs.a.timeout: is also the value of a secret, and would be shown (allowed: a duration such as 100ms,"
        " 30s, 5m or 1h30m, from 100ms to 8760h, or 0 for the default)"
    )
