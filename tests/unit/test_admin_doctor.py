"""`joblet doctor`: each finding from what was seen, and the whole on this machine."""

import datetime
import errno
import json
import os
import socket
from pathlib import Path

import pytest

from joblet.admin import certs, installation, machine
from joblet.admin.finding import Finding, Level
from joblet.admin.main import main
from joblet.pki import names

NOW = datetime.datetime.now(datetime.UTC)


def brief(findings: object) -> list[tuple[str, str]]:
    assert hasattr(findings, "__iter__")
    return [(finding.level.value, finding.subject) for finding in findings]


@pytest.mark.parametrize(
    ("kernel", "level"),
    [("6.18.44-x", "OK"), ("5.14.0", "OK"), ("5.13.0", "WARN"), ("5.11.22", "FAIL"), ("4.19", "FAIL"), ("odd", "FAIL")],
)
def test_a_kernel_is_new_enough_or_not(kernel: str, level: str) -> None:
    assert brief(machine.system("linux", kernel, "3.11.0"))[0] == (level, "kernel")


def test_another_system_than_linux_fails_at_once() -> None:
    assert brief(machine.system("darwin", "24.0", "3.13.0")) == [("FAIL", "system")]


def test_a_user_who_is_not_root_is_told_so() -> None:
    (found,) = machine.user(1000)

    assert found == Finding(Level.FAIL, "user", "user 1000 is not root: jobs cannot be isolated", "run it with sudo")


def answers(**changed: int) -> dict[str, int]:
    good = {f"call:{name}": expected for name, (_, expected) in machine.PROBES.items()}
    return (
        good
        | {f"unshare:{name}": 0 for name in machine.NAMESPACES}
        | {key.replace("_", ":", 1): value for key, value in changed.items()}
    )


def test_a_kernel_that_answers_every_call_is_fine() -> None:
    assert brief(machine.calls(answers(), 0)) == [("OK", "system calls")]


def test_who_is_not_root_is_not_told_that_pivot_root_is_refused() -> None:
    """It is refused to everybody but root, and that he is not root stands in a line of its own."""
    found = answers() | {"call:pivot_root": errno.EPERM}

    assert brief(machine.calls(found, 1000)) == [("OK", "system calls")]
    assert brief(machine.calls(found, 0)) == [("FAIL", "system calls")]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_call_that_is_missing_or_filtered_is_named(number: int) -> None:
    (found,) = machine.calls(answers(call_pidfd_getfd=number), 0)

    assert found.level is Level.FAIL
    assert found.what == f"refused here: pidfd_getfd ({os.strerror(number).lower()})"


@pytest.mark.parametrize(
    ("number", "uid", "mend"),
    [
        (errno.EPERM, 1000, "run it with sudo"),
        (errno.EPERM, 0, "this looks like a container: run it with --privileged, or on the machine itself"),
        (errno.ENOSPC, 0, "raise the limits: sysctl user | grep namespaces"),
    ],
)
def test_namespaces_that_are_refused_name_the_remedy(number: int, uid: int, mend: str) -> None:
    (found,) = machine.namespaces(answers(unshare_PID=number), uid)

    assert (found.level, found.mend) == (Level.FAIL, mend)
    assert found.what == f"cannot be made: PID ({os.strerror(number).lower()})"


def test_this_kernel_answers_every_probe() -> None:
    """The probes themselves are right: none of the numbers is another call's."""
    found = machine.ask_kernel()

    asked = [name for name in machine.PROBES if os.geteuid() == 0 or name not in machine.ONLY_FOR_ROOT]

    assert {name: found[f"call:{name}"] for name in asked} == {name: machine.PROBES[name][1] for name in asked}
    assert {f"unshare:{name}" for name in machine.NAMESPACES} <= found.keys()


def test_a_kernel_without_seccomp_fails(tmp_path: Path) -> None:
    assert brief(machine.seccomp(tmp_path / "none")) == [("FAIL", "seccomp")]


def test_cgroups_switched_off_is_a_warning(tmp_path: Path) -> None:
    assert brief(machine.cgroups(tmp_path, "off")) == [("WARN", "cgroups")]


# The installation


def test_missing_certificates_name_the_command_that_makes_them(tmp_path: Path) -> None:
    (found,) = installation.certificates(tmp_path, NOW)

    assert (found.level, found.mend) == (Level.FAIL, f"joblet certs init --dir {tmp_path}")


