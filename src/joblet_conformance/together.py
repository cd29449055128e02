"""
Several things at once, of which nothing goes on when one has failed: the case would be over, and they would not be.

Runs in: the terminal of whoever tests a server. May not: know a case, connect.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

Thing = TypeVar("Thing")


def is_cancelled() -> bool:
    """Somebody wants the current task to end; else a CancelledError is that of something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def together(*works: Awaitable[Thing]) -> list[Thing]:
    """
    What these come to, in their order; in place of `asyncio.gather`, which lets the others go on when one fails.

    Raises:
        Exception: What the first that failed has raised; the others were cancelled, and have ended, by then.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def by(callers: int, works: Iterable[Callable[[], Awaitable[Thing]]]) -> Sequence[Thing]:
    """What these come to, in their order; at most so many at a time. Raises what `together` does."""
    left = iter(enumerate(works))
    done: dict[int, Thing] = {}

    async def call() -> None:
        for at, work in left:
            done[at] = await work()

    await together(*(call() for _ in range(callers)))
    return [done[at] for at in sorted(done)]
