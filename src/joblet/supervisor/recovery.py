"""
What a killed supervisor left, taken over by the next one.

A living init gives back its log pipe, its log's memory and its event descriptor; a dead one left
its status file. Everything else below the state folder and the jobs' cgroup that no record names
was half-made, and goes.

Runs in: supervisor, before it listens: it may read the disk here, nothing waits for it yet.
May not: import outside the standard library.
"""

import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from joblet.logs.overflow import Policy, SpillFile
from joblet.statefolder import StateFolder
from joblet.supervisor.job import Owner, SupervisedJob
from joblet.supervisor.linux.cgroups.tree import Cgroups
from joblet.supervisor.record import Record
from joblet.supervisor.removal import remove_tree
from joblet.supervisor.status import Status, read_status, reattach

log = logging.getLogger("joblet.supervisor")

Found = tuple[SupervisedJob, Status, int]


def recover(owner: Owner, cgroups: Cgroups | None, policy: Policy) -> list[Found]:
    """
    Every job that a predecessor started and nobody has forgotten.

    Returns:
        (job, its status, pidfd of its init or -1): to be handed to `SupervisedJob.adopted` once
        the supervisor knows them all.
    """
    found: list[Found] = []
    for path in sorted(owner.folder.run.iterdir()):
        try:
            status = read_status(path)
        except OSError as error:
            # Left for the next start: its job may be alive, and nothing of it is ours to judge unread.
            log.error("status file cannot be read", {"path": path, "why": error.strerror})
            continue
        record = _record(path, status)
        if status is None or record is None:
            # Its init checks that the supervisor lives only after the whole record is written: it never ran,
            # or it is one that nobody can own any more.
            _end_unknown(status)
            path.unlink(missing_ok=True)
            continue
        found.append(_take_over(owner, cgroups, policy, record, status))
    _remove_unknown(owner.folder, cgroups, {job.job_id: job for job, _, _ in found})
    return found


def _end_unknown(status: Status | None) -> None:
    if status is not None and (init := reattach(status)) is not None:
        signal.pidfd_send_signal(init[0], signal.SIGKILL)
        for fd in init:
            os.close(fd)


def _record(path: Path, status: Status | None) -> Record | None:
    if status is None:
        return None
    try:
        record = Record.decode(status.record)
    except ValueError as error:
        log.warning("status file is not understood", {"path": path, "why": error})
        return None
    return record if record.job_id == path.name else None


def _take_over(owner: Owner, cgroups: Cgroups | None, policy: Policy, record: Record, status: Status) -> Found:
    cgroup = cgroups.reopen(record.job_id) if cgroups is not None and record.cgroup else None
    init = reattach(status)
    log_paths = owner.folder.log(record.job_id), owner.folder.log_times(record.job_id)
    if init is None:
        # What was spilled has lost its place: the memory that told it went with init.
        SpillFile(policy.spill_path(record.job_id)).remove()
        job = SupervisedJob(owner, record, owner.logs.spool(-1, -1, *log_paths), -1, cgroup)
        return job, status, -1
    pidfd, log_read, log_memory, event = init
    os.set_blocking(log_read, False)
    spool = owner.logs.spool(log_read, log_memory, *log_paths)
    return SupervisedJob(owner, record, spool, event, cgroup), status, pidfd


def _remove_unknown(folder: StateFolder, cgroups: Cgroups | None, known: Mapping[str, SupervisedJob]) -> None:
    for work in sorted(folder.work.iterdir()):
        if work.name not in known:
            try:
                remove_tree(os.fsencode(work))
            except OSError as error:
                log.warning("work folder is left", {"path": work, "why": error})
    if cgroups is not None:
        for job_id in cgroups.leftovers():
            if job_id not in known:
                cgroup = cgroups.reopen(job_id)
                cgroup.kill()
                cgroup.remove()
