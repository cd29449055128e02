"""
Good workflow files: each field in the units of the code, what jobs inherit, and what is valid but not offered yet.

Runs in: pytest.
"""

from pathlib import Path
from typing import Final

import pytest

from joblet.domain.limits import MIB, Machine
from joblet.domain.workflow.definition import All, Any, Condition, Is, JobDefinition, Not, Outcome, Retries
from joblet.workflowfile.read import WorkflowFile, parse, read
from joblet.yamlfile import Problem, YamlInvalid

COMPLETED, FAILED, FINISHED = Outcome
MACHINE: Final = Machine(cores=4, memory_bytes=1024 * MIB)


def file(text: str, machine: Machine | None = None) -> WorkflowFile:
    return parse(text.encode(), "w", machine)


def job(line: str, machine: Machine | None = None) -> JobDefinition:
    """The job `b` of a file with this line in it, beside jobs a, c and d."""
    others = "".join(f"  {name}: {{command: make}}\n" for name in "acd")
    return file(f"jobs:\n  b:\n    command: make\n    {line}\n{others}", machine).definition.jobs["b"]


def test_the_smallest_file_has_one_job_with_the_servers_defaults() -> None:
    found = file("jobs: {build: {command: make}}\n")

    assert found.definition.jobs == {"build": JobDefinition("build", "make")}
    assert found.unavailable == ()
    assert found.masked == "jobs: {build: {command: make}}\n"


def test_every_field_of_a_job() -> None:
    text = """
environment: {STAGE: test}
secret_environment: {TOKEN: hunter2}
jobs:
  fetch: {command: fetch}
  lint: {command: lint}
  build:
    command: "make"
    args: ["-j2", 3]
    requires:
      - fetch: "COMPLETED"
      - lint: FINISHED
    resources: {max_cpu: 50, max_memory: 256, max_io_bps: 1048576, cpu_cores: "0-1,3"}
    environment: {MODE: fast}
    secret_environment: {KEY: hunter3}
    workdir: "/work/x"
    timeout: "90s"
    retries: {max: 3, backoff: "5s"}
    continue_on_failure: true
    network: host
    volumes: []
    uploads: {files: []}
"""

    found = file(text)

    assert list(found.definition.jobs) == ["fetch", "lint", "build"]
    assert found.definition.jobs["build"] == JobDefinition(
        name="build",
        command="make",
        args=("-j2", "3"),
        requires=All((Is("fetch", COMPLETED), Is("lint", FINISHED))),
        dependencies=("fetch", "lint"),
        cpu_max_percent=50,
        cpu_cores="0-1,3",
        memory_max_bytes=256 * 1024 * 1024,
        io_max_bytes_per_s=1048576,
        timeout_s=90.0,
        work_dir="/work/x",
        environment={"STAGE": "test", "MODE": "fast"},
        secret_environment={"TOKEN": "hunter2", "KEY": "hunter3"},
        retries=Retries(3, 5.0),
        continue_on_failure=True,
    )
    assert found.unavailable == ()


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("args: []", "args", ()),
        ("args:", "args", ()),
        ('args: [true, 1.5, "", 0x10, "null", no, 2026-01-01]', "args",
         ("true", "1.5", "", "0x10", "null", "no", "2026-01-01")),
        ("args: [a;b, $HOME, '|']", "args", ("a;b", "$HOME", "|")),
        ("resources: {max_cpu: 0}", "cpu_max_percent", 0),
        ("resources: {max_cpu: 1000000}", "cpu_max_percent", 1_000_000),
        ("resources: {max_memory: 2147483647}", "memory_max_bytes", 2147483647 * MIB),
        ("resources: {max_io_bps: 2147483647}", "io_max_bytes_per_s", 2147483647),
        ("resources: {cpu_cores: 0}", "cpu_cores", "0"),
        ("resources: {cpu_cores: 99999}", "cpu_cores", "99999"),
        ("resources:", "cpu_max_percent", 0),
        ("resources: {}", "cpu_max_percent", 0),
        ("timeout: 0", "timeout_s", 0.0),
        ("timeout: 100ms", "timeout_s", 0.1),
        ("timeout: 1h30m", "timeout_s", 5400.0),
        ("timeout: 8760h", "timeout_s", 365 * 24 * 3600.0),
        ("workdir: relative", "work_dir", "relative"),
        ("retries: {max: 0}", "retries", Retries(0, 0.0)),
        ("retries: {max: 100, backoff: 1h}", "retries", Retries(100, 3600.0)),
        ("retries: {max: 1, backoff: 1ms}", "retries", Retries(1, 0.001)),
        ("retries: {max: 1, backoff: 0}", "retries", Retries(1, 0.0)),
        ("retries: {max: 2}", "retries", Retries(2, 0.0)),
        ("retries:", "retries", Retries()),
        ("continue_on_failure: false", "continue_on_failure", False),
        ('continue_on_failure: "true"', "continue_on_failure", True),
        ("requires:", "requires", All()),
        ("requires: []", "requires", All()),
        ("environment:", "environment", {}),
        ("environment: {N: 1, T: true, D: 2026-01-01, O: 010, E: '', S: ' x '}", "environment",
         {"N": "1", "T": "true", "D": "2026-01-01", "O": "010", "E": "", "S": " x "}),
    ],
)  # fmt: skip
def test_a_field_is_read_in_the_units_of_the_code(line: str, attribute: str, value: object) -> None:
    assert getattr(job(line), attribute) == value


