"""
What a job tries and must not achieve.

Runs in: pytest, as root.
Source: docs/users.md, "What a job sees"; docs/administrators.md, "Security model".
"""

import os
import platform
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from groups import memory_limit_bytes

from joblet.domain.limits import MIB
from joblet.supervisor.linux.seccomp import CHECKED, DENIED, Denied

if TYPE_CHECKING:
    from tests.native.isolation.conftest import Launchpad

pytestmark = pytest.mark.native

PRINT_IF_REFUSED = "except OSError as error: print(error.errno in (errno.EACCES, errno.EPERM))"
NAMESPACES = ("cgroup", "ipc", "mnt", "pid", "uts")


def test_its_namespaces_are_its_own_but_for_the_network(pad: "Launchpad") -> None:
    theirs = dict(line.split() for line in pad.shell(
        "for n in cgroup ipc mnt net pid user uts; do echo $n $(readlink /proc/self/ns/$n); done"
    ).text.splitlines())  # fmt: skip

    for name in NAMESPACES:
        assert theirs[name] != os.readlink(f"/proc/self/ns/{name}")
    assert theirs["net"] == os.readlink("/proc/self/ns/net")


def test_it_is_limited_where_limits_are_required(pad: "Launchpad", cgroups_mode: str) -> None:
    """What this module's other attempts are made under: see `launchpad.LIMITS`."""
    job = pad.a_job("sleep", "1000")
    pid = pad.ask("start", job)["pid"]

    assert (memory_limit_bytes(pid) == 512 * MIB) == (cgroups_mode == "required")
    pad.ask("kill", job["job_id"])
    pad.finish(job["job_id"])


def test_its_name_is_the_short_job_id(pad: "Launchpad") -> None:
    job = pad.a_job("uname", "-n")

    pad.ask("start", job)

    assert pad.finish(job["job_id"]).text == job["job_id"].split("-")[0]


def test_it_sees_no_process_but_its_own(pad: "Launchpad") -> None:
    assert pad.shell("ls /proc | grep -c '^[0-9]'").text in ("3", "4")  # init, sh, ls, perhaps grep


def test_it_sees_nothing_of_another_job(pad: "Launchpad") -> None:
    other = pad.start(
        "sh", "-c", "echo secret > /work/f; echo secret > /tmp/f; echo secret > /dev/shm/f; echo up; sleep 1000"
    )
    pad.ask("read", other)

    run = pad.shell("ls -A /work /tmp /dev/shm; ps -A -o comm= | sort | uniq")

    assert "f" not in run.text.split()
    assert "sleep" not in run.text
    pad.ask("kill", other)
    pad.finish(other)


@pytest.mark.parametrize(
    "path", ["/opt/joblet", "/root/.ssh", "/etc/shadow", "/etc/gshadow", "/var/lib", "/boot", "/sys/kernel", "/home"]
)
def test_the_host_s_files_are_not_there(pad: "Launchpad", path: str) -> None:
    assert pad.run("ls", "-A", path).text.replace(f"ls: cannot access '{path}': No such file or directory", "") == ""


def test_what_everybody_may_read_it_may_read_too(pad: "Launchpad") -> None:
    """Whatever the umask of the service is that makes the tree."""
    folders = pad.run("stat", "-c", "%a", "/", "/etc", "/var", "/run", "/home", "/opt", "/sys", "/dev", "/usr/bin")
    file = pad.run("cat", "/etc/passwd")

    assert set(folders.output.split()) == {b"755"}
    assert (file.exit_code, file.output[:5]) == (0, b"root:")


def test_the_state_folder_is_not_there(pad: "Launchpad") -> None:
    assert pad.run("ls", str(pad.state)).exit_code == 2


@pytest.mark.parametrize(
    "path", ["/", "/usr", "/etc", "/dev", "/proc", "/sys", "/proc/sys/kernel/hostname", "/var", "/opt"]
)
def test_the_tree_cannot_be_written(pad: "Launchpad", path: str) -> None:
    run = pad.python(
        f"print(os.access({path!r}, os.W_OK))\ntry: open({path!r} + '/x', 'w')\nexcept OSError: print('no')"
    )

    assert run.text == "False\nno"


@pytest.mark.parametrize("folder", ["/work", "/tmp", "/dev/shm", "/var/tmp"])
def test_folders_of_its_own_can_be_written(pad: "Launchpad", folder: str) -> None:
    assert pad.shell(f"echo x > {folder}/x && cat {folder}/x").text == "x"


def test_devices_are_the_harmless_ones_and_work(pad: "Launchpad") -> None:
    run = pad.shell(
        "ls /dev | tr '\\n' ' '; echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c"
    )

    assert run.text == "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero 3\n3"


