"""
The command as a process of its own: interrupted, with nobody who reads it, and on a terminal without arrows.

Runs in: pytest.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import Authority, write_server_certificates
from serving_process import a_process

from joblet_conformance.certificates import identities
from joblet_conformance.evidence import Evidence
from joblet_conformance.subject import ENDED, Subject
from joblet_conformance.target import Target

COMMAND = (sys.executable, "-m", "joblet_conformance.main")


async def test_ctrl_c_stops_what_was_started_and_writes_the_reports(tmp_path: Path, authority: Authority) -> None:
    """Exit status 130, one line, and what was done until then."""
    certs, report = tmp_path / "certs", tmp_path / "report.json"
    certs.mkdir()
    write_server_certificates(certs, authority, authority.issue("server", for_server=True))
    (certs / "ca-key.pem").write_bytes(authority.key)
    async with a_process(tmp_path / "state", certs) as process:
        address = f"localhost:{process.port}"
        child = await asyncio.create_subprocess_exec(
            *(*COMMAND, "run", "--server", address, "--ca", str(certs / "ca-cert.pem")),
            *("--ca-key", str(certs / "ca-key.pem"), "--json", str(report), "--profile", "core,security,workflow"),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert child.stdout is not None
        await child.stdout.readline()
        child.send_signal(signal.SIGINT)
        out, err = await child.communicate()
        known = identities(authority.certificate, authority.key, {})
        async with Target(address, authority.certificate, known) as target:
            listed = await Subject(target, Evidence()).listed()

    assert child.returncode == 130
    assert err.decode().strip().splitlines() == [
        "joblet-conformance: interrupted; stopping what was started (Ctrl-C again leaves it running)"
    ]
    assert [job.id for job in listed.values() if job.status not in ENDED] == []
    found = json.loads(report.read_text())
    assert found["conclusion"] in ("not decided", "fails")
    assert found["not_tried"] > 0
    assert len(found["cases"]) > 0
    assert f"{found['not_tried']} not tried" in out.decode()


def test_a_terminal_without_arrows_gets_them_written_out() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([*COMMAND, "coverage"], env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_when_nobody_reads_it_ends_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run([*COMMAND, "list"], stdout=pipe, stderr=subprocess.PIPE, check=False)

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_is_told_in_one_sentence() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, check=False)

    assert done.returncode == 1
    assert done.stderr == b"joblet-conformance: cannot write: no space left on device\n"
