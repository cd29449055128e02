"""
How unit tests run: an `async def` test is a coroutine on virtual time.

A test that needs real threads (a database in a file, a read that waits for the disk) is marked
`real_time`; it awaits results and never sleeps.
"""

import asyncio
import inspect

import pytest

from joblet.testing import clock


def pytest_configure(config: pytest.Config) -> None:
    """The one marker of this folder."""
    config.addinivalue_line("markers", "real_time: has threads under it, so it cannot have virtual time")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests; leave all others to pytest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    test = pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    if pyfuncitem.get_closest_marker("real_time"):
        asyncio.run(test)
    else:
        clock.run(test)
    return True
