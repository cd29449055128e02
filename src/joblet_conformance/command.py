"""
`joblet-conformance`: the command line.

    joblet-conformance run --server HOST:PORT --ca ca-cert.pem --ca-key ca-key.pem
    joblet-conformance list | explain CASE | coverage

Exit status of `run`: 0 all cases that are a must have passed, 1 one has failed or is broken, 2 the command line or the
connection is of no use, 3 none has failed but one could not be tried, 130 after Ctrl-C, 141 when nobody reads on.

Runs in: the terminal of whoever tests a server. May not: import a server.
"""

import argparse
import asyncio
import datetime
import fnmatch
import io
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from grpc import RpcError

from joblet_conformance import certificates, connection, dialect
from joblet_conformance.case import PROFILES, Case, Profile, cases
from joblet_conformance.certificates import KINDS, Identity
from joblet_conformance.connection import Unusable
from joblet_conformance.coverage import coverage, markdown
from joblet_conformance.evidence import Failed, printable
from joblet_conformance.interruption import Interruption
from joblet_conformance.main import INTERRUPTED
from joblet_conformance.reports import asjson, junit, page
from joblet_conformance.reports import markdown as as_markdown
from joblet_conformance.reports.outcome import Report, suite
from joblet_conformance.reports.terminal import Progress
from joblet_conformance.runner import PARALLEL, Conclusion, Result, run
from joblet_conformance.target import PATIENCE_S, Programs, ProgramsUnusable, Target, read_programs

NOT_SAID: Final = 1
USAGE: Final = 2
NOBODY_READS: Final = 141  # as of a program that SIGPIPE ends
MOST_SECONDS: Final = 86_400  # a day
MOST_PORT: Final = 65535
STATUS: Final[Mapping[Conclusion, int]] = {Conclusion.CONFORMS: 0, Conclusion.FAILS: 1, Conclusion.OPEN: 3}
DEFAULT_PROFILES: Final = (Profile.CORE, Profile.SECURITY, Profile.WORKFLOW, Profile.PROCESS)
REPORTS: Final[Mapping[str, Callable[[Report], str]]] = {
    "junit": junit.render,
    "json": asjson.render,
    "markdown": as_markdown.render,
    "html": page.render,
}


def command(arguments: Sequence[str] | None = None) -> int:
    """
    Do what the command line says.

    Returns:
        The exit status.

    Raises:
        SystemExit: argparse's, after its own words.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may have no arrows
    status: int = 0
    try:
        try:
            options = _parser().parse_args(arguments)
            status = options.verb(options)
        finally:
            sys.stdout.flush()
    except (Unusable, certificates.CertificateUnusable, dialect.DialectUnusable, ProgramsUnusable) as error:
        print(f"joblet-conformance: {printable(str(error))}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        _say_nothing_more()
        return INTERRUPTED if status == INTERRUPTED else NOBODY_READS
    except OSError as error:
        _say_nothing_more()
        print(f"joblet-conformance: cannot write: {_why(error)}", file=sys.stderr)
        return INTERRUPTED if status == INTERRUPTED else NOT_SAID
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    return status


def _say_nothing_more() -> None:
    """What is still buffered would fail again at the end of the process, in a traceback."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


