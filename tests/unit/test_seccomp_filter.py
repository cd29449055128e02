"""
The seccomp filters, run by an interpreter of their instructions: every row of the table, on both architectures.

Runs in: pytest. May not: need root, take a filter.
Source: bpf(4) of the BSDs; <linux/seccomp.h>.
"""

import errno
import struct

import pytest

from joblet.supervisor.linux.seccomp import CHECKED, DENIED, Checked, Denied, Taker, filter_for

ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = tuple(ARCHITECTURE)


def verdict(program: bytes, number: int, arch: int, *arguments: int) -> int:
    """What the kernel would answer."""
    data = struct.pack("=IIQ6Q", number, arch, 0, *[*arguments, 0, 0, 0, 0, 0, 0][:6])
    code = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x06:
                return int(value)
            case 0x15 | 0x35 | 0x45:
                holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}
                at += if_true if holds[operation] else if_false
            case _:
                raise AssertionError(hex(operation))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("row", DENIED, ids=lambda row: row.name)
def test_a_denied_call_gets_its_errno_from_its_filter_and_only_there(machine: str, row: Denied) -> None:
    number = getattr(row, machine)
    if number < 0:
        pytest.skip("not a call of this machine")

    for taker in Taker:
        expected = ERRNO | row.code if taker is row.taker else ALLOW
        assert verdict(filter_for(taker, machine), number, ARCHITECTURE[machine]) == expected


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("row", CHECKED, ids=lambda row: row.name)
def test_a_checked_call_is_refused_for_the_arguments_of_its_row_only(machine: str, row: Checked) -> None:
    program, arch, number = filter_for(row.taker, machine), ARCHITECTURE[machine], getattr(row, machine)

    def of(value: int) -> int:
        return verdict(program, number, arch, *[0] * row.argument, value)

    for bit in range(32):
        if row.bits >> bit & 1:
            assert of(1 << bit) == ERRNO | errno.EPERM
    for value in row.values:
        assert of(value) == ERRNO | errno.EPERM
    for value in row.allowed:
        assert of(value) == ALLOW
    assert of(0x11) == (ERRNO | errno.EPERM if row.allowed else ALLOW)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_other_call_is_allowed(machine: str) -> None:
    named = {getattr(row, machine) for row in (*DENIED, *CHECKED)}

    for number in set(range(600)) - named:
        for taker in Taker:
            assert verdict(filter_for(taker, machine), number, ARCHITECTURE[machine]) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_of_another_architecture_kill_the_process(machine: str) -> None:
    assert verdict(filter_for(Taker.INIT, machine), 0, 0x40000003) == KILL


def test_x32_calls_are_refused() -> None:
    assert verdict(filter_for(Taker.INIT, "x86_64"), 0x40000000 | 39, ARCHITECTURE["x86_64"]) == ERRNO | errno.ENOSYS


def test_every_row_stands_once_and_has_a_reason() -> None:
    rows: list[Denied | Checked] = [*DENIED, *CHECKED]

    assert len({row.name for row in rows}) == len(rows)
    assert all(row.reason for row in rows)
    for machine in MACHINES:
        numbers = [getattr(row, machine) for row in rows if getattr(row, machine) >= 0]
        assert len(set(numbers)) == len(numbers)


def test_a_machine_without_numbers_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no system call numbers are known for sparc64"):
        filter_for(Taker.INIT, "sparc64")
