"""
`joblet`: the administrator's command line.

One module a verb, loaded only when it is asked for. Whatever goes wrong is told in words: 1 for a failure,
2 for a command that cannot be understood, 130 after Ctrl-C; a traceback only for whoever sets JOBLET_DEBUG.

Runs in: an administrator's terminal, systemd. May not: load anything heavy before the verb is known.
Source: docs/contributors.md, "What others rely on".
"""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it

VERBS: Final[Mapping[str, str]] = {
    "serve": "run the server in the foreground",
    "down": "end every job, process and mount of a server",
    "certs": "make and inspect certificates",
    "config": "show and check the configuration",
    "logs": "count the logs of jobs, and remove what is too old or too much",
    "doctor": "examine this machine and say what is missing",
    "demo": "run one real job on a server of its own",
}


class Verb(Protocol):
    """What a verb's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare flags and arguments."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """
        Do it.

        Returns:
            The exit status.

        Raises:
            Complaint: With words for the user.
        """
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Entry point.

    Returns:
        The exit status; never raises, whatever happens.
    """
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return status
    except SystemExit as done:  # argparse, after its own words
        return done.code if isinstance(done.code, int) else FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone. Else Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception as error:
        return _tell(error)


def _run(arguments: list[str]) -> int:
    parser = _parser()
    at = next((index for index, word in enumerate(arguments) if not word.startswith("-")), len(arguments))
    parser.parse_args(arguments[:at])
    if at == len(arguments):
        parser.print_help(sys.stderr)
        return USAGE
    name, rest = arguments[at], arguments[at + 1 :]
    if name not in VERBS:
        return _unknown(name)
    verb: Verb = importlib.import_module(f"joblet.admin.{name}")
    own = argparse.ArgumentParser(prog=f"joblet {name}", description=_sentence(VERBS[name]), allow_abbrev=False)
    verb.add_arguments(own)
    return verb.run(own.parse_args(rest))


def _parser() -> argparse.ArgumentParser:
    verbs = "\n".join(f"  {name:<8} {what}" for name, what in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="joblet",
        usage="joblet [--help] [--version] VERB ...",
        description="Runs commands as isolated, limited jobs on this machine; `rnx` is their client.",
        epilog=f"verbs:\n{verbs}\n\njoblet VERB --help tells more about one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    return parser


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_rest: object) -> None:
        from importlib.metadata import version

        print(f"joblet {version('joblet')}")
        parser.exit()


def _unknown(name: str) -> int:
    from difflib import get_close_matches

    near = get_close_matches(name, VERBS, n=1)
    print(f"joblet: there is no verb {name!r}{f'; did you mean {near[0]}?' if near else ''}", file=sys.stderr)
    print(f"        verbs: {', '.join(VERBS)} (joblet --help)", file=sys.stderr)
    return USAGE


def _sentence(what: str) -> str:
    return f"{what[0].upper()}{what[1:]}."


def _tell(error: Exception) -> int:
    """The error in words; one that nobody foresaw says so."""
    if os.environ.get("JOBLET_DEBUG"):
        import traceback

        traceback.print_exception(error)
        return FAILURE
    if _has_words(error):
        words = str(error)
    elif isinstance(error, OSError):
        where = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        words = f"{(error.strerror or str(error)).lower()}{where}"
    else:
        words = (
            f"internal error: {type(error).__name__}: {error}\nthis is a fault in joblet: JOBLET_DEBUG=1 shows where"
        )
    first, *others = words.splitlines() or [type(error).__name__]
    print(f"joblet: {first}", file=sys.stderr)
    for line in others:
        print(f"        {line}", file=sys.stderr)
    return FAILURE


def _has_words(error: Exception) -> bool:
    """Whether its text was written for a user: an error class of ours."""
    return type(error).__module__.partition(".")[0] == "joblet"


if __name__ == "__main__":
    sys.exit(main())
