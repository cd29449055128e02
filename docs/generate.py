"""
Writes the parts of the documentation that are drawn from the product's own tables; `--check` only compares.

A page holds `<!-- generated: NAME -->` … `<!-- end generated -->`; what lies between is replaced.

Runs in: a contributor's terminal (nox -s docs), CI (nox -s fresh). May not: be imported by the product.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from blocks import pages

from joblet import configkeys
from joblet.admin.main import VERBS as JOBLET_VERBS
from joblet.api import roles, status
from joblet.domain.errors import JobletError
from joblet.domain.job import TRANSITIONS, JobState
from joblet.domain.role import Role
from joblet.domain.workflow import states
from joblet.rnx.main import VERBS as RNX_VERBS

_REGION: Final = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end generated -->)", re.DOTALL)


def job_states() -> Iterator[str]:
    """The diagram of a job's life, from the table that decides it."""
    return _diagram(JobState.INITIALIZING, TRANSITIONS)


def workflow_job_states() -> Iterator[str]:
    """The same of a workflow's job, as the scheduler sees it."""
    return _diagram(states.NodeState.PENDING, states.TRANSITIONS)


def _diagram(first: str, transitions: Mapping[Any, Mapping[Any, Any]]) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {first}"
    for state, events in transitions.items():
        for event, then in events.items():
            yield f"    {state} --> {then}: {event}"
        if not events:
            yield f"    {state} --> [*]"
    yield "```"


def roles_of_calls() -> Iterator[str]:
    """Who may call what, from the table that is asked at every call."""
    yield "| call | " + " | ".join(Role) + " |"
    yield "|---|" + "---|" * len(Role)
    for method, allowed in roles.ALLOWED.items():
        yield (f"| `{method.lstrip('/')}` | " + " | ".join("yes" if role in allowed else "no" for role in Role) + " |")


def error_codes() -> Iterator[str]:
    """Every refusal with its code, from the table that gives it."""
    yield "| gRPC code | when |"
    yield "|---|---|"
    for error, code in sorted(status.CODE.items(), key=lambda item: (item[1].name, item[0].__name__)):
        yield f"| `{code.name}` | {meaning(error)} |"


def configuration() -> Iterator[str]:
    """Every key of the configuration file, from the table it is checked against."""
    yield "| key | default | allowed | meaning |"
    yield "|---|---|---|---|"
    for key in configkeys.KEYS:
        cells = (f"`{key.path}`", f"`{key.kind.show(key.default)}`", key.kind.allowed, key.meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def rnx_verbs() -> Iterator[str]:
    """Every verb of rnx with its flags, from the tables that parse them."""
    yield "| | |"
    yield "|---|---|"
    for name in RNX_VERBS:
        verb = import_module(f"joblet.rnx.{name}").VERB
        yield f"| **`{f'rnx {verb.name} {verb.operands}'.strip()}`** | {verb.summary} |"
        for flag in verb.flags:
            short = f", `-{flag.short}`" if flag.short else ""
            yield f"| `--{flag.name}`{short} | {flag.help} |"


def joblet_verbs() -> Iterator[str]:
    """Every verb of joblet."""
    yield "| | |"
    yield "|---|---|"
    for name, meaning_of_verb in JOBLET_VERBS.items():
        yield f"| `joblet {name}` | {meaning_of_verb} |"


def meaning(error: type[JobletError]) -> str:
    """The first sentence of an error's docstring."""
    return (error.__doc__ or "").strip().splitlines()[0]


PARTS: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "job-states": job_states,
    "workflow-job-states": workflow_job_states,
    "roles": roles_of_calls,
    "errors": error_codes,
    "configuration": configuration,
    "rnx": rnx_verbs,
    "joblet": joblet_verbs,
}


def regenerated(text: str) -> str:
    """
    A page with its generated parts as they must be.

    Raises:
        KeyError: It asks for a part that nothing here makes.
    """
    return _REGION.sub(lambda found: found[1] + "\n".join(PARTS[found[2]]()) + "\n" + found[3], text)


def main() -> int:
    """Regenerate or check; returns the exit code."""
    stale: list[Path] = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        fresh = regenerated(text)
        if fresh != text:
            stale.append(page)
            if "--check" not in sys.argv[1:]:
                page.write_text(fresh, encoding="utf-8")
    if "--check" not in sys.argv[1:]:
        return 0
    for page in stale:
        print(f"{page} is stale: run `nox -s docs` and commit what it writes", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
