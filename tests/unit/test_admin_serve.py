"""`joblet serve` up to the wiring: what it refuses before anything is started, and the arguments it shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from joblet.admin import certs, serve
from joblet.pki import names


def run(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """As a process of its own: it starts over in place to show its state folder."""
    return subprocess.run(
        [sys.executable, "-m", "joblet.admin.main", "serve", *arguments],
        env={**os.environ, **environ},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_no_certificates_name_the_command_that_makes_them(tmp_path: Path) -> None:
    done = run("--state", str(tmp_path / "state"), "--certs", str(tmp_path / "certs"))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"joblet: cannot read {tmp_path}/certs/ca-cert.pem: no such file or directory",
        f"        `joblet certs init --dir {tmp_path}/certs` writes a set, --certs names another folder",
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", [names.CA_CERTIFICATE, names.SERVER_CERTIFICATE, names.SERVER_KEY])
def test_a_missing_certificate_file_is_named(tmp_path: Path, missing: str) -> None:
    certs.init(tmp_path, [], "Acme", 1, force=False)
    (tmp_path / missing).unlink()

    done = run("--state", str(tmp_path / "state"), "--certs", str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == f"joblet: cannot read {tmp_path}/{missing}: no such file or directory"


def test_a_configuration_that_cannot_be_used_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("joblt: {}\n")

    done = run("--state", str(tmp_path / "state"), JOBLET_CONFIG=str(tmp_path / "c.yml"))

    assert done.returncode == 1
    assert done.stderr == f"joblet: {tmp_path}/c.yml:1:1: joblt: unknown key; did you mean joblet?\n"


def test_relative_folders_are_those_of_the_callers(tmp_path: Path) -> None:
    """Also after it has started over: the whole names are made before."""
    (tmp_path / "c.yml").write_text("{}")

    done = run("--state", "s", "--certs", "certs", "--config", "c.yml", cwd=tmp_path)

    first = done.stderr.splitlines()[0]
    assert first == f"joblet: cannot read {tmp_path}/certs/ca-cert.pem: no such file or directory"


@pytest.mark.parametrize("address", ["localhost", "::1:50051", "host:99999"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    done = run("--state", str(tmp_path / "state"), "--address", address)

    assert done.returncode == 1
    assert done.stderr.startswith(f"joblet: --address {address} ")


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["python", "-m", "joblet.admin.main", "serve", "--state", "/s"], True),
        (["joblet", "serve", "--state=/s"], True),
        (["joblet", "serve", "--state", "s"], False),
        (["joblet", "serve", "--state", "/s/t"], False),
        (["joblet", "serve", "--certs", "/s"], False),
        (["joblet", "serve", "--state"], False),
    ],
)
def test_arguments_show_a_state_folder_only_by_its_whole_name(argv: list[str], shown: bool) -> None:
    assert serve.shows_state(argv, Path("/s")) is shown


def test_the_command_line_of_a_server_shows_everything(tmp_path: Path) -> None:
    words = serve.command(tmp_path, tmp_path / "c", "127.0.0.1:0", tmp_path / "f.yml")

    assert serve.shows_state(words, tmp_path)
    assert " ".join(words[3:]) == (
        f"serve --state {tmp_path} --certs {tmp_path}/c --address 127.0.0.1:0 --config {tmp_path}/f.yml"
    )
