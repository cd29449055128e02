"""
A few real commands as scripts, so that tests against the fake engine can run `echo hello`.

It knows echo, printf, sleep, true, false, cat, seq, head -c, printenv, and `sh -c` with these,
`;`, newlines, `&&`, `||`, `$0`, `name=…`, `exit`, `kill -N $$`, `trap '…' TERM` and `while true; do …; done`. Anything
else is a command that is not found: better a clear 127 than a shell that is almost right.

Runs in: tests. May not: run anything.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from joblet.testing.programs import (
    Exits,
    KilledBy,
    Prints,
    Program,
    Sleeps,
    cannot_execute,
    exits,
    prints,
    runs_forever,
    sleeps,
)

SHELLS: Final = frozenset(("sh", "bash", "/bin/sh", "/bin/bash"))
_SEPARATORS: Final = frozenset((";", "&&", "||"))
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_ASSIGNMENT: Final = re.compile(r"(\w+)=(.*)", re.DOTALL)
_REDIRECTION: Final = re.compile(r"\s*\d?>&\d")
_ESCAPE: Final = re.compile(rb"\\([0-7]{1,3}|[ntr\\])")
_ESCAPES: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\"}


def program_of(command: str, args: Sequence[str], environment: Mapping[str, str]) -> Program:
    """What the command would do."""
    if command in SHELLS:
        if len(args) < 2 or args[0] != "-c":
            return exits(0)  # it reads its script from stdin, which is /dev/null
        return _script(args[1], {**environment, **{str(number): arg for number, arg in enumerate(args[2:])}})
    return _simple(command.removeprefix("/bin/").removeprefix("/usr/bin/"), args, environment)


def _simple(name: str, args: Sequence[str], environment: Mapping[str, str]) -> Program:
    match name, *args:
        case ["true"] | [":"]:
            return exits(0)
        case ["false"]:
            return exits(1)
        case ["echo", "-n", *words]:
            return prints(" ".join(words).encode())
        case ["echo", *words]:
            return prints(f"{' '.join(words)}\n".encode())
        case ["printf", text]:
            return prints(_unescaped(text.encode()))
        case ["sleep", "infinity"]:
            return runs_forever()
        case ["sleep", seconds]:
            return sleeps(float(seconds))
        case ["cat"]:
            return exits(0)  # stdin is /dev/null
        case ["cat", *files]:
            lines = "".join(f"cat: {file}: No such file or directory\n" for file in files)
            return prints(lines.encode()).then_exits(1)
        case ["seq", first, last]:
            return prints("".join(f"{number}\n" for number in range(int(first), int(last) + 1)).encode())
        case ["head", "-c", count, "/dev/zero"]:
            return prints(bytes(int(count)))
        case ["printenv", variable]:
            value = environment.get(variable)
            return exits(1) if value is None else prints(f"{value}\n".encode())
        case _:
            return cannot_execute(127, f"command not found: {name}")


def _script(script: str, environment: Mapping[str, str]) -> Program:
    # Output is merged anyway, so where it is sent makes no difference.
    merged = _REDIRECTION.sub("", script)
    words = shlex.shlex(merged.replace("\n", ";"), posix=True, punctuation_chars=";&|")
    words.whitespace_split = True
    variables = dict(environment)
    whole = Program()
    after = ";"
    status = 0
    for command, separator in _commands(list(words)):
        skipped = (after == "&&" and status != 0) or (after == "||" and status == 0)
        after = separator
        if skipped or not command:
            continue
        if command[0] not in ("trap", "while"):  # which hold script themselves
            # Word by word: a variable's value is no script, and may be as long as an argument.
            command = [_VARIABLE.sub(lambda it: variables.get(it[1] or it[2], ""), word) for word in command]
        if len(command) == 1 and (found := _ASSIGNMENT.fullmatch(command[0])):
            variables[found[1]] = found[2]
        elif command[0] == "trap":
            said = (step.data for step in _script(command[1], variables).steps if isinstance(step, Prints))
            whole = whole.saying_at_sigterm(b"".join(said))
            if "exit" not in command[1]:
                whole = whole.ignoring_sigterm()
        elif command[0] == "exit":
            return whole.then_exits(int(command[1]) if len(command) > 1 else status)
        elif command[0] == "kill":
            return replace(whole, end=KilledBy(int(command[1].lstrip("-"))))
        elif command[0] == "while":
            body = _script(" ".join(command[1:]), variables)
            return whole.then_runs_forever(*body.steps or (Sleeps(1.0),))
        else:
            part = _simple(command[0], command[1:], variables)
            whole = replace(whole, steps=whole.steps + part.steps)
            if not isinstance(part.end, Exits):
                return replace(whole, end=part.end)
            status = part.end.code
    return whole.then_exits(status)


def _commands(words: Sequence[str]) -> list[tuple[list[str], str]]:
    """Each command with the separator after it; a loop is one command: "while" and its body as text."""
    found: list[tuple[list[str], str]] = []
    command: list[str] = []
    looping = False
    for word in words:
        if word == "while":
            looping, command = True, ["while"]
        elif looping and word == "done":
            looping = False
        elif looping:
            if word == "do":
                command = ["while"]  # its condition is taken to be true
            else:
                command.append(word if word in _SEPARATORS else shlex.quote(word))
        elif word in _SEPARATORS:
            found.append((command, word))
            command = []
        else:
            command.append(word)
    return [*found, (command, ";")]


def _unescaped(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1]) or bytes([int(found[1], 8)]), text)