def test_it_cannot_make_a_device(pad: "Launchpad") -> None:
    run = pad.python(f"try: os.mknod('/tmp/sda', {stat.S_IFBLK | 0o666}, os.makedev(8, 0))\n{PRINT_IF_REFUSED}")

    assert run.text == "True"


def test_it_has_no_terminal_of_the_supervisor(pad: "Launchpad") -> None:
    run = pad.python("try: os.open('/dev/tty', os.O_RDWR)\nexcept OSError as e: print(e.errno == errno.ENXIO)")

    assert run.text == "True"


def test_it_can_have_a_terminal_of_its_own(pad: "Launchpad") -> None:
    run = pad.python("a, b = os.openpty()\nprint(os.ttyname(b))")

    assert run.text == "/dev/pts/0"


def test_masked_files_of_proc_are_empty_and_the_rest_of_it_cannot_be_changed(pad: "Launchpad") -> None:
    masked = pad.shell("cat /proc/keys /proc/timer_list /proc/kmsg; ls -A /proc/acpi")
    writable = pad.shell("grep -E ' /proc/[^ ]+ ' /proc/mounts | grep -v ' ro,'")

    assert "".join(line for line in masked.text.splitlines() if not line.startswith(("cat:", "ls:"))) == ""
    assert writable.text == ""


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/net/ipv4/ip_forward",
    ],
)
def test_the_machine_s_settings_cannot_be_changed(pad: "Launchpad", path: str) -> None:
    before = Path(path).read_text()

    run = pad.shell(f"echo 1 > {path} && echo done")

    assert "done" not in run.text
    assert Path(path).read_text() == before


def test_what_is_written_to_the_system_request_key_goes_to_dev_null(pad: "Launchpad") -> None:
    """The kernel of the machine need not have it."""
    run = pad.shell("cd /proc; [ ! -e sysrq-trigger ] || [ sysrq-trigger -ef /dev/null ] || stat sysrq-trigger")

    assert run.text == ""


def test_it_has_no_capability_no_group_and_can_gain_nothing(pad: "Launchpad") -> None:
    status = dict(
        line.split(":\t", 1)
        for line in pad.run("cat", "/proc/self/status").output.decode().splitlines()
        if ":\t" in line
    )

    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Groups"].strip() == ""
    assert len(set(status["Uid"].split())) == 1
    assert set(status["Uid"].split()) == set(status["Gid"].split())
    assert int(status["Uid"].split()[0]) >= 1_900_000_000


def test_a_set_user_id_program_gives_it_nothing(pad: "Launchpad") -> None:
    assert pad.shell("su -c id 2>&1 | grep -c uid=0; mount 2>/dev/null >/dev/null; id -u").text.splitlines()[0] == "0"


def test_it_inherits_no_descriptor(pad: "Launchpad") -> None:
    assert (
        pad.python("print(sorted(int(fd) for fd in os.listdir('/proc/self/fd')))").text == "[0, 1, 2, 3]"
    )  # 3: the listing


@pytest.mark.parametrize("name", ["mem", "environ", "maps", "auxv", "syscall", "stack", "map_files"])
def test_its_init_cannot_be_read(pad: "Launchpad", name: str) -> None:
    run = pad.python(
        f"path = '/proc/1/{name}'\n"
        "try: print(os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(10))\n" + PRINT_IF_REFUSED
    )

    assert run.text == "True"


@pytest.mark.parametrize("name", ["root", "cwd", "exe", "fd", "fd/3", "fd/6", "ns/mnt", "fdinfo"])
def test_nothing_is_reached_through_its_init(pad: "Launchpad", name: str) -> None:
    run = pad.python(f"try: print(os.stat('/proc/1/{name}/.'), os.listdir('/proc/1/{name}'))\n{PRINT_IF_REFUSED}")

    assert run.text == "True"


@pytest.mark.parametrize(
    "attempt",
    [
        "os.kill(1, signal.SIGTERM)",
        "os.kill(1, signal.SIGKILL)",
        "os.kill(1, signal.SIGSTOP)",
        "signal.pidfd_send_signal(os.pidfd_open(1), signal.SIGTERM)",
        "os.setpriority(os.PRIO_PROCESS, 1, 19)",
        "os.sched_setaffinity(1, [0])",
        "__import__('resource').prlimit(1, 7, (0, 0))",
        "open('/proc/1/oom_score_adj', 'w').write('1000')",
        "open('/proc/1/mem', 'r+b')",
    ],
)
def test_its_init_cannot_be_touched(pad: "Launchpad", attempt: str) -> None:
    run = pad.run(
        "/usr/bin/python3",
        "-c",
        f"import errno, os, signal\ntry: {attempt}; print('done')\n{PRINT_IF_REFUSED}",
    )

    assert run.text == "True"