A: Final = Is("a", COMPLETED)


@pytest.mark.parametrize(
    ("items", "condition", "dependencies"),
    [
        ("[a: COMPLETED]", A, ("a",)),
        ("[{a: COMPLETED, c: FAILED}, d: FINISHED]", All((A, Is("c", FAILED), Is("d", FINISHED))), ("a", "c", "d")),
        ("[a: COMPLETED, a: FINISHED]", All((A, Is("a", FINISHED))), ("a",)),
        ("[expression: a=COMPLETED]", A, ("a",)),
        ("[expression: c=FAILED OR a=COMPLETED]", Any((Is("c", FAILED), A)), ("c", "a")),
        ("[d: FINISHED, expression: NOT a=COMPLETED]", All((Is("d", FINISHED), Not(A))), ("d", "a")),
        ("[{expression: c=FAILED, a: COMPLETED}]", All((Is("c", FAILED), A)), ("c", "a")),
        ("[expression: c=FAILED, expression: a=COMPLETED]", All((Is("c", FAILED), A)), ("c", "a")),
    ],
)
def test_every_item_of_requires_must_hold(items: str, condition: Condition, dependencies: tuple[str, ...]) -> None:
    found = job(f"requires: {items}")

    assert (found.requires, found.dependencies) == (condition, dependencies)


def test_an_expression_may_stand_in_a_block() -> None:
    text = "requires:\n      - expression: >-\n          a=COMPLETED\n          AND c=FAILED\n        d: FINISHED"

    assert job(text).requires == All((All((A, Is("c", FAILED))), Is("d", FINISHED)))


def test_a_job_may_fail_and_still_count_as_completed() -> None:
    text = """
jobs:
  a: {command: make, continue_on_failure: true}
  b: {command: make, requires: [a: COMPLETED, a: FAILED]}
"""

    assert file(text).definition.jobs["b"].requires == All((A, Is("a", FAILED)))


@pytest.mark.parametrize("name", ["a", "1", "on", "null", "and", "a.b-c_d", "x" * 64, "EXPRESSION", "jobs", "true"])
def test_a_job_may_be_called(name: str) -> None:
    assert list(file(f"jobs: {{{name}: {{command: make}}}}\n").definition.jobs) == [name]


def test_a_job_inherits_variables_and_its_own_win() -> None:
    text = """
environment: {A: top, B: top, PATH: /bin}
secret_environment: {TOKEN: hunter2, KEY: hunter3}
jobs:
  plain: {command: make}
  own:
    command: make
    environment: {B: own, PATH: "${PATH}:/x", URL: "u:${TOKEN}@h", KEY: public, LITERAL: "$${A} $A"}
    secret_environment: {A: hunter4}
"""

    jobs = file(text).definition.jobs

    assert jobs["plain"].environment == {"A": "top", "B": "top", "PATH": "/bin"}
    assert jobs["plain"].secret_environment == {"TOKEN": "hunter2", "KEY": "hunter3"}
    assert jobs["own"].environment == {"B": "own", "PATH": "/bin:/x", "KEY": "public", "LITERAL": "${A} $A"}
    assert jobs["own"].secret_environment == {"TOKEN": "hunter2", "URL": "u:hunter2@h", "A": "hunter4"}