class _Parser(argparse.ArgumentParser):
    """One that does not keep to itself that its words cannot be written."""

    def _print_message(self, message: str, file: Any = None) -> None:
        (file or sys.stderr).write(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="joblet-conformance", description="Holds a Joblet server against the specification.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=suite())
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    running = verbs.add_parser("run", help="try every case against a server", allow_abbrev=False)
    running.set_defaults(verb=_run)
    running.add_argument("--server", required=True, type=_address, metavar="HOST:PORT")
    running.add_argument("--ca", required=True, type=Path, metavar="FILE", help="certificate of the server's CA")
    running.add_argument(
        "--ca-key", type=Path, metavar="FILE", help="its key: every client that is not given is then made with it"
    )
    for kind in KINDS:
        for part in ("cert", "key"):
            running.add_argument(f"--{kind}-{part}", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    running.add_argument("--server-name", default="", metavar="NAME", help="the name in the server's certificate")
    running.add_argument("--dialect", default="auto", metavar="NAME|FILE", help="default: found by reflection")
    running.add_argument("--programs", type=Path, metavar="FILE", help="TOML: what sh, echo, sleep and cat are called")
    running.add_argument(
        "--parallel", type=_positive, default=PARALLEL, metavar="N", help=f"cases at once (default: {PARALLEL})"
    )
    running.add_argument(
        "--patience",
        type=_seconds,
        default=PATIENCE_S,
        metavar="SECONDS",
        help=f"how long to wait for what should take a moment (default: {PATIENCE_S:g})",
    )
    _add_choice(running)
    for name in REPORTS:
        running.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write a report as {name}")
    running.epilog = (
        "Clients: --admin-cert, --admin-key, and the same for viewer, and for the cases that need them "
        f"{', '.join(kind for kind in KINDS if kind not in ('admin', 'viewer'))}."
    )

    listing = verbs.add_parser("list", help="list the cases", allow_abbrev=False)
    listing.set_defaults(verb=_list)
    _add_choice(listing)

    explaining = verbs.add_parser("explain", help="say what a case checks", allow_abbrev=False)
    explaining.set_defaults(verb=_explain)
    explaining.add_argument("case", metavar="CASE")

    covering = verbs.add_parser("coverage", help="say what of the specification is checked", allow_abbrev=False)
    covering.set_defaults(verb=_coverage)
    return parser


def _add_choice(parser: argparse.ArgumentParser) -> None:
    profiles = "; ".join(f"{profile}: {what}" for profile, what in PROFILES.items())
    parser.add_argument(
        "--profile",
        type=_profiles,
        default=DEFAULT_PROFILES,
        metavar="NAME,…",
        help=f"{profiles} (default: {','.join(DEFAULT_PROFILES)})",
    )
    parser.add_argument("--case", action="append", metavar="PATTERN", help="only these, such as 'stop-job.*'")
    parser.add_argument("--except", action="append", dest="leave_out", metavar="PATTERN", help="all but these")


def _profiles(text: str) -> tuple[Profile, ...]:
    try:
        return tuple(Profile(name) for name in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error} (there are: {', '.join(Profile)})") from None


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, and is {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"must be a number of seconds above 0 and at most {MOST_SECONDS} (a day), and is {text!r}"
        )
    return number


def _address(text: str) -> str:
    found = re.fullmatch(r"(?:\[[^\[\]\s]+\]|[^\[\]:/\s]+):([0-9]{1,5})", text)
    if found is None or not 0 < int(found[1]) <= MOST_PORT:
        raise argparse.ArgumentTypeError(
            f"must be HOST:PORT or [IPv6]:PORT, with a port from 1 to {MOST_PORT}, and is {text!r}"
        )
    return text


def _chosen(options: argparse.Namespace) -> Sequence[Case]:
    """Raises Unusable when nothing is left."""
    chosen = [
        case
        for case in cases().values()
        if case.profile in options.profile
        and any(fnmatch.fnmatchcase(case.id, pattern) for pattern in options.case or ["*"])
        and not any(fnmatch.fnmatchcase(case.id, pattern) for pattern in options.leave_out or [])
    ]
    if not chosen:
        raise Unusable("no case is left of those chosen (joblet-conformance list shows what there is)")
    return chosen


def _run(options: argparse.Namespace) -> int:
    chosen = _chosen(options)
    target = Target(
        address=options.server,
        ca=certificates.read(options.ca),
        identities=_identities(options),
        programs=read_programs(options.programs) if options.programs else Programs(),
        server_name=options.server_name,
        patience_s=options.patience,
    )
    wanted: Mapping[str, Path] = {name: path for name in REPORTS if (path := getattr(options, name)) is not None}
    for path in wanted.values():
        _check_can_be_written(path)
    progress = Progress(len(chosen))
    with Interruption() as interruption:
        report = asyncio.run(_tried(target, options, chosen, progress, interruption))
        failed = []
        for name, path in wanted.items():
            try:
                path.write_text(REPORTS[name](report), encoding="utf-8", errors="replace")
            except OSError as error:
                failed.append(f"cannot write {path}: {_why(error)}")
    if failed and not interruption.came:
        raise Unusable("; ".join(failed))
    if interruption.came:
        for words in failed:
            print(f"joblet-conformance: {printable(words)}", file=sys.stderr)
        return INTERRUPTED
    if progress.error is not None:
        raise progress.error
    return STATUS[report.conclusion]


def _check_can_be_written(path: Path) -> None:
    """Raises Unusable now, rather than after a minute's run."""
    there = path.exists()
    if there and not (path.is_file() or path.is_dir()):
        return  # a pipe or a device: opening it does something
    try:
        path.open("ab").close()
        if not there:
            path.resolve().unlink()  # of a link to what was not there, not the link
    except OSError as error:
        raise Unusable(f"cannot write {path}: {_why(error)}") from None


def _identities(options: argparse.Namespace) -> Mapping[str, Identity]:
    given = {}
    for kind in KINDS:
        name = kind.replace("-", "_")
        certificate, key = getattr(options, f"{name}_cert"), getattr(options, f"{name}_key")
        if (certificate is None) != (key is None):
            raise Unusable(f"--{kind}-cert and --{kind}-key belong together")
        if certificate is not None:
            given[kind] = Identity(certificates.read(certificate), certificates.read(key))
    ca_key = certificates.read(options.ca_key) if options.ca_key else None
    found = certificates.identities(certificates.read(options.ca), ca_key, given)
    for role in ("admin", "viewer"):
        if role not in found:
            raise Unusable(f"needs a client that is {role}: --{role}-cert and --{role}-key, or --ca-key")
    return found


async def _tried(
    target: Target,
    options: argparse.Namespace,
    chosen: Sequence[Case],
    progress: Progress,
    interruption: Interruption,
) -> Report:
    """Raises KeyboardInterrupt when that comes before any case was begun."""
    here = asyncio.current_task()
    assert here is not None
    asyncio.get_running_loop().set_exception_handler(_not_of_the_server)
    results: list[Result] = []

    def listen(result: Result) -> None:
        results.append(result)
        progress(result)

    async with target:
        with interruption.cancels(here):
            try:
                target.dialect = await connection.spoken(target, options.dialect)
                await connection.check(target)
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
            began, began_s = datetime.datetime.now(datetime.UTC), time.monotonic()
            try:
                await run(target, chosen, parallel=options.parallel, listener=listen)
            except asyncio.CancelledError:
                here.uncancel()
    order = {case.id: place for place, case in enumerate(chosen)}
    results.sort(key=lambda result: order[result.case.id])
    report = Report(
        server=target.address,
        dialect=target.dialect.name,
        profiles=tuple(options.profile),
        began=began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        took_s=time.monotonic() - began_s,
        results=results,
        not_tried=len(chosen) - len(results),
    )
    progress.finish(report)
    return report


def _not_of_the_server(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a case has not waited for, because another call had failed before, is no fault of the suite."""
    if not isinstance(context.get("exception"), Failed | RpcError):
        loop.default_exception_handler(context)


def _list(options: argparse.Namespace) -> int:
    for case in _chosen(options):
        print(f"{case.id:<36} {case.profile:<9} {case.level:<7} {case.title}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    found = cases().get(options.case)
    if found is None:
        raise Unusable(f"there is no case {options.case} (joblet-conformance list shows what there is)")
    print(f"{found.id}: {found.title}")
    print(f"  level    {found.level}\n  profile  {found.profile}")
    for statement in found.states:
        print(f"  {statement.id}, in {statement.section!r}:\n    {statement.quote}")
    if found.covers:
        print(f"  also     {', '.join(found.covers)}")
    return 0


def _coverage(options: argparse.Namespace) -> int:
    print(markdown(coverage(cases())), end="")
    return 0
