"""
House rules as tests: who may import whom, what a module says about itself, what tests may not do.

A broken rule names the file, the line and what to do. The rules are tables at the top; the tests below read the
source as syntax trees and never import it, but for the zygote, whose real size in modules is what counts.

Runs in: pytest. May not: import joblet.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SRC: Final = ROOT / "src"

GENERATED: Final = frozenset({"joblet.wire.joblet_pb2", "joblet.wire.joblet_pb2_grpc"})

# Which parts of joblet a part may import (itself always). The most specific name wins.
MAY_IMPORT: Final[Mapping[str, frozenset[str]]] = {
    "joblet": frozenset(),  # the package itself stays empty: else root imports grpc and `rnx --help` is slow
    "joblet.ports": frozenset({"domain"}),
    "joblet.services": frozenset({"domain", "ports", "workflowfile", "yamlfile"}),
    **dict.fromkeys(("joblet.domain", "joblet.statefolder", "joblet.allocator", "joblet.wire"), frozenset[str]()),
    **dict.fromkeys(("joblet.complaint", "joblet.servicemanager", "joblet.yamlkinds"), frozenset[str]()),
    "joblet.yamlfile": frozenset({"yamlkinds", "complaint"}),
    "joblet.configkeys": frozenset({"yamlkinds", "domain"}),
    "joblet.config": frozenset({"configkeys", "yamlfile", "complaint"}),
    "joblet.workflowfile": frozenset({"domain", "yamlfile", "yamlkinds"}),
    "joblet.serverlog": frozenset({"domain"}),
    "joblet.engine": frozenset({"domain", "ports", "statefolder"}),
    "joblet.engine.protocol": frozenset(),
    "joblet.engine.log_metrics": frozenset({"engine.protocol", "statefolder"}),
    "joblet.engine.supervised": frozenset(
        {"domain", "ports", "statefolder", "engine", "supervisor", "logs.system", "logs.options"}  # it starts one
    ),
    "joblet.storage": frozenset({"domain", "ports"}),
    "joblet.logs": frozenset({"domain", "ports", "statefolder"}),
    **{f"joblet.logs.{name}": frozenset[str]() for name in ("calls", "memory", "metrics", "notices", "pipe")},
    **{f"joblet.logs.{name}": frozenset({"logs.calls"}) for name in ("overflow", "times")},
    **{f"joblet.logs.{name}": frozenset({"logs"}) for name in ("blocks", "memfd", "spool", "records")},
    **{f"joblet.logs.{name}": frozenset({"logs"}) for name in ("writer", "relief", "system", "options")},
    "joblet.supervisor": frozenset({"domain", "engine.protocol", "logs", "serverlog", "servicemanager", "statefolder"}),
    **dict.fromkeys(("joblet.supervisor.zygote", "joblet.supervisor.init"), frozenset({"supervisor"})),
    "joblet.pki": frozenset({"complaint", "domain"}),
    "joblet.pki.names": frozenset(),
    "joblet.api": frozenset(
        {"domain", "ports", "services", "wire", "serverlog", "complaint", "pki.names", "allocator"}
    ),
    # The wiring: the only place that knows an adapter's class.
    "joblet.api.bootstrap": frozenset(
        {"api", "domain", "ports", "services", "wire", "serverlog", "config", "engine", "storage", "logs", "pki"}
        | {"statefolder", "servicemanager", "complaint", "allocator", "workflowfile"}
    ),
    "joblet.client": frozenset({"domain", "wire", "pki", "complaint"}),
    "joblet.rnx": frozenset({"domain", "client", "pki", "complaint", "allocator", "workflowfile", "yamlfile"}),
    "joblet.admin": frozenset(
        {"domain", "config", "configkeys", "yamlfile", "pki", "statefolder", "serverlog", "engine", "supervisor"}
        | {"complaint", "servicemanager", "logs.files", "ports", "storage.jobs", "yamlkinds"}  # the last: `joblet logs`
    ),
    "joblet.admin.serve": frozenset({"admin", "config", "complaint", "api.bootstrap"}),
    "joblet.testing": frozenset(
        ["domain", "ports", "services", "storage", "logs", "engine", "statefolder", "workflowfile"]
    ),
    "joblet_conformance": frozenset({"wire"}),  # a black box: it must be of use to who has never seen our code
    "joblet.testing.cgroupfs": frozenset({"domain", "supervisor"}),  # it stands in for the supervisor's kernel
}

# Packages from outside the standard library a part may import; every other part has none.
THIRD_PARTY: Final[Mapping[str, frozenset[str]]] = {
    "joblet.wire": frozenset({"grpc", "google"}),
    "joblet.api": frozenset({"grpc", "grpc_health", "grpc_reflection", "google", "cryptography"}),
    "joblet.client": frozenset({"grpc", "google"}),
    **dict.fromkeys(("joblet.yamlfile", "joblet.workflowfile"), frozenset({"yaml"})),
    **dict.fromkeys(("joblet.pki", "joblet.storage"), frozenset({"cryptography"})),
    "joblet.testing": frozenset({"pytest", "hypothesis", "cryptography"}),
    "joblet_conformance": frozenset({"grpc", "grpc_health", "grpc_reflection", "google", "cryptography", "hypothesis"}),
}

# Parts of the standard library that would break what a part promises.
NOT_EVEN: Final[Mapping[str, frozenset[str]]] = {
    "joblet.domain": frozenset(
        {"os", "io", "socket", "time", "asyncio", "sqlite3", "subprocess", "threading", "random"}
    ),
    # One epoll loop, one disk thread; nothing forks beside the zygote.
    "joblet.supervisor": frozenset({"asyncio", "multiprocessing", "concurrent", "http", "urllib", "sqlite3", "pickle"}),
}

# Each of these costs every job memory and time: the zygote is copied for each launch.
TOO_HEAVY_FOR_A_LAUNCH: Final = (
    "typing", "dataclasses", "logging", "asyncio", "re", "json", "enum", "subprocess", "collections", "functools",
    "threading", "socket", "pathlib", "inspect", "contextlib", "traceback", "tempfile", "random", "hashlib",
)  # fmt: skip

HOMELESS: Final = frozenset(
    {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "shared", "base", "core", "types"}
    | {"constants", "exceptions"}
)

LONG: Final = 400
# Modules over the limit, each with the reason why splitting it would read worse.
LONG_WITH_REASON: Final[Mapping[str, str]] = {}

FRAGMENT_KINDS: Final = ("added", "changed", "fixed", "removed", "security")


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, and where."""

    module: str
    line: int


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the product by its dotted name."""
    found = {}
    for path in sorted(SRC.rglob("*.py")):
        parts = path.relative_to(SRC).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def written() -> Iterator[tuple[str, Path]]:
    """The modules that people write and that hold anything."""
    for name, path in modules().items():
        if name not in GENERATED and path.stat().st_size > 0:
            yield name, path


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_of(path: Path) -> Iterator[Import]:
    """Everything a module imports, at its top and late; also for type checkers only, for that is knowledge too."""
    for node in ast.walk(tree_of(path)):
        match node:
            case ast.Import(names=names):
                yield from (Import(alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                for alias in names:
                    full = f"{module}.{alias.name}"
                    yield Import(full if full in modules() else module, node.lineno)
            case ast.ImportFrom():
                raise AssertionError(f"{path}:{node.lineno}: relative import; write the whole name")


def most_specific(table: Mapping[str, frozenset[str]], module: str) -> tuple[str, frozenset[str]] | None:
    """The entry for a module or for the nearest package around it."""
    while module:
        if module in table:
            return module, table[module]
        module = module.rpartition(".")[0]
    return None


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def report(problems: Iterable[str]) -> None:
    """Fail with all of them, not the first."""
    found = list(problems)
    assert not found, "\n" + "\n".join(found)


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_every_part_of_the_product_stands_in_the_table_of_layers() -> None:
    parts = {".".join(name.split(".")[:2]) if is_within(name, "joblet") else name.split(".")[0] for name in modules()}

    missing = parts - set(MAY_IMPORT)

    assert not missing, f"decide what they may import, in MAY_IMPORT: {sorted(missing)}"


def test_dependencies_point_one_way() -> None:
    def problems() -> Iterator[str]:
        for name, path in written():
            owner, allowed = most_specific(MAY_IMPORT, name) or (name, frozenset())
            for imported in imports_of(path):
                if not is_within(imported.module, "joblet") or is_within(imported.module, owner):
                    continue
                if not any(is_within(imported.module, f"joblet.{part}") for part in allowed):
                    yield f"{where(path, imported.line)}: {owner} may not import {imported.module}"

    report(problems())


def test_nobody_imports_the_grpc_adapter_but_its_own_package_and_serve() -> None:
    """Commands reach the server by starting it: `admin/serve.py` alone calls the wiring."""

    def problems() -> Iterator[str]:
        for name, path in written():
            if is_within(name, "joblet.api"):
                continue
            for imported in imports_of(path):
                if is_within(imported.module, "joblet.api") and (name, imported.module) != SERVE_TO_WIRING:
                    yield f"{where(path, imported.line)}: only joblet.admin.serve may import joblet.api.bootstrap"

    report(problems())


SERVE_TO_WIRING: Final = ("joblet.admin.serve", "joblet.api.bootstrap")


def test_production_code_never_imports_the_fakes() -> None:
    report(
        f"{where(path, imported.line)}: {name} imports {imported.module}"
        for name, path in written()
        if not is_within(name, "joblet.testing")
        for imported in imports_of(path)
        if is_within(imported.module, "joblet.testing")
    )


def test_packages_from_outside_are_imported_only_where_the_table_says() -> None:
    def problems() -> Iterator[str]:
        for name, path in written():
            _, allowed = most_specific(THIRD_PARTY, name) or ("", frozenset())
            for imported in imports_of(path):
                top = imported.module.partition(".")[0]
                if top not in {*sys.stdlib_module_names, "joblet", "joblet_conformance", *allowed}:
                    yield f"{where(path, imported.line)}: {name} may not import {top}"

    report(problems())


def test_no_part_imports_what_would_break_its_promise() -> None:
    def problems() -> Iterator[str]:
        for name, path in written():
            owner, banned = most_specific(NOT_EVEN, name) or ("", frozenset())
            for imported in imports_of(path):
                if imported.module.partition(".")[0] in banned:
                    yield f"{where(path, imported.line)}: {owner} promises to do without {imported.module}"

    report(problems())


@pytest.mark.parametrize("module", ["joblet.supervisor.zygote", "joblet.supervisor.init"])
def test_what_is_copied_for_each_launch_loads_next_to_nothing(module: str) -> None:
    """Counted in a bare interpreter, so also what its imports import is seen."""
    code = f"import sys; sys.path.insert(0, {str(SRC)!r}); import {module}; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()

    assert module in loaded
    assert sorted(set(loaded) & set(TOO_HEAVY_FOR_A_LAUNCH)) == []


def test_the_top_package_stays_empty() -> None:
    assert (SRC / "joblet" / "__init__.py").read_text() == ""


def test_every_module_says_where_it_runs() -> None:
    def problems() -> Iterator[str]:
        for name, path in written():
            header = ast.get_docstring(tree_of(path))
            if not header:
                yield f"{where(path, 1)}: {name} has no header: one sentence, then Runs in, May not, Source"
            elif "Runs in:" not in header:
                yield f"{where(path, 1)}: the header of {name} does not say in which process it runs (Runs in: …)"

    report(problems())


def test_everything_public_has_a_docstring() -> None:
    """Functions, classes, and the methods of classes. What a port or protocol says of a method may be pointed to."""
    report(
        f"{where(path, node.lineno)}: {name} has no docstring"
        for _, path in written()
        for name, node in public_definitions(tree_of(path))
        if not ast.get_docstring(node)
    )


def public_definitions(
    owner: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    """Everything with a public name, in a class that has one too."""
    for node in owner.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node, f"{prefix}{node.name}.")


def test_every_call_of_a_port_states_its_contract() -> None:
    ports = [node for node in tree_of(SRC / "joblet" / "ports.py").body if isinstance(node, ast.ClassDef)]

    calls = [
        (port.name, call)
        for port in ports
        for call in port.body
        if isinstance(call, ast.FunctionDef | ast.AsyncFunctionDef) and not call.name.startswith("_")
    ]

    assert len(calls) > 10
    assert [f"{port}.{call.name}" for port, call in calls if not ast.get_docstring(call)] == []


def test_no_module_has_a_name_that_could_hold_anything() -> None:
    report(
        f"{path.relative_to(ROOT)}: {name} says nothing; name it after what is decided in it"
        for name, path in modules().items()
        if name.rpartition(".")[2] in HOMELESS
    )


def test_no_module_grows_beyond_what_one_reads_in_one_sitting() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (*(path for _, path in written()), *sorted((ROOT / "tests").rglob("*.py")))
    }

    too_long = {name: lines for name, lines in lengths.items() if lines > LONG and name not in LONG_WITH_REASON}

    assert too_long == {}, f"more than {LONG} lines: split them, or give the reason in LONG_WITH_REASON"
    assert [name for name in LONG_WITH_REASON if lengths.get(name, 0) <= LONG] == [], "these need no exception any more"


def test_no_test_sleeps() -> None:
    """A test waits for an event with a deadline. What a job's own script does is text, and not meant here."""

    def problems() -> Iterator[str]:
        for path in sorted((ROOT / "tests").rglob("*.py")):
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Attribute) and node.attr == "sleep":
                    yield f"{where(path, node.lineno)}: {ast.unparse(node)}"
                elif isinstance(node, ast.ImportFrom) and any(alias.name == "sleep" for alias in node.names):
                    yield f"{where(path, node.lineno)}: from {node.module} import sleep"

    report(problems())


