"""
The machine that `nox -s integration` has brought up, for every test of this folder.

Runs in: pytest on the machine's host. May not: leave a job running.
"""

from collections.abc import Iterator

import pytest
from hypervisor import choose, look
from machine import Machine
from remote import FILES, Remote


@pytest.fixture(scope="session")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    """Joblet on that machine."""
    machine = Machine(choose(look()))
    assert machine.answers(), "the test machine does not run: nox -s integration brings it up"
    certificates = tmp_path_factory.mktemp("certificates")
    for file in FILES:
        machine.get(f"/opt/joblet/certs/{file}", certificates / file)
    remote = Remote(machine, certificates)
    yield remote
    with remote.connected() as client:
        for job in client.list_jobs():
            if not job.ended:
                client.stop_job(job.id)
