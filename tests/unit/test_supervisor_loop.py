"""
The supervisor's loop: what is due happens, what was cancelled does not, and costs nothing.

Runs in: pytest, in real time of a few milliseconds.
"""

import os

from joblet.supervisor.loop import Loop


def test_timers_fire_in_the_order_of_their_moments() -> None:
    loop = Loop()
    fired: list[str] = []
    loop.after(0.002, lambda: fired.append("second"))
    loop.after(0.001, lambda: fired.append("first"))
    loop.after(0.001, lambda: fired.append("never")).cancel()
    loop.after(0.003, loop.stop)

    loop.run()

    assert fired == ["first", "second"]


def test_a_timer_beyond_what_the_kernel_counts_is_waited_for() -> None:
    """epoll_wait takes 24.8 days at most; a job may run longer."""
    loop = Loop()
    read_end, write_end = os.pipe()
    loop.after(3e9, lambda: None)
    loop.watch(read_end, lambda _events: loop.stop())
    os.write(write_end, b"x")

    loop.run()

    os.close(read_end)
    os.close(write_end)


def test_cancelled_timers_are_not_kept_until_they_would_be_due() -> None:
    loop = Loop()
    kept = loop.after(3600, lambda: None)
    for _ in range(10_000):
        loop.after(3600, lambda: None).cancel()

    assert loop.timers < 1000
    assert kept.waits


def test_a_descriptor_forgotten_by_an_earlier_callback_stays_silent() -> None:
    loop = Loop()
    ends = [os.pipe() for _ in range(2)]
    heard: list[int] = []

    def hear(number: int) -> None:
        heard.append(number)
        loop.forget(ends[1 - number][0])
        loop.stop()

    for number, (read_end, write_end) in enumerate(ends):
        os.write(write_end, b"x")
        loop.watch(read_end, lambda _events, number=number: hear(number))  # type: ignore[misc]

    loop.run()

    assert len(heard) == 1
    for fd in (fd for pair in ends for fd in pair):
        os.close(fd)