def test_no_test_patches_the_product() -> None:
    """Where a test would patch, a port is missing."""
    patching = {"unittest.mock", "mock", "pytest_mock"}

    def problems() -> Iterator[str]:
        for path in sorted((ROOT / "tests").rglob("*.py")):
            for imported in imports_of(path):
                if imported.module in patching:
                    yield f"{where(path, imported.line)}: {imported.module}"
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Attribute) and ast.unparse(node) == "monkeypatch.setattr":
                    yield f"{where(path, node.lineno)}: {ast.unparse(node)}"

    report(problems())


def test_a_switched_off_check_names_itself_and_its_reason() -> None:
    """`noqa` and `type: ignore` without a code hide the next mistake too."""
    bare = re.compile(r"#\s*(noqa(?!:)|type:\s*ignore(?!\[))")

    report(
        f"{where(path, number)}: {line.strip()}"
        for _, path in written()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if bare.search(line)
    )


def test_changelog_fragments_are_one_or_two_sentences_to_a_user() -> None:
    def problems() -> Iterator[str]:
        for path in sorted((ROOT / "changelog.d").iterdir()):
            if path.name == "README.md":
                continue
            if not re.fullmatch(rf"[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(FRAGMENT_KINDS)})\.md", path.name):
                yield f"{path.name}: must be named <what-changed>.<{'|'.join(FRAGMENT_KINDS)}>.md"
                continue
            text = path.read_text(encoding="utf-8").strip()
            sentences = len(re.findall(r"[.!?](?=\s|$)", text))
            if not text.endswith(".") or not 1 <= sentences <= 2 or "\n\n" in text or text.startswith(("#", "-")):
                yield f"{path.name}: must be one or two sentences, as told to a user"

    report(problems())


def test_shell_scripts_stop_at_the_first_error() -> None:
    for script in (ROOT / "dev", ROOT / ".ci" / "run"):
        assert re.search(r"^set -eu", script.read_text(), re.MULTILINE), f"{script.name} must start with set -eu"
        assert os.access(script, os.X_OK), f"{script.name} must be executable"
