"""
The conformance suite against the whole server on this machine's kernel: real programs, real signals.

Runs in: pytest, as root.
"""

import asyncio

import pytest
from real_server import RealServer

from joblet_conformance.main import main

pytestmark = pytest.mark.native


async def test_our_own_server_conforms_on_the_real_kernel(
    server: RealServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every profile that this version has; the suite makes its clients with the key of the server's CA."""
    ca = ("--ca", str(server.certificates / "ca-cert.pem"), "--ca-key", str(server.certificates / "ca-key.pem"))

    status = await asyncio.to_thread(main, ["run", "--server", server.address, *ca])

    assert status == 0, capsys.readouterr().out
