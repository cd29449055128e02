"""Memory that bursts left behind is given back."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from joblet.api.memory import Trimming
from joblet.serverlog import Level, ServerLog

SILENT = ServerLog(Level.ERROR, lambda line: None)


@pytest.mark.real_time
async def test_streams_that_end_together_cost_one_trim() -> None:
    """In a thread, some time after the first of them."""
    loop, trimmed, times = asyncio.get_running_loop(), asyncio.Event(), 0

    def trim() -> None:
        nonlocal times
        times += 1
        loop.call_soon_threadsafe(trimmed.set)

    trimming = Trimming(SILENT, trim, delay_s=0)
    for _ in range(100):
        trimming.stream_ended()
    await trimmed.wait()

    assert times == 1


@pytest.mark.real_time
async def test_a_closed_server_trims_no_more() -> None:
    """Nothing is left waiting."""
    loop, times = asyncio.get_running_loop(), 0
    loop.set_default_executor(ThreadPoolExecutor(1))  # one thread: what is asked for later is done later

    def trim() -> None:
        nonlocal times
        times += 1

    trimming = Trimming(SILENT, trim, delay_s=0)
    trimming.stream_ended()

    trimming.close()

    await loop.run_in_executor(None, int)  # by now the timer would have asked for a trim,
    await loop.run_in_executor(None, int)  # and by now it would have been done
    assert times == 0
