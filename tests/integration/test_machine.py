"""
The machine as packaging/install.sh leaves it, and the script run once more on it, refused and obeyed.

Runs in: pytest with testinfra in the test machine, as root.
Source: packaging/README.md; docs/administrators.md, "What a machine needs", "What is on the machine".
"""

import importlib.metadata
import json
import os
import re
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from installed import CERTIFICATES, CONFIG, PLACE, PROGRAMS, SERVER, SLICE, STATE, SUPERVISOR, Installed, main_pid
from journal import RECORD
from testinfra.host import Host

from joblet.client import JobStatus

PACKAGING: Final = Path("/vagrant/packaging")
INSTALL: Final = PACKAGING / "install.sh"
INSTALL_WITHIN_S: Final = 280.0
UNITS: Final = (SERVER, SUPERVISOR, PLACE)
CONTROLLERS: Final = {"cpu", "cpuset", "io", "memory", "pids"}
PORT: Final = 50051
FIRST_JOB_UID: Final = 1_900_000_000
JOB_UIDS: Final = range(FIRST_JOB_UID, FIRST_JOB_UID + 65_536)
# In tenths of systemd's scale from 0 to 10, where "OK" ends at 50. The largest part of what is left is that the server
# runs as root, without root's powers, for the sake of the state folder that it shares with the supervisor.
WORST_EXPOSURE: Final = 40

# As stat prints them: type, owner and mode.
FOLDER, FILE, SOCKET = "directory root:root", "regular file root:root", "socket root:root"
CERTIFICATE_FILES: Final = {
    **{f"{CERTIFICATES}/{name}-cert.pem": f"{FILE} 644" for name in ("ca", "server", "client")},
    **{f"{CERTIFICATES}/{name}-client-cert.pem": f"{FILE} 644" for name in ("admin", "viewer")},
    **{f"{CERTIFICATES}/{name}-key.pem": f"{FILE} 600" for name in ("ca", "server", "client")},
    **{f"{CERTIFICATES}/{name}-client-key.pem": f"{FILE} 600" for name in ("admin", "viewer")},
}
FILES: Final = {
    "/opt/joblet": f"{FOLDER} 755",
    str(CONFIG): f"{FILE} 644",
    str(CERTIFICATES): f"{FOLDER} 755",
    **{f"/etc/systemd/system/{unit}": f"{FILE} 644" for unit in (*UNITS, "joblet.slice")},
    str(STATE): f"{FOLDER} 700",
    **{f"{STATE}/{name}": f"{FOLDER} 700" for name in ("logs", "run", "work", "tree")},
    f"{STATE}/joblet.db": f"{FILE} 600",
    f"{STATE}/supervisor.sock": f"{SOCKET} 600",
}


# The machine


def test_the_kernel_can_end_a_whole_cgroup_at_once() -> None:
    assert (SLICE / "cgroup.kill").exists()


def test_cgroups_v2_are_mounted_and_can_be_written(host: Host) -> None:
    mount = host.mount_point("/sys/fs/cgroup")

    assert (mount.filesystem, "rw" in mount.options) == ("cgroup2", True)


def test_every_controller_is_delegated_down_to_the_jobs(joblet: Installed, host: Host) -> None:
    joblet.run("true")  # the place is made ready for the next job, not when systemd starts it

    for file in ("cgroup.controllers", "cgroup.subtree_control", "jobs/cgroup.controllers"):
        assert set(host.file(str(SLICE / PLACE / file)).content_string.split()) >= CONTROLLERS


# The units


def test_the_units_run_and_come_back_with_the_machine(host: Host) -> None:
    assert host.check_output(f"systemctl is-active {' '.join(UNITS)}").split() == ["active"] * len(UNITS)
    assert host.check_output(f"systemctl is-enabled {' '.join(UNITS)}").split() == ["enabled", "enabled", "static"]


def test_the_place_of_the_jobs_comes_and_goes_with_the_supervisor(host: Host) -> None:
    place = host.service(PLACE).systemd_properties

    assert (place["WantedBy"], place["StopWhenUnneeded"]) == (SUPERVISOR, "yes")


def test_every_unit_is_in_joblet_s_slice(host: Host) -> None:
    groups = host.check_output(f"systemctl show --property=ControlGroup --value {' '.join(UNITS)}").split()

    assert groups == [f"/joblet.slice/{unit}" for unit in UNITS]


def test_systemd_finds_no_fault_in_the_units(host: Host) -> None:
    verified = host.run("systemd-analyze verify --man=no /etc/systemd/system/joblet*")

    assert (verified.rc, verified.stdout, verified.stderr) == (0, "", "")


