"""
What of the machine a job can see, touch and call by its name: its own, and the network.

Runs in: pytest in the test machine, as root.
Source: API specification, "Job Execution Environment"; namespaces(7), mount_namespaces(7), cgroup_namespaces(7).
"""

import ctypes
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from installed import SERVER, STATE, SUPERVISOR, Installed, main_pid
from processes import command_of, members

OWN = ("cgroup", "ipc", "mnt", "pid", "uts")
SHARED = ("net", "time", "user")
HOST = Path("/proc/1")


class Waiting:
    """
    A job that waits for the test to do something first.

    Args:
        script: What it does then; `$argument` is what it was told.
    """

    def __init__(self, joblet: Installed, script: str) -> None:
        self._joblet = joblet
        self.id = joblet.start("sh", "-c", f"mkfifo go; echo ready; read -r argument < go; {script}")
        joblet.until(self.id, "ready")

    def goes_on(self, argument: str = "") -> list[str]:
        """Let it; what it prints from then on."""
        (STATE / "work" / self.id / "go").write_text(f"{argument}\n")
        self._joblet.client.wait(self.id)
        return self._joblet.log(self.id).decode().splitlines()[1:]


def namespaces_of(process: Path) -> dict[str, str]:
    """By name: what the kernel calls each, such as pid:[4026531836]."""
    return {name: os.readlink(process / "ns" / name) for name in (*OWN, *SHARED)}


@pytest.fixture(scope="module")
def seen(joblet: Installed) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The namespaces of two jobs that run at the same time: of one that is gone, the next may have the number."""
    jobs = [joblet.start("sh", "-c", "cd /proc/self/ns; echo $(readlink *); exec sleep 1000") for _ in range(2)]
    # Also pid_for_children and time_for_children, which are the same links.
    one, other = ({link.partition(":")[0]: link for link in next(joblet.lines(job)).split()} for job in jobs)
    return one, other


@pytest.mark.parametrize("name", OWN)
def test_it_has_a_namespace_of_its_own(seen: tuple[Mapping[str, str], Mapping[str, str]], name: str) -> None:
    job, other_job = seen

    assert len({job[name], other_job[name], namespaces_of(HOST)[name]}) == 3


@pytest.mark.parametrize("name", SHARED)
def test_it_shares_a_namespace_with_the_machine(seen: tuple[Mapping[str, str], Mapping[str, str]], name: str) -> None:
    job, _ = seen

    assert job[name] == namespaces_of(HOST)[name]


# uts


def test_its_hostname_is_its_id_and_the_machine_keeps_its_own(joblet: Installed) -> None:
    hostname = socket.gethostname()

    ended, output = joblet.shell("cat /proc/sys/kernel/hostname; uname -n")

    short = ended.id.partition("-")[0]
    assert output.decode().splitlines() == [short, short]
    assert socket.gethostname() == hostname


def test_it_cannot_change_its_hostname(joblet: Installed) -> None:
    ended, output = joblet.python("import socket; socket.sethostname('mine')")

    assert (ended.exit_code, output.splitlines()[-1]) == (1, b"PermissionError: [Errno 1] Operation not permitted")


# pid


def number_inside(pid: int) -> str:
    """Of a process, in the innermost of its PID namespaces."""
    (numbers,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("NSpid:")]
    return numbers.split()[-1]


def test_it_sees_its_own_processes_and_no_other(joblet: Installed) -> None:
    job_id = joblet.start("sh", "-c", "cd /proc; echo [0-9]*; exec sleep 1000")
    shown = next(joblet.lines(job_id))

    assert sorted(shown.split()) == sorted(number_inside(pid) for pid in members(job_id))


def test_a_process_of_the_machine_does_not_exist_for_its_kill(joblet: Installed) -> None:
    """Also one of the job's own user: this is not a question of permission."""
    job = Waiting(joblet, "kill -9 $argument 2>&1 | grep .")
    user = os.stat(f"/proc/{command_of(job.id)}").st_uid
    with subprocess.Popen(["sleep", "1000"], user=user, group=user) as process:
        try:
            (output,) = job.goes_on(str(process.pid))

            assert output.endswith("No such process")
            assert process.poll() is None
        finally:
            process.kill()


