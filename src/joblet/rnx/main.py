"""
`rnx`: finds the verb, and turns every way to fail into words and an exit status.

Exit status: 0 done; 1 the server refused, could not be reached, or rnx failed; 2 the command line is wrong;
130 Ctrl+C; 141 stdout was closed by its reader. `run --follow` and `wait` exit as the job did.

Runs in: the user's terminal, scripts, CI pipelines. May not: import grpc before a verb needs it.
Source: API specification, "CLI Reference", "Error Handling".
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from joblet.client.errors import ClientError, code_of
from joblet.domain.errors import JobletError
from joblet.rnx import startup
from joblet.rnx.connection import GLOBAL_FLAGS, check_output
from joblet.rnx.flags import BadUsage, Flag, HelpWanted, NotYet, Values, Verb, check_operands, did_you_mean, parse
from joblet.rnx.output import Output, escaped, json_text, standard_output

if TYPE_CHECKING:
    from typing import NoReturn

VERBS: Final = ("run", "status", "list", "stop", "log", "wait", "workflow")

# The specification names these, and this version does not have them yet.
_LATER: Final = ("runtime", "volume", "network", "monitor")

_TOP_FLAGS: Final = (*GLOBAL_FLAGS, Flag("version", "bool", "Print the version"))


class VerbModule(Protocol):
    """What a module of this folder that is a verb has."""

    VERB: Verb

    def run(self, values: Values, output: Output) -> int:
        """Do it; returns the exit status."""
        ...


def main() -> "NoReturn":
    """The program `rnx`."""
    startup.begin_loading()
    startup.defer()
    status = execute(sys.argv[1:])
    startup.leave(status)
    raise AssertionError("unreachable")


def execute(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit status and raises nothing."""
    output = standard_output()
    try:
        return _dispatch(arguments, output)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader had enough (rnx log … | head): as with any filter, not worth a word.
        _discard_stdout()
        return 141
    except Exception as error:
        return last_resort(error, output)


def _dispatch(arguments: Sequence[str], output: Output) -> int:
    values = Values()
    name = ""
    try:
        parse(arguments, _TOP_FLAGS, values, stop_at_operand=True)
        if values.switch("version", default=False):
            output.lines(f"rnx {_version()}")
            return 0
        if not values.operands:
            raise BadUsage("no command given")
        name, *rest = values.operands
        if name == "help":
            output.lines(_help(rest[0] if rest else ""))
            return 0
        verb = _verb(name)
        values.operands = []
        parse(rest, (*GLOBAL_FLAGS, *verb.VERB.flags), values, stop_at_operand=verb.VERB.most is None)
        check_output(values)
        output = output._replace(as_json=values.text("output") == "json")
        check_operands(verb.VERB, values.operands)
        return verb.run(values, output)
    except HelpWanted:
        output.lines(_help(name))
        return 0
    except BadUsage as error:
        help_of = f"rnx {name}" if name in VERBS else "rnx"
        return _failed(output, "INVALID_ARGUMENT", str(error), f"run '{help_of} --help' for usage", status=2)
    except NotYet as error:
        return _failed(output, "UNIMPLEMENTED", str(error), "", status=1)
    except ClientError as error:
        return _failed(output, code_of(error), error.what, error.mend, status=1)
    except JobletError as error:
        return _failed(output, code_of(error), error.message, "", status=1)


def _verb(name: str) -> VerbModule:
    if name in VERBS:
        return _module(name)
    if name in _LATER:
        raise NotYet(f"rnx {name} is")
    raise BadUsage(f"unknown command: {name}{did_you_mean(name, VERBS)}")


def _module(name: str) -> VerbModule:
    from importlib import import_module
    from typing import cast

    return cast("VerbModule", import_module(f"joblet.rnx.{name}"))


def _failed(output: Output, code: str, message: str, advice: str, *, status: int) -> int:
    if output.as_json:
        output.note(json_text({"code": code, "message": message, "details": advice.splitlines()}))
    else:
        lines = [f"Error: {message}", *(f"  {line}" for line in advice.splitlines())]
        # What was typed and what a server says are a stranger's text too.
        output.note(*(escaped(line) for text in lines for line in text.splitlines()))
    return status


def last_resort(error: Exception, output: Output) -> int:
    """One line for what nobody foresaw."""
    if isinstance(error, OSError) and error.filename is None:
        # Only the output is written without a name: a full disk behind `rnx log > file`.
        _discard_stdout()
        output.note(f"Error: cannot write the output: {error.strerror or error}")
        return 1
    if os.environ.get("JOBLET_DEBUG"):
        import traceback

        output.note(traceback.format_exc().rstrip())
    words = " ".join(str(error).split())
    output.note(
        f"rnx: internal error: {type(error).__name__}: {words} (please report it; JOBLET_DEBUG=1 rnx … shows details)"
    )
    return 1


def _discard_stdout() -> None:
    """What could not be written is not tried again by the flush at exit."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
    except OSError:
        pass


def _help(name: str) -> str:
    from joblet.rnx.help import overview, verb_help

    if name in VERBS:
        return verb_help(_module(name).VERB)
    return overview([_module(each).VERB for each in VERBS])


def _version() -> str:
    from importlib.metadata import version

    return version("joblet")


if __name__ == "__main__":
    main()
