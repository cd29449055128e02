"""
All that a job needs before its init can be launched: cgroup, pipe, memory, spool, and the request that names them.

Runs in: supervisor. May not: block, import outside the standard library.
"""

import contextlib
import os
from collections.abc import Mapping
from typing import Final

from joblet.domain.limits import Limits
from joblet.engine.protocol import StartJob
from joblet.logs.memfd import memory_file
from joblet.logs.pipe import output_pipe
from joblet.supervisor.job import Owner, SupervisedJob
from joblet.supervisor.launcher import LaunchRequest
from joblet.supervisor.linux.cgroups.tree import Cgroups
from joblet.supervisor.record import Record

FIRST_JOB_UID: Final = 1_900_000_000  # above every range that systemd's UIDS-GIDS document assigns
# Nothing of the server's own environment reaches a job; what it sets itself wins over these.
BASE_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/work",
    "USER": "job",
    "LOGNAME": "job",
    "SHELL": "/bin/sh",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
}


def prepare(
    owner: Owner, wanted: StartJob, slot: int, cgroups: Cgroups | None, *, nproc_max: int
) -> tuple[SupervisedJob, LaunchRequest]:
    """
    The job that was asked for, and what its launch needs.

    Args:
        slot: Of the job's user id.
        cgroups: None where limits are not enforced.
        nproc_max: Processes and threads it may have.

    Raises:
        CgroupError, OSError: Nothing of it is left.
    """
    limits = Limits(wanted.cpu_max_percent, wanted.cpu_cores, wanted.memory_max_bytes, wanted.io_max_bytes_per_s)
    cgroup = None
    with contextlib.ExitStack() as undo:
        if cgroups is not None:
            cgroup = cgroups.create(wanted.job_id, limits, owner.folder.work)
            undo.callback(cgroup.remove)
        log_read, log_write = output_pipe()
        undo.callback(os.close, log_read)
        undo.callback(os.close, log_write)
        # Its own, so that it can open /dev/stdout; for writing only: what it read would be missing from its log.
        os.fchown(log_write, FIRST_JOB_UID + slot, FIRST_JOB_UID + slot)
        os.fchmod(log_write, 0o200)
        memory = memory_file(wanted.job_id)
        undo.callback(os.close, memory)
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        undo.callback(os.close, event)
        spool = owner.logs.spool(
            log_read, memory, owner.folder.log(wanted.job_id), owner.folder.log_times(wanted.job_id)
        )
        undo.pop_all()
    record = Record(wanted.job_id, slot, wanted.timeout_s, wanted.memory_max_bytes, cgroup is not None)
    job = SupervisedJob(owner, record, spool, event, cgroup)
    request = LaunchRequest(
        job_id=wanted.job_id,
        argv=wanted.argv,
        environment={**BASE_ENVIRONMENT, "HOSTNAME": wanted.job_id.partition("-")[0], **wanted.environment},
        work_dir=wanted.work_dir,
        uid=FIRST_JOB_UID + slot,
        record=record.encode(),
        log_read_fd=log_read,
        log_write_fd=log_write,
        log_memfd=memory,
        event_fd=event,
        cgroup_fd=-1 if cgroup is None else cgroup.fd,
        nproc_max=nproc_max,
    )
    return job, request
