"""
The help texts, made from the tables of flags.

Runs in: the user's terminal. May not: print.
Source: API specification, "CLI Reference".
"""

from collections.abc import Sequence

from joblet.rnx.connection import GLOBAL_FLAGS
from joblet.rnx.flags import Flag, Verb


def overview(verbs: Sequence[Verb]) -> str:
    """`rnx --help`."""
    width = max(len(verb.name) for verb in verbs)
    return "\n".join(
        (
            "Runs commands as isolated, resource-limited jobs on a Joblet server.",
            "",
            "Usage:",
            "  rnx [global flags] <command> [flags] [arguments]",
            "",
            "Commands:",
            *(f"  {verb.name:{width}}  {verb.summary}" for verb in verbs),
            "",
            "Global Flags:",
            *_flag_lines(GLOBAL_FLAGS),
            "",
            "Environment:",
            "  JOBLET_SERVER, JOBLET_CERT_PATH, JOBLET_KEY_PATH, JOBLET_CA_PATH   defaults of the flags above",
            "  JOBLET_DEBUG=1                                                     details of internal errors",
            "",
            "Exit status: 0 done, 1 refused or failed, 2 wrong usage; of `run --follow` and `wait`: the job's.",
            "Run 'rnx <command> --help' for a command's flags; 'rnx --version' prints the version.",
        )
    )


def verb_help(verb: Verb) -> str:
    """`rnx VERB --help`."""
    flags = verb.flags
    usage = " ".join(part for part in ("rnx", verb.name, "[flags]" if flags else "", verb.operands) if part)
    lines = [f"{verb.summary}.", "", "Usage:", f"  {usage}"]
    if verb.notes:
        lines += ["", *verb.notes.splitlines()]
    if flags:
        lines += ["", "Flags:", *_flag_lines(flags)]
    lines += ["", "Global Flags:", *_flag_lines(GLOBAL_FLAGS), "", "Examples:"]
    lines += [f"  {example}" for example in verb.examples]
    return "\n".join(lines)


def _flag_lines(flags: Sequence[Flag]) -> list[str]:
    names = [_shown(flag) for flag in flags]
    width = max(map(len, names))
    return [f"  {name:{width}}   {flag.help}" for name, flag in zip(names, flags, strict=True)]


def _shown(flag: Flag) -> str:
    kind = "" if flag.kind == "bool" else " strings" if flag.kind == "list" else f" {flag.kind}"
    return f"--{flag.name}" + (f", -{flag.short}" if flag.short else "") + kind