def test_certificates_that_work_say_how_long(tmp_path: Path) -> None:
    certs.init(tmp_path, [], "Acme", 365, force=False)

    found = list(installation.certificates(tmp_path, NOW + datetime.timedelta(days=5, hours=12)))

    assert [finding.level for finding in found] == [Level.OK, Level.OK]
    assert found[0].what == f"{tmp_path}/server-cert.pem: 359 days left"


def test_certificates_that_expire_soon_name_the_command_that_renews_them(tmp_path: Path) -> None:
    certs.init(tmp_path, [], "Acme", 20, force=False)

    found = next(iter(installation.certificates(tmp_path, NOW)))

    assert found.level is Level.WARN
    assert found.mend == f"joblet certs issue --dir {tmp_path} --role server --force (no restart is needed)"


def test_a_key_that_others_can_read_is_a_warning_and_another_key_a_failure(tmp_path: Path) -> None:
    certs.init(tmp_path, [], "Acme", 365, force=False)
    key = tmp_path / names.SERVER_KEY
    key.chmod(0o644)

    assert brief(installation.certificates(tmp_path, NOW))[0] == ("WARN", "certificates")

    key.write_bytes((tmp_path / names.CA_KEY).read_bytes())
    assert brief(installation.certificates(tmp_path, NOW)) == [("FAIL", "certificates")]


DISK = "36 35 98:0 / / rw - ext4 /dev/root rw\n"


def test_a_state_folder_for_its_owner_on_a_disk_is_fine(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)

    assert brief(installation.state_folder(tmp_path, os.geteuid(), DISK)) == [("OK", "state folder")]


def test_a_state_folder_that_is_missing_will_be_made(tmp_path: Path) -> None:
    (found,) = installation.state_folder(tmp_path / "a" / "b", os.geteuid(), DISK)

    assert (found.level, found.what) == (Level.OK, f"{tmp_path}/a/b will be made")


def test_a_state_folder_that_others_may_enter_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    (found,) = installation.state_folder(tmp_path, os.geteuid(), DISK)

    assert (found.level, found.mend) == (Level.WARN, f"chmod 700 {tmp_path}")


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "nfs4"])
def test_a_state_folder_in_memory_or_far_away_is_a_warning(tmp_path: Path, kind: str) -> None:
    tmp_path.chmod(0o700)
    mounts = f"{DISK}40 36 0:50 / {tmp_path} rw - {kind} x rw\n"

    assert brief(installation.state_folder(tmp_path, os.geteuid(), mounts)) == [
        ("OK", "state folder"),
        ("WARN", "state folder"),
    ]


def test_a_state_folder_that_is_a_file_or_somebody_elses_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert brief(installation.state_folder(tmp_path / "file", os.geteuid(), DISK)) == [("FAIL", "state folder")]
    assert brief(installation.state_folder(tmp_path, 12345, DISK)) == [("FAIL", "state folder")]


def test_a_port_in_use_fails_unless_it_is_our_own_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        assert brief(installation.port(address, serving=False)) == [("FAIL", "address")]
        assert brief(installation.port(address, serving=True)) == [("OK", "address")]
    assert brief(installation.port("127.0.0.1:0", serving=False)) == [("OK", "address")]


def test_too_few_open_files_for_the_jobs_is_a_warning() -> None:
    assert brief(installation.open_files(1000, 1024, 1000)) == [("WARN", "open files")]
    assert brief(installation.open_files(1000, 1024, 0)) == [("OK", "open files")]


def test_a_configuration_that_cannot_be_used_is_one_failure_among_the_findings(tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    path.write_text("joblet: {pidsLimit: x}")

    loaded, (found,) = installation.configuration(path, {})

    assert (found.level, loaded.joblet.pids_max) == (Level.FAIL, 4096)
    assert found.what.startswith(f"{path}:1:21: joblet.pidsLimit: x is not a whole number")


# The whole


def test_the_doctor_tells_programs_the_same_as_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--certs", str(tmp_path / "certs"), "--state", str(tmp_path / "state"), "--address", "127.0.0.1:0"]

    status = main(["doctor", *flags])
    text = capsys.readouterr().out
    again = main(["doctor", *flags, "--output", "json"])
    found = json.loads(capsys.readouterr().out)

    assert status == again == 1  # there are no certificates
    assert [f"{finding['level']:<5}{finding['subject'] + ':':<15}{finding['what']}" for finding in found] == [
        line for line in text.splitlines() if not line.startswith(" ")
    ]
    for finding in found:
        assert finding["mend"] or finding["level"] == "OK"
    assert "joblet certs init" in text
    assert list(tmp_path.iterdir()) == []  # it looks and changes nothing
