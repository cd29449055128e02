"""
Work that goes on whoever asked for it has gone, and work beside the loop.

Runs in: server loop. May not: judge what the work is for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from joblet.domain.errors import JobletError
from joblet.ports import Journal

T = TypeVar("T")


class Aside(Protocol):
    """Does what takes long without holding the loop: `asyncio.to_thread`, or at once in a test."""

    def __call__(self, work: Callable[[], T], /) -> Awaitable[T]: ...


class Tasks:
    """The tasks of one service; what none of them should raise is in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin with it. Shield the task from a caller that is cancelled."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def wait(self, timeout_s: float) -> None:
        """Until all that are under way now are done, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def cancel(self) -> None:
        """All that are left."""
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Retrieved here too: the caller that would have got it may be gone.
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, JobletError):
            self._journal.log("ERROR", "internal error", error=repr(error))
