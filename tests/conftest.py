"""
How tests run: an `async def` test is a coroutine.

In tests/unit it runs on virtual time; a test that needs real threads (a database in a file, a read that waits for the
disk) is marked `real_time`. In the other folders time is real, and a test that waits for what does not come fails at
its folder's deadline; slow ones say their own. No test sleeps: it awaits results.

Runs in: pytest. May not: import grpc (the servers of tests/wire decide first what TLS it may speak).
"""

import asyncio
import inspect
import signal
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from joblet.testing import clock

DEADLINES_S: Final[Mapping[str, float]] = {"wire": 60.0, "conformance": 240.0, "native": 120.0}


def pytest_configure() -> None:
    """A shell starts what it puts in the background with SIGINT ignored, and so would everything we start be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests; leave all others to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test: Coroutine[Any, Any, None] = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    folder = pyfuncitem.path.relative_to(Path(__file__).parent).parts[0]
    if folder == "unit" and not pyfuncitem.get_closest_marker("real_time"):
        clock.run(test)
    else:
        slow = pyfuncitem.get_closest_marker("slow")
        asyncio.run(asyncio.wait_for(test, None if slow else DEADLINES_S.get(folder)))
    return True
