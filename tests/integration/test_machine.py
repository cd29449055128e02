"""
The machine after packaging/install.sh, as a specification: what is on it, whose it is, and that it runs.

Runs in: pytest in the test machine, as root.
Source: docs/administrators.md, packaging/README.md; API specification, "Health Checks".
"""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
from installed import CERTIFICATES, CONFIG, PLACE, PROGRAMS, SERVER, SLICE, STATE, SUPERVISOR, Installed, main_pid
from testinfra.host import Host

CONTROLLERS: Final = {"cpu", "cpuset", "io", "memory", "pids"}
INSTALL: Final = "/vagrant/packaging/install.sh"
PRIVATE: Final = ("ca-key.pem", "server-key.pem", "client-key.pem", "admin-client-key.pem", "viewer-client-key.pem")
PUBLIC: Final = ("ca-cert.pem", "server-cert.pem", "client-cert.pem", "admin-client-cert.pem", "viewer-client-cert.pem")


def test_the_kernel_is_new_enough(host: Host) -> None:
    release = host.check_output("uname -r")
    numbers = re.findall(r"\d+", release)[:2]

    assert tuple(map(int, numbers)) >= (5, 14)


def test_cgroups_are_version_2(host: Host) -> None:
    assert host.mount_point("/sys/fs/cgroup").filesystem == "cgroup2"


def test_every_controller_is_handed_down_to_the_jobs() -> None:
    place = SLICE / PLACE

    assert set((place / "cgroup.controllers").read_text().split()) >= CONTROLLERS
    assert set((place / "cgroup.subtree_control").read_text().split()) == CONTROLLERS
    assert set((place / "jobs" / "cgroup.subtree_control").read_text().split()) == CONTROLLERS


@pytest.mark.parametrize("unit", [SERVER, SUPERVISOR])
def test_a_service_runs_and_starts_with_the_machine(host: Host, unit: str) -> None:
    service = host.service(unit)

    assert service.is_running
    assert service.is_enabled


def test_the_place_of_the_jobs_comes_and_goes_with_the_supervisor(host: Host) -> None:
    service = host.service(PLACE)

    assert service.is_running
    assert service.systemd_properties["WantedBy"] == SUPERVISOR
    assert service.systemd_properties["StopWhenUnneeded"] == "yes"


@pytest.mark.parametrize("unit", [SERVER, SUPERVISOR, PLACE])
def test_every_unit_is_in_the_slice(host: Host, unit: str) -> None:
    assert host.service(unit).systemd_properties["ControlGroup"] == f"/joblet.slice/{unit}"


def test_systemd_finds_nothing_wrong_with_the_units(host: Host) -> None:
    found = host.run(f"systemd-analyze verify {SERVER} {SUPERVISOR} {PLACE} joblet.slice")

    assert (found.rc, found.stdout, found.stderr) == (0, "", "")


def test_the_server_has_none_of_root_s_powers(host: Host) -> None:
    status = host.file(f"/proc/{main_pid(SERVER)}/status").content_string

    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
    assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)


def test_the_server_listens_and_nothing_else_of_joblet_does(host: Host) -> None:
    listening = host.check_output("ss --listening --tcp --numeric --processes --no-header")
    ours = [line.split()[3] for line in listening.splitlines() if "joblet" in line or "python" in line]

    assert {address.rpartition(":")[2] for address in ours} == {"50051"}


@pytest.mark.parametrize("name", PRIVATE)
def test_a_key_is_root_s_alone(host: Host, name: str) -> None:
    key = host.file(str(CERTIFICATES / name))

    assert (key.user, key.group, oct(key.mode)) == ("root", "root", "0o600")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_certificate_may_be_read(host: Host, name: str) -> None:
    certificate = host.file(str(CERTIFICATES / name))

    assert (certificate.user, certificate.group, oct(certificate.mode)) == ("root", "root", "0o644")


@pytest.mark.parametrize("path", [STATE, STATE / "logs", STATE / "work", STATE / "run"])
def test_the_state_is_root_s_alone(host: Host, path: Path) -> None:
    folder = host.file(str(STATE))

    assert host.file(str(path)).is_directory
    assert (folder.user, folder.group, oct(folder.mode)) == ("root", "root", "0o700")


def test_the_configuration_has_no_problem(host: Host) -> None:
    assert host.run(f"joblet config check {CONFIG}").rc == 0


def test_both_programs_are_on_the_path_and_have_one_version(host: Host) -> None:
    assert host.check_output("joblet --version").split()[-1] == host.check_output("rnx --version").split()[-1]
    for program in ("joblet", "rnx"):
        assert host.file(f"/usr/local/bin/{program}").linked_to == str(PROGRAMS / program)


def test_the_doctor_finds_nothing_wrong(host: Host) -> None:
    examined = host.run("joblet doctor")

    assert examined.rc == 0, examined.stdout


def test_no_user_is_added_for_jobs_which_have_numbers(joblet: Installed, host: Host) -> None:
    _, output = joblet.run("id", "-u")

    assert int(output) >= 1_900_000_000
    assert not host.user("joblet").exists


def test_the_journal_has_what_the_server_says(host: Host) -> None:
    journal = host.check_output(f"journalctl --unit={SERVER} --output=cat --no-pager")

    assert re.search(r"^\[20\S+Z\] \[INFO\] server listening \| address=0\.0\.0\.0:50051 ", journal, re.MULTILINE)


def test_rnx_list_answers(joblet: Installed) -> None:
    listed = joblet.rnx("list")

    assert (listed.returncode, listed.stderr) == (0, "")


# packaging/install.sh


def test_installing_again_leaves_jobs_certificates_and_configuration_alone(joblet: Installed) -> None:
    (wheel,) = Path("/var/tmp").glob("joblet-*.whl")
    job = joblet.start("sleep", "1000")
    supervisor = main_pid(SUPERVISOR)
    before = {path: path.read_bytes() for path in (CONFIG, *CERTIFICATES.iterdir())}
    environ = {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/vagrant/vagrant/wheelhouse/server"}

    done = subprocess.run(["sh", INSTALL, str(wheel)], env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert main_pid(SUPERVISOR) == supervisor
    assert joblet.client.get_job_status(job).status == "RUNNING"


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        pytest.param(f"sh {INSTALL}", 2, "install.sh WHEEL [NAME…]", id="no wheel named"),
        pytest.param(f"sh {INSTALL} /no/such.whl", 1, "install.sh: no such wheel: /no/such.whl", id="no such wheel"),
        pytest.param(
            f"setpriv --reuid=65534 --regid=65534 --clear-groups sh {INSTALL} x.whl",
            1,
            "install.sh: must be run as root",
            id="not root",
        ),
    ],
)
def test_an_installation_that_cannot_be_says_why(host: Host, command: str, status: int, words: str) -> None:
    done = host.run(command)

    assert done.rc == status
    assert words in done.stderr
