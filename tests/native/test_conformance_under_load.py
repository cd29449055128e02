"""
The conformance suite on a machine that has much else to do: it never blames a server that does nothing wrong.

Runs in: pytest, as root.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from real_server import RealServer

from joblet_conformance.main import main

pytestmark = [pytest.mark.native, pytest.mark.slow]

RUNS = 20


@pytest.fixture
def busy() -> Iterator[None]:
    """One process a core that wants all of it."""
    with contextlib.ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(loop.kill)
        yield


async def test_a_busy_machine_raises_no_false_alarm(
    server: RealServer, busy: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twenty runs in a row over the records of those before; exit status 0, as nothing that is a must has failed."""
    ca = ("--ca", str(server.certificates / "ca-cert.pem"), "--ca-key", str(server.certificates / "ca-key.pem"))
    for run in range(RUNS):
        status = await asyncio.to_thread(main, ["run", "--server", server.address, *ca])

        assert status == 0, f"run {run + 1}: {capsys.readouterr().out}"
        assert "FAILED" not in capsys.readouterr().out
