"""
Every check of the project, and the jobs around it, as nox sessions.

`./dev test` runs the default sessions; `./dev nox -s NAME` one of them, `./dev nox -l` lists them.
All but `tests` and `wheel` run in the environment that `./dev` made (.venv): making six more of them
would cost a contributor minutes and prove nothing.

Runs in: the contributor's terminal, CI. May not: import joblet (it runs on any Python nox runs on).
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "venv"  # pip's own configuration (mirrors, proxies) holds for it
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = False  # also under CI=true: a Python that is not here is skipped
nox.options.download_python = "never"
nox.options.sessions = ["lint", "types", "fresh", "tests", "wire", "native", "conformance"]


def _show_pyenv_interpreters() -> None:
    """Let nox and tox find every Python that pyenv has: its shims answer only for the selected ones."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if not os.access(versions, os.R_OK | os.X_OK):
        return
    found = [str(folder) for minor in PYTHONS for folder in sorted(versions.glob(f"{minor}.*/bin"))]
    os.environ["PATH"] = os.pathsep.join([*found, os.environ.get("PATH", os.defpath)])


_show_pyenv_interpreters()


def _here(session: nox.Session, *command: str) -> None:
    """Run a Python module of the environment that `./dev` made."""
    session.run(sys.executable, "-m", *command, external=True)


def _install_once(session: nox.Session) -> None:
    """Fill the session's environment, again only after pyproject.toml has changed: an editable install takes 8 s."""
    stamp = Path(session.virtualenv.location) / ".installed"
    wanted = f"{ROOT} {hashlib.sha256((ROOT / 'pyproject.toml').read_bytes()).hexdigest()}"
    if not stamp.exists() or stamp.read_text() != wanted:
        session.install(*nox.project.dependency_groups(PYPROJECT, "test"), "--editable", ".")
        stamp.write_text(wanted)


@nox.session(python=sorted({*PYTHONS, CURRENT}))
def tests(session: nox.Session) -> None:
    """Unit tests, on each Python of this machine from 3.11 on."""
    _install_once(session)
    session.run("pytest", "tests/unit", "-n", "auto", "--durations=5", *session.posargs)


@nox.session(venv_backend="none")
def wire(session: nox.Session) -> None:
    """Every RPC over real TLS, on the fake engine."""
    _here(session, "pytest", "tests/wire", "-m", "not slow", "-n", "auto", "--durations=5", *session.posargs)


@nox.session(venv_backend="none")
def native(session: nox.Session) -> None:
    """Real jobs on this machine's kernel; needs root, and is skipped without."""
    if os.geteuid() != 0:
        session.skip("real jobs need root: sudo ./dev test")
    # In one process: these tests count what is left behind on the whole machine.
    _here(session, "pytest", "tests/native", "-m", "not slow", "--durations=5", *session.posargs)


@nox.session(venv_backend="none")
def conformance(session: nox.Session) -> None:
    """The conformance suite: on the fake engine, against servers broken on purpose and, as root, natively."""
    _here(session, "pytest", "tests/conformance", "-n", "auto", "--durations=5", *session.posargs)
    if os.geteuid() == 0:
        _here(session, "pytest", "tests/native/test_conformance.py", *session.posargs)


@nox.session(venv_backend="none")
def slow(session: nox.Session) -> None:
    """The tests that need minutes of real time; CI runs them, a contributor need not."""
    folders = ["tests/wire"] if os.geteuid() != 0 else ["tests/wire", "tests/native"]
    _here(session, "pytest", *folders, "-m", "slow", "--durations=5", *session.posargs)


@nox.session(venv_backend="none")
def integration(session: nox.Session) -> None:
    """Limits, isolation and services in a machine of their own: `-- --help` for the options."""
    # After Ctrl-C it stops the machine, for which nox would leave it half a second.
    session.run(sys.executable, "vagrant/integration.py", *session.posargs, external=True, interrupt_timeout=None)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style and likely mistakes; `-- --fix` mends what can be mended."""
    if "--fix" in session.posargs:
        _here(session, "ruff", "check", "--fix", ".")
        _here(session, "ruff", "format", ".")
    else:
        _here(session, "ruff", "check", ".")
        _here(session, "ruff", "format", "--check", ".")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Types of the product, of its tests and of its tools, strictly."""
    _here(session, "mypy", *session.posargs)
    # Bases, because several folders have a conftest; proto/ apart, because its generate.py has a namesake in docs/.
    for paths in (("docs", "tests", "bench", "vagrant", "noxfile.py"), ("proto",)):
        _here(session, "mypy", "--explicit-package-bases", *paths)


@nox.session(venv_backend="none")
def fresh(session: nox.Session) -> None:
    """What is generated and committed (stubs, diagrams, tables) is what its source gives."""
    for generator in ("proto/generate.py", "docs/generate.py"):
        session.run(sys.executable, generator, "--check", external=True)


@nox.session(venv_backend="none")
def proto(session: nox.Session) -> None:
    """Regenerate src/joblet/wire from proto/joblet.proto; `-- --check` only compares."""
    session.run(sys.executable, "proto/generate.py", *session.posargs, external=True)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Regenerate the diagrams and tables of the documentation; `-- --check` only compares."""
    session.run(sys.executable, "docs/generate.py", *session.posargs, external=True)


@nox.session(venv_backend="none")
def certs(session: nox.Session) -> None:
    """Make a set of certificates to play with in ./certs (never overwrites one)."""
    _here(session, "joblet.admin.main", "certs", "init", "--dir", "certs", *session.posargs)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """One real job on a server of its own; needs root."""
    if os.geteuid() != 0:
        session.skip("real jobs need root: sudo ./dev demo")
    _here(session, "joblet.admin.main", "demo", *session.posargs)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Benchmarks against their peers: `-- launch rpc …` for some, `-- --smoke` to see only that they run."""
    names = [word for word in session.posargs if not word.startswith("-")]
    options = [word for word in session.posargs if word.startswith("-")]
    scripts = {path.stem: path for path in sorted((ROOT / "bench").glob("[a-z]*.py"))}
    unknown = sorted(set(names) - set(scripts))
    if unknown:
        session.error(f"no such benchmark: {', '.join(unknown)} (there are: {', '.join(scripts)})")
    for name in names or scripts:
        session.run(sys.executable, str(scripts[name]), *options, external=True)


@nox.session(venv_backend="none")
def logs(session: nox.Session) -> None:
    """How many records a second get into log files, each byte of them checked: the short form of `bench -- logs`."""
    session.run(sys.executable, "bench/logs.py", "--part=records", "--rounds=1", *session.posargs, external=True)


@nox.session(venv_backend="none")
def wheel(session: nox.Session) -> None:
    """The wheel, installed alone into an empty environment, has both programs."""
    work = Path(session.create_tmp())
    shutil.rmtree(work)
    session.run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(work), ".", external=True
    )
    session.run(sys.executable, "-m", "venv", str(work / "empty"), external=True)
    python = work / "empty" / "bin" / "python"
    (built,) = work.glob("joblet-*.whl")
    session.run(str(python), "-m", "pip", "install", "--quiet", str(built), external=True)
    for program in ("rnx", "joblet", "joblet-conformance"):
        session.run(str(work / "empty" / "bin" / program), "--version", external=True)
