"""The tools of the tests: virtual time, the shell of the fake machine, and faults."""

import asyncio

import pytest

from joblet.domain.errors import StorageFailed
from joblet.testing import clock
from joblet.testing.clock import EPOCH_NS, SECOND_NS, VirtualClock, pass_time
from joblet.testing.faults import CRASH, Faults
from joblet.testing.programs import (
    Exits,
    Forever,
    KilledBy,
    Prints,
    Program,
    Sleeps,
    cannot_execute,
    exits,
    ignores_sigterm,
    prints,
    runs_forever,
    sleeps,
)
from joblet.testing.shell import program_of


async def test_virtual_time_is_counted_in_whole_nanoseconds() -> None:
    at = VirtualClock()

    await pass_time(3600)
    await pass_time(0.1)
    await pass_time(0.2)
    await pass_time(100 * 24 * 3600)

    assert at.now_ns() == EPOCH_NS + (3600 + 100 * 24 * 3600) * SECOND_NS + 300_000_000


async def test_timers_fire_in_their_order() -> None:
    fired: list[float] = []
    loop = asyncio.get_running_loop()
    for delay_s in (3.0, 1.0, 2.0, 1.0):
        loop.call_later(delay_s, fired.append, delay_s)

    await pass_time(10)

    assert fired == [1.0, 1.0, 2.0, 3.0]


def test_a_test_that_would_hang_fails_instead() -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="this test would hang"):
        clock.run(waits_for_ever())


@pytest.mark.parametrize(
    ("command", "args", "program"),
    [
        ("true", [], exits(0)),
        ("false", [], exits(1)),
        ("echo", ["hello", "world"], prints(b"hello world\n")),
        ("/bin/echo", ["-n", "x"], prints(b"x")),
        ("sleep", ["0.5"], sleeps(0.5)),
        ("cat", [], exits(0)),
        ("cat", ["x"], prints(b"cat: x: No such file or directory\n").then_exits(1)),
        ("seq", ["1", "3"], prints(b"1\n2\n3\n")),
        ("head", ["-c", "3", "/dev/zero"], prints(bytes(3))),
        ("printenv", ["NAME"], prints(b"value\n")),
        ("printenv", ["OTHER"], exits(1)),
        ("python3", ["script.py"], cannot_execute(127, "command not found: python3")),
        ("sh", [], exits(0)),
        ("sh", ["-c", "exit 3"], exits(3)),
        ("sh", ["-c", "echo one; echo two >&2"], prints(b"one\n").then_prints(b"two\n")),
        ("bash", ["-c", "sleep 10 && echo done"], sleeps(10).then_prints(b"done\n")),
        ("sh", ["-c", "false && echo no; true || echo no; false || echo yes"], prints(b"yes\n")),
        ("sh", ["-c", "echo 'a; b' $NAME ${NAME}"], prints(b"a; b value value\n")),
        ("sh", ["-c", "echo a\nfalse"], prints(b"a\n").then_exits(1)),
        ("sh", ["-c", "kill -9 $$"], Program(end=KilledBy(9))),
        ("sh", ["-c", "trap '' TERM; sleep infinity"], ignores_sigterm()),
        (
            "sh",
            ["-c", "trap 'echo bye; exit 0' TERM; sleep infinity"],
            runs_forever().saying_at_sigterm(b"bye\n"),
        ),
        ("sh", ["-c", "trap 'echo no' TERM; sleep infinity"], ignores_sigterm().saying_at_sigterm(b"no\n")),
        ("sh", ["-c", "echo $0 $1", "x", "y"], prints(b"x y\n")),
        ("sh", ["-c", "x=ab; x=$x$x; echo $x"], prints(b"abab\n")),
        ("sh", ["-c", 'echo "$0"', "it's; exit 3"], prints(b"it's; exit 3\n")),
        ("sh", ["-c", r"printf '\0\377\n'"], prints(b"\0\xff\n")),
        (
            "sh",
            ["-c", "while true; do echo tick; sleep 1; done"],
            runs_forever().then_runs_forever(Prints(b"tick\n"), Sleeps(1.0)),
        ),
        ("sh", ["-c", "printf 'a\\tb'; nonsense"], None),
    ],
)
def test_the_fake_shell(command: str, args: list[str], program: Program | None) -> None:
    found = program_of(command, args, {"NAME": "value"})

    if program is None:
        assert found.steps == (Prints(b"a\tb"), Prints(b"joblet: command not found: nonsense\n"))
        assert found.end == Exits(127)
    else:
        assert found == program


def test_a_program_that_would_stop_the_clock_is_refused() -> None:
    with pytest.raises(ValueError, match="without sleeping"):
        runs_forever().then_runs_forever(Prints(b"x"))


def test_a_script_reads_like_what_it_does() -> None:
    program = prints(b"x").then_sleeps(3).then_prints(b"y").then_runs_forever().ignoring_sigterm()

    assert program == Program((Prints(b"x"), Sleeps(3), Prints(b"y")), Forever(), ignores_sigterm=True)


async def test_a_fault_strikes_once_at_the_nth_point_of_interest() -> None:
    faults = Faults(2, StorageFailed("full"), only=["store.add"])

    await faults.before("store.add")
    await faults.before("store.update")
    await faults.after("store.add")
    with pytest.raises(StorageFailed):
        await faults.before("store.add")
    assert faults.fired == "store.add"
    await faults.before("store.add")


async def test_after_a_crash_no_point_is_ever_passed() -> None:
    faults = Faults(2, CRASH)
    await faults.before("store.add")

    tasks = [asyncio.create_task(faults.after("store.add")), asyncio.create_task(faults.before("engine.start"))]
    await pass_time(1000)

    assert faults.fired == "after store.add"
    assert not any(task.done() for task in tasks)
