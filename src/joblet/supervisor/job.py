"""
One job's life in the supervisor, from its launch to the moment nothing of it is left.

    launch ─► set-up ──────► running ──────► concluding ──────► ended
              │ failed       │ stop: SIGTERM, 100 ms, SIGKILL   told, kept until forgotten
              └► refused     └ timeout: the same

Concluding, in this order: the command's end is known and nobody of the job can write any more;
the rest of the pipe goes to the spool; the spool goes to disk, then the line that tells the end;
init is released (killed); its cgroup and work folder go; the end is told. A supervisor killed
anywhere in between finds, when it comes back, either a living init that still holds the log's
memory, or the line that tells the end.

Runs in: supervisor. May not: block, import outside the standard library.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final, Protocol

from joblet.domain.job import STOP_GRACE_MS, Usage
from joblet.engine.protocol import JobEnd
from joblet.logs.spool import Spool
from joblet.logs.system import AsyncLogSystem
from joblet.logs.writer import RETRY_S, Finish
from joblet.statefolder import StateFolder
from joblet.supervisor.drain import Drain
from joblet.supervisor.linux.cgroups.tree import Cgroup, LimitEvents
from joblet.supervisor.linux.pidfd import WALL
from joblet.supervisor.loop import Loop, Timer
from joblet.supervisor.outcome import Evidence, job_end, set_up_failure, stop_reason, timeout_words
from joblet.supervisor.record import Record
from joblet.supervisor.status import Status, read_status

_CGROUP_RETRY_S: Final = 0.01
# Init has a part of its job's share of CPU: one that a busy job leaves too little comes late, a frozen one never.
_PASSED_ON_WITHIN_S: Final = 5.0


class Owner(Protocol):
    """What a job needs of the supervisor that owns it."""

    loop: Loop
    logs: AsyncLogSystem
    folder: StateFolder
    cleanup_timeout_s: float

    def remove_tree(self, path: Path, done: Callable[[], None]) -> None:
        """Remove what a job left in its work folder, then call back, whether or not all of it is gone."""

    def job_started(self, job: "SupervisedJob") -> None:
        """Its command runs (or could not be executed and has already ended)."""

    def job_refused(self, job: "SupervisedJob", words: str) -> None:
        """Its set-up failed and nothing is left."""

    def job_ended(self, job: "SupervisedJob", end: JobEnd) -> None:
        """It is over and nothing is left."""

    def held(self, drain: Drain) -> None:
        """There is no memory for a job's output now."""

    def warn(self, level: str, message: str, **fields: str) -> None:
        """A line for the server log."""