def test_an_alias_for_a_secret_is_a_secret() -> None:
    text = """
environment: {COPY: &token hunter2}
secret_environment: {TOKEN: *token}
jobs:
  a: {command: make, environment: {AGAIN: *token}}
"""

    found = file(text)

    assert found.definition.jobs["a"].environment == {}
    assert set(found.definition.jobs["a"].secret_environment) == {"COPY", "TOKEN", "AGAIN"}
    assert "hunter2" not in found.masked
    assert "hunter2" not in repr(found)


def test_repr_shows_no_secret() -> None:
    found = file("secret_environment: {T: hunter2}\njobs: {a: {command: make, environment: {U: 'x${T}'}}}\n")

    assert found.definition.jobs["a"].secret_environment["U"] == "xhunter2"
    assert "hunter2" not in repr(found)


def test_anchors_aliases_and_standard_tags_may_be_used() -> None:
    text = """
environment: &env {A: !!str 1}
jobs:
  a: &a {command: make, args: &args [x], environment: *env}
  b: {command: !!str make, args: *args}
  c: *a
"""

    jobs = file(text).definition.jobs

    assert [(found.name, found.args, found.environment) for found in jobs.values()] == [
        (name, ("x",), {"A": "1"}) for name in "abc"
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_harmless() -> None:
    text = "environment:\n  A: |\n    x\n    y\njobs:\n  a:\n    command: make\n"
    plain = file(text).definition

    assert plain.jobs["a"].environment == {"A": "x\ny\n"}
    assert file("\ufeff" + text.replace("\n", "\r\n")).definition == plain


def test_a_file_is_read_from_disk_with_its_text_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes("\ufeffsecret_environment: {T: größe}\r\njobs: {a: {command: make}}\r\n".encode())

    text, found = read(path)

    assert text.encode() == path.read_bytes()
    assert found.masked == '\ufeffsecret_environment: {T: "***"}\r\njobs: {a: {command: make}}\r\n'


@pytest.mark.parametrize(
    "resources", ["max_cpu: 400", "max_memory: 1024", "max_io_bps: 2147483647", "cpu_cores: 0-3", "max_cpu: 0"]
)
def test_all_that_a_machine_has_may_be_asked_for(resources: str) -> None:
    assert job(f"resources: {{{resources}}}", MACHINE).command == "make"


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ("max_cpu: 401", "w:4:26: jobs.b.resources.max_cpu: exceeds system limits: this machine has 4 cores (400)"),
        ("max_memory: 1025", "w:4:29: jobs.b.resources.max_memory: exceeds system limits: this machine has 1024 MB"),
        ("cpu_cores: 0-4", "w:4:28: jobs.b.resources.cpu_cores: exceeds system limits: this machine has 4 cores (0-3)"),
        ("cpu_cores: 4", "w:4:28: jobs.b.resources.cpu_cores: exceeds system limits: this machine has 4 cores (0-3)"),
    ],
)  # fmt: skip
def test_what_a_machine_does_not_have_is_refused_there_and_only_there(resources: str, message: str) -> None:
    line = f"resources: {{{resources}}}"

    job(line)
    with pytest.raises(YamlInvalid) as refused:
        job(line, MACHINE)

    assert str(refused.value) == message


def test_a_machine_of_one_core_is_told_in_the_singular() -> None:
    with pytest.raises(YamlInvalid, match=r"this machine has 1 core \(0-0\)$"):
        job("resources: {cpu_cores: 1}", Machine(1, MIB))


def test_what_no_server_offers_yet_is_valid_and_told_with_its_place() -> None:
    text = """\
jobs:
  a:
    command: make
    network: bridge
    volumes: [data]
    runtime: python-3.11
    uploads:
      files: [a.txt, b/c.txt, ..d]
  b: {command: make, network: host, volumes: [], uploads: {files: []}}
  c: {command: make, network: "", uploads: }
"""

    assert file(text).unavailable == (
        Problem(4, 14, "jobs.a.network", "networks"),
        Problem(5, 14, "jobs.a.volumes", "volumes"),
        Problem(6, 14, "jobs.a.runtime", "runtimes"),
        Problem(8, 7, "jobs.a.uploads", "uploads"),
    )