def test_a_job_that_attacks_its_init_still_has_its_end_told(pad: "Launchpad") -> None:
    run = pad.shell(
        "for s in 1 2 9 15 17 19; do kill -$s 1; kill -$s -1; done 2>/dev/null; exit 7",
        environment={"PATH": "/usr/bin"},
    )

    assert run.wait_status is not None


@pytest.fixture(scope="module")
def answers(pad: "Launchpad") -> dict[str, str]:
    """The errno of each denied call; one job makes them all, because a job takes 0.5 s on an emulated machine."""
    numbers = {row.name: getattr(row, platform.machine()) for row in DENIED}
    program = (
        f"for name, number in {numbers}.items():\n"
        "    if number >= 0:\n"
        "        ctypes.set_errno(0)\n"
        "        libc.syscall(number, -1, -1, -1, -1, -1, -1)\n"
        "        print(name, ctypes.get_errno(), flush=True)\n"
    )
    return dict(line.split() for line in pad.python(program).text.splitlines())


@pytest.mark.parametrize("row", DENIED, ids=lambda row: row.name)
def test_a_denied_call_is_refused_by_the_filter(answers: dict[str, str], row: Denied) -> None:
    """EFAULT, EINVAL, EBADF or success would mean that the kernel looked at the arguments."""
    if getattr(row, platform.machine()) < 0:
        pytest.skip("this machine does not have the call")

    assert answers.get(row.name) == str(row.code)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("clone", "0x10000000 | 17, 0, 0, 0, 0"),
        ("clone", "0x00020000 | 17, 0, 0, 0, 0"),
        ("clone", "0x40000000 | 17, 0, 0, 0, 0"),
        ("ioctl", "0, 0x5412, b'x'"),
        ("ioctl", "0, 0x541C, b'x'"),
        ("personality", "0x0400000"),
        ("socket", "38, 5, 0"),
        ("socket", "40, 1, 0"),
    ],
)
def test_a_call_is_refused_for_the_arguments_that_are_dangerous(pad: "Launchpad", name: str, arguments: str) -> None:
    number = next(getattr(row, platform.machine()) for row in CHECKED if row.name == name)

    run = pad.python(f"print(libc.syscall({number}, {arguments}), ctypes.get_errno() == errno.EPERM)")

    assert run.text == "-1 True"


def test_calls_of_the_other_numberings_are_refused(pad: "Launchpad") -> None:
    """x32: the numbers of x86_64 with bit 30 set; getpid there must not answer."""
    if platform.machine() != "x86_64":
        pytest.skip("x32 is a part of x86_64")

    assert pad.python("print(libc.syscall(0x40000000 | 39))").text == "-1"


def test_threads_and_processes_still_work_under_the_filter(pad: "Launchpad") -> None:
    run = pad.run(
        "/usr/bin/python3",
        "-c",
        "import subprocess, threading\n"
        "thread = threading.Thread(target=print, args=('thread',), kwargs={'flush': True})\n"
        "thread.start(); thread.join()\nsubprocess.run(['echo', 'process'])",
    )

    assert sorted(run.text.split()) == ["process", "thread"]


def test_a_fork_bomb_meets_its_limit_and_ends_with_the_job(pad: "Launchpad") -> None:
    program = (
        "count = 0\n"
        "while True:\n"
        "    try: pid = os.fork()\n"
        "    except BlockingIOError: break\n"
        "    if pid == 0: signal.pause()\n"
        "    count += 1\n"
        "print(count)"
    )

    assert 10 < int(pad.python(program, nproc_max=32).text) < 32
    assert pad.ask("leftovers")["children"] == []


@pytest.mark.parametrize(
    "environment",
    [
        {"LD_PRELOAD": "/work/evil.so", "PATH": "/usr/bin:/bin"},
        {"PATH": "/usr/bin", "PYTHONHOME": "/nowhere", "PYTHONPATH": "/work", "PYTHONSTARTUP": "/work/x"},
        {"PATH": "/usr/bin", "JOBLET_STATE": "/tmp", "JOBLET_UID": "0", "FD_LOG_READ": "0", "LC_ALL": "zz", "IFS": "x"},
    ],
)
def test_nothing_in_the_environment_changes_the_isolation(pad: "Launchpad", environment: dict[str, str]) -> None:
    run = pad.run("/usr/bin/grep", "-E", "^(CapEff|Seccomp|NoNewPrivs)", "/proc/self/status", environment=environment)

    for line in ("CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        assert line in run.text.splitlines()


def test_core_dumps_are_off(pad: "Launchpad") -> None:
    assert pad.shell("ulimit -c; ulimit -Hc").text == "0\n0"


def test_its_work_folder_is_closed_to_every_other_user(pad: "Launchpad") -> None:
    job = pad.start("sleep", "1000")
    found = os.stat(pad.state / "work" / job)

    assert found.st_mode & 0o777 == 0o700
    assert found.st_uid >= 1_900_000_000
    pad.ask("kill", job)
    pad.finish(job)