@pytest.mark.parametrize("unit", [SERVER, SUPERVISOR])
def test_joblet_itself_is_not_in_its_proc(joblet: Installed, unit: str) -> None:
    pid = main_pid(unit)

    _, output = joblet.shell(f"ls /proc/{pid}/status 2>&1; kill -9 {pid} 2>&1 | grep .")

    assert [line.rpartition(": ")[2] for line in output.decode().splitlines()] == [
        "No such file or directory",
        "No such process",
    ]
    assert main_pid(unit) == pid


# mnt


def mounts(process: Path) -> set[str]:
    """Every mount of a process."""
    return set((process / "mountinfo").read_text().splitlines())


@contextmanager
def mounted_on_the_machine() -> Iterator[Path]:
    """A file system that is mounted in a folder which jobs see, /usr being the machine's."""
    folder = Path("/usr/share") / f"joblet-test-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "joblet-test", folder], check=True)
        try:
            (folder / "mounted").touch()
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)
    finally:
        folder.rmdir()


def test_what_the_machine_mounts_while_it_runs_does_not_come_in(joblet: Installed) -> None:
    job = Waiting(joblet, "ls -d $argument; ls $argument; grep joblet-test /proc/self/mountinfo")

    with mounted_on_the_machine() as folder:
        lines = job.goes_on(str(folder))

    assert lines == [str(folder)], "the folder is there, and empty"


def test_nothing_that_it_has_mounted_is_mounted_on_the_machine(joblet: Installed) -> None:
    before = mounts(HOST)

    job = Waiting(joblet, "grep -c ' /work ' /proc/self/mountinfo")

    new = mounts(HOST) - before
    assert (job.goes_on(), new) == (["1"], set())


def test_a_file_in_its_tmp_is_nowhere_else(joblet: Installed) -> None:
    name = f"of-a-job-{secrets.token_hex(4)}"
    writer = joblet.start("sh", "-c", f"touch /tmp/{name} /dev/shm/{name}; echo ready; exec sleep 1000")
    joblet.until(writer, "ready")

    _, output = joblet.shell("ls -A /tmp /dev/shm")

    assert name not in output.decode()
    assert [folder for folder in ("/tmp", "/dev/shm") if Path(folder, name).exists()] == []


# cgroup


@pytest.mark.parametrize("process", ["self", "1"])
def test_its_own_group_is_the_root_of_all_groups(joblet: Installed, process: str) -> None:
    _, output = joblet.run("cat", f"/proc/{process}/cgroup")

    assert output == b"0::/\n"


def test_no_group_can_be_reached(joblet: Installed) -> None:
    ended, output = joblet.run("grep", "-e", " - cgroup", "/proc/self/mountinfo")

    assert (ended.exit_code, output) == (1, b"")


# ipc


@contextmanager
def shared_memory_of_the_machine() -> Iterator[None]:
    """A System V segment that anybody might attach."""
    made = subprocess.run(["ipcmk", "-M", "4096", "-p", "0666"], check=True, capture_output=True, text=True)
    try:
        yield
    finally:
        subprocess.run(["ipcrm", "-m", made.stdout.split()[-1]], check=True)


def test_shared_memory_of_the_machine_is_not_there(joblet: Installed) -> None:
    with shared_memory_of_the_machine():
        on_the_machine = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]

        _, output = joblet.run("cat", "/proc/sysvipc/shm")

    assert (len(on_the_machine), len(output.splitlines()[1:])) == (1, 0)


def test_a_message_queue_of_the_machine_is_not_there(joblet: Installed) -> None:
    """POSIX queues have names and no file: only the namespace stands between them and a job."""
    name = f"/joblet-test-{secrets.token_hex(4)}"
    opens = f"""
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.mq_open(b"{name}", os.O_RDONLY) >= 0, os.strerror(ctypes.get_errno()))
"""
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    try:
        _, output = joblet.python(opens)
    finally:
        os.close(queue)
        libc.mq_unlink(name.encode())

    assert output == b"False No such file or directory\n"


def test_a_named_segment_of_the_machine_is_not_there(joblet: Installed) -> None:
    name = f"joblet-test-{secrets.token_hex(4)}"
    file = Path("/dev/shm", name)
    file.touch(mode=0o666)
    try:
        _, output = joblet.run("ls", "-A", "/dev/shm")
    finally:
        file.unlink()

    assert output == b""