class SupervisedJob:
    """
    One job.

    Args:
        event_fd: Its init adds 1 whenever it has written to the status file.
    """

    def __init__(self, owner: Owner, record: Record, spool: Spool, event_fd: int, cgroup: Cgroup | None) -> None:
        self.owner = owner
        self.record = record
        self.job_id = record.job_id
        self.spool = spool
        self.cgroup = cgroup
        self.pid = 0
        self.started_ns = 0
        self._status_path = owner.folder.status(record.job_id)
        self._work_path = owner.folder.work_of(record.job_id)
        self._event_fd = event_fd
        self._pidfd = -1
        self._init_gone = False
        self._stop_reason: str | None = None
        self._timeout: Timer | None = None
        self._drain = Drain(owner.loop, owner.logs, spool, owner.held)
        self._set_up_failure: str | None = None
        self._end: JobEnd | None = None
        self._in_grace = self._stored = self._removing = self._work_gone = self._cleaning = False
        self._cgroup_deadline_s: float | None = None

    @property
    def concluding(self) -> bool:
        """Whether its end is known and on its way: only what is left of the job has still to go."""
        return self._end is not None

    @property
    def setting_up(self) -> bool:
        """Whether it is still open that its command will run."""
        return not self.started_ns and self._end is None

    # Launch

    def launched(self, pid: int, pidfd: int) -> None:
        """Init exists. From now on its status file and its pidfd tell what happens."""
        self.pid = pid
        self._pidfd = pidfd
        loop = self.owner.loop
        loop.watch(self._event_fd, self._status_changed)
        loop.watch(pidfd, self._init_died)
        self._drain.start()

    def launch_failed(self, words: str) -> None:
        """No process came into being."""
        self._set_up_failure = words
        self._init_gone = True
        self._conclude_set_up()

    def adopted(self, status: Status, pidfd: int) -> None:
        """
        A predecessor's job is ours now.

        Args:
            pidfd: Of its init; -1 when that is gone.
        """
        self.started_ns = status.running_ns or 0
        if pidfd >= 0:
            self.launched(status.pid, pidfd)
            if self.started_ns:
                self._arm_timeout()
            self._status_changed(0)
            return
        self._init_gone = True
        self.started_ns = status.may_have_run_ns
        if status.stopping_ns is not None:
            self._begin_grace(status.stopping_ns)
        if self._adopt_end(status):
            return
        if status.failed is not None or not self.started_ns:
            self._set_up_failure = status.failed or "the supervisor was killed while it was being set up"
            self._conclude_set_up()
        else:
            self._conclude(status)

    # Stop

    def stop(self, reason: str) -> None:
        """SIGTERM to its process group, STOP_GRACE_MS, SIGKILL to all of it. Later calls change nothing."""
        if self._stop_reason is not None or self._end is not None:
            return
        self._stop_reason = reason
        if self.started_ns:
            self._terminate()

    def _terminate(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        self.owner.loop.after(_PASSED_ON_WITHIN_S, lambda: None if self._in_grace else self._kill())

    def _begin_grace(self, stopping_ns: int) -> None:
        """Its process group has the SIGTERM, from us or from a predecessor that did not live to finish the stop."""
        self._in_grace = True
        if self._stop_reason is None:
            self._stop_reason = stop_reason(stopping_ns, self.started_ns, self.record.timeout_s)
        self.owner.loop.after(STOP_GRACE_MS / 1000, self._kill)

    def _kill(self) -> None:
        if self._end is not None or self._init_gone:
            return
        if self.cgroup is not None:
            self.cgroup.kill()
        self._kill_init()

    def _kill_init(self) -> None:
        # The kernel ends everything in a PID namespace with its init (pid_namespaces(7)).
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _arm_timeout(self) -> None:
        if self.record.timeout_s:
            left_s = self.record.timeout_s - (time.time_ns() - self.started_ns) / 1e9
            self._timeout = self.owner.loop.after(max(0.0, left_s), self._timed_out)

    def _timed_out(self) -> None:
        if self._end is None and self._stop_reason is None:
            self.owner.warn("WARN", "job timed out", jobId=self.job_id, timeout=f"{self.record.timeout_s:g}s")
        self.stop(timeout_words(self.record.timeout_s))

    # What init tells

    def _status_changed(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._event_fd)
        if self._end is not None:
            return
        status = self._read_status()
        if status is None:
            return
        if status.failed is not None and not self.started_ns:
            self._set_up_failure = status.failed
        elif status.running_ns is not None and not self.started_ns:
            self._running(status.running_ns)
        if status.stopping_ns is not None and not self._in_grace:
            self._begin_grace(status.stopping_ns)
        if not self._adopt_end(status) and status.exited is not None:
            self._conclude(status)

    def _read_status(self) -> Status | None:
        try:
            return read_status(self._status_path)
        except OSError as error:  # one job's file must not end the supervisor
            self.owner.warn("ERROR", "status file unreadable", jobId=self.job_id, why=str(error))
            return None

    def _running(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.owner.job_started(self)
        if self._stop_reason is not None:
            self._terminate()
        else:
            self._arm_timeout()

    def _init_died(self, _events: int) -> None:
        end = None
        with contextlib.suppress(ChildProcessError):  # a predecessor's job is another process's child
            end = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | WALL)
        self.owner.loop.forget(self._pidfd)
        self._status_changed(0)
        self._init_gone = True
        if self._end is None and not self.started_ns and self._set_up_failure is None:
            status = self._read_status()
            if status is not None and status.may_have_run_ns:
                self._running(status.may_have_run_ns)
            elif self.cgroup is not None and self.cgroup.oom_kills():
                # Its memory does not do even for its start: that is an end like any other for want of memory.
                self._running(time.time_ns())
            else:
                self._set_up_failure = set_up_failure(end)
        if self.started_ns:
            self._conclude(self._read_status())
        elif self._end is None:
            self._conclude_set_up()
        self._clean_up()

    # Conclusion

    def _conclude_set_up(self) -> None:
        """Take back a job that never ran; told once nothing is left."""
        self._end = self._job_end(Evidence(None), ended_ns=time.time_ns(), usage=Usage())
        self._drain.stop()
        self._cancel_timers()
        self.owner.logs.writer.finish(Finish(self.spool, self._work_path, None, b""))

    def _conclude(self, status: Status | None) -> None:
        """The command has ended (or its init has) and no process of the job is left but init."""
        if self._end is not None:
            return
        self._cancel_timers()
        if not self._drain.finish():
            self.owner.loop.after(RETRY_S, lambda: self._conclude(status))
            return
        exited = status.exited if status is not None else None
        evidence = Evidence(
            wait_status=None if exited is None else exited.wait_status,
            stop_reason=self._stop_reason,
            oom_kills=0 if self.cgroup is None else self.cgroup.oom_kills(),
            failure="" if exited is None else exited.failure,
            memory_max_bytes=self.record.memory_max_bytes,
            unwatched=self._pidfd < 0,
        )
        usage = Usage() if exited is None else exited.usage
        if self.cgroup is not None:
            usage = self.cgroup.usage()
            self._warn_of_limits(self.cgroup)
        self._end = self._job_end(evidence, time.time_ns() if exited is None else exited.ended_ns, usage)
        line = b"end " + json.dumps(asdict(self._end)).encode() + b"\n"
        self.owner.logs.writer.finish(Finish(self.spool, self._work_path, self._status_path, line))

    def _warn_of_limits(self, cgroup: Cgroup) -> None:
        met = cgroup.limit_events().since(LimitEvents())
        met.pop("cpu_throttled_usec", None)  # waiting for its share of CPU is no violation
        if met:
            self.owner.warn(
                "WARN", "resource limit reached", jobId=self.job_id, **{name: str(by) for name, by in met.items()}
            )

    def _adopt_end(self, status: Status) -> bool:
        """Whether a predecessor stored the log and this end; what is left is then to clean up."""
        if status.end is None:
            return False
        try:
            self._end = JobEnd(**json.loads(status.end))
        except (ValueError, TypeError) as error:  # another version's: the evidence is still there
            self.owner.warn("WARN", "stored end unreadable", jobId=self.job_id, why=str(error))
            return False
        self._cancel_timers()
        self._drain.stop()
        self.owner.logs.writer.finish(Finish(self.spool, self._work_path, None, b""))
        return True

    def _job_end(self, evidence: Evidence, ended_ns: int, usage: Usage) -> JobEnd:
        return job_end(self.job_id, evidence, self.started_ns, ended_ns, self.spool.conclude(), usage)

    def finishing(self, task: Finish) -> None:
        """The disk thread has looked at its work folder, and perhaps stored all of its log."""
        if not self._removing:
            # Not only when the log is stored: on a full disk it may be this folder that leaves no room for the log.
            self._removing = True
            if task.work_left:
                self.owner.remove_tree(self._work_path, self._work_removed)
            else:
                self._work_removed()
        if task.stored and not self._stored:
            self._stored = True
            self._kill_init()
            self._clean_up()

    def _work_removed(self) -> None:
        if os.path.lexists(self._work_path):
            self.owner.warn("WARN", "work folder not removed", jobId=self.job_id, path=str(self._work_path))
        self._work_gone = True
        self._clean_up()

    def _clean_up(self) -> None:
        if not (self._stored and self._work_gone and self._init_gone) or self._cleaning:
            return
        self._cleaning = True
        self.owner.loop.forget(self._event_fd)
        for fd in (self._event_fd, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self.spool.close()
        self._remove_cgroup()

    def _remove_cgroup(self) -> None:
        if self.cgroup is not None and not self.cgroup.remove():
            now_s = time.monotonic()
            if self._cgroup_deadline_s is None:
                self._cgroup_deadline_s = now_s + self.owner.cleanup_timeout_s
            if now_s < self._cgroup_deadline_s:
                self.owner.loop.after(_CGROUP_RETRY_S, self._remove_cgroup)
                return
            self.owner.warn("WARN", "cgroup not removed within cleanupTimeout", jobId=self.job_id)
        assert self._end is not None
        if self._set_up_failure is not None:
            self.owner.job_refused(self, self._set_up_failure)
        else:
            self.owner.job_ended(self, self._end)

    def _cancel_timers(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