def test_the_server_exposes_little(host: Host, record_property: Callable[[str, object], None]) -> None:
    looked_at = host.run(f"systemd-analyze security --no-pager --threshold={WORST_EXPOSURE} {SERVER}")

    *_, verdict = looked_at.stdout.splitlines()
    record_property("exposure_level", verdict)
    assert looked_at.rc == 0, looked_at.stdout


def test_the_server_is_root_without_any_capability() -> None:
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{main_pid(SERVER)}/status").read_text().splitlines()
        if ":\t" in line
    )

    assert status["Uid"].split() == ["0"] * 4
    assert {int(status[kind], 16) for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"


def test_it_listens_on_one_port_and_nothing_else_of_joblet_listens(host: Host) -> None:
    """TCP and UDP, by whatever process of its units."""
    groups = (file for unit in UNITS for file in (SLICE / unit).rglob("cgroup.procs"))
    ours = {int(pid) for file in groups for pid in file.read_text().split()}
    found = [
        (line.split()[0], int(line.split()[4].rpartition(":")[2]))
        for line in host.check_output("ss --no-header --listening --numeric --tcp --udp --processes").splitlines()
        if ours & {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
    ]

    assert found == [("tcp", PORT)]


@pytest.mark.parametrize("unit", [SERVER, SUPERVISOR])
def test_the_journal_has_what_a_unit_says_in_the_specification_s_format(host: Host, unit: str) -> None:
    """All of it since it was started, but for systemd's own words about it."""
    invocation = host.check_output(f"systemctl show -P InvocationID {unit}")
    said = host.check_output(f"journalctl --no-pager --output=cat _SYSTEMD_INVOCATION_ID={invocation}").splitlines()

    assert said != []
    assert [line for line in said if not RECORD.fullmatch(line)] == []


# Its files


@pytest.mark.parametrize("expected", [FILES, CERTIFICATE_FILES], ids=["files", "certificates and keys"])
def test_files_are_root_s_and_open_to_whom_they_should_be(host: Host, expected: Mapping[str, str]) -> None:
    found = host.check_output("stat --format='%n %F %U:%G %a' " + " ".join(expected)).splitlines()

    assert dict(line.split(" ", 1) for line in found) == expected


def test_there_is_no_other_key_or_certificate(host: Host) -> None:
    assert {f"{CERTIFICATES}/{name}" for name in host.file(str(CERTIFICATES)).listdir()} == set(CERTIFICATE_FILES)


def test_every_job_s_log_is_closed_to_others(joblet: Installed, host: Host) -> None:
    ended, _ = joblet.run("echo", "hello")

    log = host.file(str(STATE / "logs" / f"{ended.id}.log"))
    assert (log.content, log.user, f"{log.mode:o}") == (b"hello\n", "root", "600")


def test_the_units_are_those_of_the_packaging(host: Host) -> None:
    for name in (*UNITS, "joblet.slice"):
        assert host.file(f"/etc/systemd/system/{name}").content == (PACKAGING / "systemd" / name).read_bytes()


@pytest.mark.parametrize("program", ["joblet", "rnx"])
def test_a_program_is_in_everybody_s_path_and_tells_its_version(host: Host, program: str) -> None:
    assert host.file(f"/usr/local/bin/{program}").linked_to == str(PROGRAMS / program)
    assert host.check_output(f"{program} --version") == f"{program} {importlib.metadata.version('joblet')}"


def test_the_configuration_is_valid_and_leaves_the_supervisor_to_systemd(host: Host) -> None:
    checked = host.run(f"joblet config check {CONFIG}")

    assert (checked.rc, checked.stderr) == (0, "")
    assert "supervisor: service\n" in host.check_output(f"joblet config show --config {CONFIG}")


# What it is for


def test_rnx_list_answers(joblet: Installed) -> None:
    ended, _ = joblet.run("true")

    listed = joblet.rnx("list")

    assert (listed.returncode, listed.stderr) == (0, "")
    assert f"{ended.id} COMPLETED" in listed.stdout


def test_a_job_is_a_user_that_the_machine_does_not_know(joblet: Installed, host: Host) -> None:
    _, output = joblet.shell("id -u; id -g")

    uid, gid = map(int, output.split())
    assert uid == gid
    assert uid in JOB_UIDS
    assert host.run(f"getent passwd {uid}").rc == 2


def test_the_doctor_finds_nothing_that_fails(host: Host) -> None:
    examined = host.run("joblet doctor --output=json")

    found = {(each["subject"], each["level"]) for each in json.loads(examined.stdout)}
    assert [each for each in found if each[1] == "FAIL"] == []
    assert {("cgroups", "OK"), ("namespaces", "OK"), ("address", "OK"), ("state folder", "OK")} <= found
    assert examined.rc == os.EX_OK


# packaging/install.sh


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        pytest.param(f"sh {INSTALL}", 2, "install.sh WHEEL [NAME…]      as root", id="no wheel named"),
        pytest.param(f"sh {INSTALL} /no/such.whl", 1, "install.sh: no such wheel: /no/such.whl\n", id="no such wheel"),
        pytest.param(
            f"setpriv --reuid=65534 --regid=65534 --clear-groups sh {INSTALL} /no/such.whl",
            1,
            "install.sh: must be run as root: it writes to /opt/joblet and /etc/systemd/system\n",
            id="not root",
        ),
    ],
)
def test_an_installation_that_cannot_be_says_why_and_does_nothing(
    host: Host, command: str, status: int, words: str
) -> None:
    before = what_must_stay(), main_pid(SERVER)

    done = host.run(command)

    assert (done.rc, done.stdout) == (status, "")
    assert done.stderr.startswith(words)
    assert (what_must_stay(), main_pid(SERVER)) == before


