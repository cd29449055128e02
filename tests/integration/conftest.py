"""
The installed Joblet, for every test of this folder.

Runs in: pytest in the test machine, as root (`nox -s integration`). May not: leave a job running.
"""

from collections.abc import Iterator

import pytest
from installed import Installed


@pytest.fixture(scope="session")
def joblet() -> Iterator[Installed]:
    """The server that systemd runs, and an administrator's connection to it."""
    with Installed() as installed:
        installed.until_it_answers()
        yield installed


@pytest.fixture(autouse=True)
def _no_job_is_left(joblet: Installed) -> Iterator[None]:
    """Jobs that a failed test leaves running would take the next test's share of the machine."""
    yield
    joblet.stop_all()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that tests record, also for whoever does not read the JUnit file."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name} = {value}")
