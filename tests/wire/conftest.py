"""
How wire tests run: an `async def` test is a coroutine on real time, with certificates made once a session.

A test that waits for something that does not come fails after `DEADLINE_S`.
"""

import asyncio
import inspect
import os

import pytest
from certificates import Authority, Credentials, client_certificates

DEADLINE_S = 60.0

# Before anything here imports grpc: a server in this process then shuts TLS 1.2 out as `joblet serve` does.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests; leave all others to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    # Slow tests say their own deadlines.
    deadline_s = None if pyfuncitem.get_closest_marker("slow") else DEADLINE_S
    asyncio.run(asyncio.wait_for(test, deadline_s))
    return True


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA that servers here trust."""
    return Authority()


@pytest.fixture(scope="session")
def certificates(authority: Authority) -> dict[str, Credentials]:
    """Clients of every kind."""
    return client_certificates(authority)