@dataclass(frozen=True, slots=True)
class Again:
    """
    What the script did when it was run once more, while a job ran.

    Args:
        done: Of the script.
        kept: What must be the same before and after.
        server: Process of the server, before and after.
        status: Of the job, right after.
        ended: Of the job, once it was told to go on.
    """

    done: "subprocess.CompletedProcess[str]"
    kept: tuple[object, object]
    server: tuple[int, int]
    status: str
    ended: JobStatus
    output: bytes


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The one that is installed; another would leave the machine with other code than its tests take it for."""
    (path,) = Path("/var/tmp").glob("joblet-*.whl")
    library = Path(str(importlib.metadata.distribution("joblet").locate_file("")))
    with zipfile.ZipFile(path) as archive:
        changed = [
            name
            for name in archive.namelist()
            if name.startswith("joblet/") and (library / name).read_bytes() != archive.read(name)
        ]
    assert changed == [], f"{path} is not what is installed: run `nox -s integration` without --keep"
    return path


@pytest.fixture(scope="module")
def again(joblet: Installed, wheel: Path) -> Again:
    """Once, for it takes half a minute on an emulated machine."""
    job_id = joblet.start("sh", "-c", "mkfifo go; echo before; read -r word <go; echo $word")
    joblet.until(job_id, "before")
    kept, server = what_must_stay(), main_pid(SERVER)
    environ = {"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/vagrant/vagrant/wheelhouse/server"}

    done = subprocess.run(
        ["sh", str(INSTALL), str(wheel), "another.name"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=INSTALL_WITHIN_S,
        check=False,
    )

    after = (kept, what_must_stay()), (server, main_pid(SERVER))
    status = joblet.client.get_job_status(job_id).status
    with (STATE / "work" / job_id / "go").open("r+b", buffering=0) as fifo:  # for both: does not wait for the reader
        fifo.write(b"after\n")
        ended = joblet.client.wait(job_id)
    return Again(done, *after, status, ended, joblet.log(job_id))


def what_must_stay() -> object:
    """Certificates and configuration, untouched even by a write of what is in them; and the owner of the jobs."""
    files = (CONFIG, *sorted(CERTIFICATES.iterdir()))
    return {str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}, main_pid(SUPERVISOR)


def test_it_may_be_run_again(again: Again) -> None:
    assert again.done.returncode == 0, again.done.stderr
    assert again.done.stdout.splitlines()[-1].startswith("joblet.service and joblet-supervisor.service are running")


def test_run_again_it_says_how_a_name_comes_into_the_certificate(again: Again) -> None:
    assert again.done.stderr.splitlines() == [
        f"the certificates in {CERTIFICATES} stay as they are; to have other names in the server's:",
        f"    joblet certs issue --role server --dir {CERTIFICATES} --force --host another.name",
    ]


def test_run_again_it_leaves_certificates_configuration_and_supervisor_alone(again: Again) -> None:
    before, after = again.kept

    assert after == before


def test_run_again_it_brings_the_server_up_to_date(joblet: Installed, again: Again) -> None:
    before, after = again.server

    assert after not in (0, before)
    assert joblet.rnx("list").returncode == 0


def test_a_job_runs_on_while_it_is_run_again(again: Again) -> None:
    assert again.status == "RUNNING"
    assert (again.ended.status, again.ended.exit_code, again.output) == ("COMPLETED", 0, b"before\nafter\n")


def test_only_root_may_change_what_is_installed(again: Again, host: Host) -> None:
    changeable = host.check_output(r"find /opt/joblet ! -type l \( ! -user root -o ! -group root -o -perm /022 \)")

    assert again.done.returncode == 0
    assert changeable == ""
