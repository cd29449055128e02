"""
`joblet logs`: how much the logs of jobs take, and the removal of what is too old or too much.

Works on the files, with and without a server: what a server works on just now is left alone, and of a job that has
not ended, as far as the database knows, nothing is removed.

Runs in: an administrator's terminal. May not: touch the log of a job that has not ended.
Source: docs/administrators.md, "How long logs are kept"; `domain/retention.py`.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, cast

from joblet.admin import places
from joblet.complaint import Complaint, why
from joblet.domain.job import JobId
from joblet.domain.retention import Action, Remove, Rules, Space, StoredLog, Trim, cut_at, shrink, tidy
from joblet.engine.log_metrics import log_metrics
from joblet.engine.protocol import ProtocolError
from joblet.logs.files import LogFiles
from joblet.ports import LogBusy
from joblet.statefolder import StateFolder
from joblet.storage.jobs import ended_jobs
from joblet.yamlkinds import Duration, Kind, NotAllowed, Scalar, Size

LARGEST: Final = 10
_SECOND_NS: Final = 1_000_000_000
_AGE: Final = Duration(1.0, 100 * 365 * 86400.0)
_SIZE: Final = Size(0, 2**63 - 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `main.Verb`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    stat = actions.add_parser("stat", help="count the logs, and say how much of the disk they take")
    places.add_state(stat)
    stat.add_argument("--output", choices=("text", "json"), default="text", help="default: text")
    prune = actions.add_parser("prune", help="remove logs of jobs that have ended; their records stay")
    places.add_state(prune)
    prune.add_argument("--older-than", metavar="DURATION", help="those whose jobs ended longer ago, such as 720h")
    prune.add_argument(
        "--keep-bytes",
        metavar="SIZE",
        help="the oldest, until all logs together take no more, such as 10GiB; with --job, all but its newest bytes",
    )
    prune.add_argument(
        "--job", metavar="ID", help="only this job's, a beginning of the id will do; by itself, all of it"
    )
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def run(options: argparse.Namespace) -> int:
    """See `main.Verb`."""
    folder = StateFolder(places.state(options.state))
    if not folder.logs.is_dir():
        raise Complaint(f"there are no logs in {folder.root}", "name the server's state folder with --state DIR")
    try:
        if options.action == "prune":
            return _prune(folder, options)
        return _stat(folder, as_json=options.output == "json")
    except PermissionError as error:
        raise Complaint(
            f"cannot read the logs of {folder.root}: {why(error)}", "run it as root: sudo joblet logs … --state DIR"
        ) from None


# Prune


def _prune(folder: StateFolder, options: argparse.Namespace) -> int:
    older_than_s = _seconds("--older-than", options.older_than)
    keep_bytes = _bytes("--keep-bytes", options.keep_bytes)
    if older_than_s is None and keep_bytes is None and options.job is None:
        raise Complaint(
            "nothing was said about what to remove", "say it with --older-than, --keep-bytes or --job (see --help)"
        )
    files = LogFiles(folder)
    ended_ns = _ended_jobs(folder)
    logs = files.stored(read_archives=True)
    if options.job is not None:
        chosen = [_only(options.job, logs, ended_ns)]
        actions = _of_one(chosen[0], ended_ns, older_than_s, keep_bytes)
    else:
        actions = _of_all(logs, ended_ns, older_than_s, keep_bytes)
    by_id = {log.job_id: log for log in logs}
    total_bytes, done = 0, 0
    for action in actions:
        freed = _freed(by_id[action.job_id], action) if options.dry_run else _do(files, action)
        if freed is None:
            print(f"{action.job_id}  left: another process works on it, try again later")
            continue
        total_bytes, done = total_bytes + freed, done + 1
        print(f"{action.job_id}  {_words(action)}  {size_text(freed)}")
    would = "would be " if options.dry_run else ""
    print(f"{done} logs {would}pruned, {size_text(total_bytes)} {would}given back")
    return 0


def _of_all(
    logs: Sequence[StoredLog], ended_ns: Mapping[JobId, int], older_than_s: float | None, keep_bytes: int | None
) -> Sequence[Action]:
    """By age first; what then is still too much, by who ended first."""
    rules = Rules(max_age_s=older_than_s or 0.0)
    old = [action for action in tidy(rules, logs, ended_ns, now_ns=time.time_ns()) if isinstance(action, Remove)]
    if keep_bytes is None:
        return old
    gone = {action.job_id for action in old}
    left = [log for log in logs if log.job_id not in gone]
    if keep_bytes == 0:
        return [*old, *(Remove(log.job_id) for log in left if log.job_id in ended_ns)]
    return [*old, *shrink(Rules(max_bytes=keep_bytes), left, ended_ns)]


def _of_one(
    log: StoredLog, ended_ns: Mapping[JobId, int], older_than_s: float | None, keep_bytes: int | None
) -> Sequence[Action]:
    if older_than_s is not None and time.time_ns() - ended_ns[log.job_id] <= older_than_s * _SECOND_NS:
        return []
    if not keep_bytes:
        return [Remove(log.job_id)]
    if not log.plain:
        raise Complaint(
            f"the log of job {log.job_id} is compressed: it can only be removed whole", "leave --keep-bytes out"
        )
    first_bytes = cut_at(log, keep_bytes)
    return [Trim(log.job_id, first_bytes)] if first_bytes else []


def _only(id_or_prefix: str, logs: Sequence[StoredLog], ended_ns: Mapping[JobId, int]) -> StoredLog:
    prefix = id_or_prefix.lower()
    found = [log for log in logs if prefix and log.job_id.startswith(prefix)]
    if not found:
        raise Complaint(
            f"there is no log of job {id_or_prefix}", "joblet logs stat lists the largest; rnx list, all jobs"
        )
    if len(found) > 1:
        raise Complaint(f"{len(found)} jobs with a log have an id that begins with {id_or_prefix}", "give more of it")
    if found[0].job_id not in ended_ns:
        raise Complaint(
            f"job {found[0].job_id} has not ended: its log is not touched",
            "logs.maxBytesPerJob keeps the log of a running job short",
        )
    return found[0]


def _do(files: LogFiles, action: Action) -> int | None:
    """Bytes freed; None when it could not be done now."""
    try:
        if isinstance(action, Trim):
            return files.trim(action.job_id, action.first_bytes)
        return files.remove(action.job_id)
    except LogBusy:
        return None
    except PermissionError:
        raise
    except OSError as error:
        raise Complaint(f"cannot prune the log of job {action.job_id}: {why(error)}") from None


def _freed(log: StoredLog, action: Action) -> int:
    """What it would free, as near as can be told."""
    if isinstance(action, Trim):
        return min(log.disk_bytes, action.first_bytes - log.first_bytes)
    return log.disk_bytes


def _words(action: Action) -> str:
    return f"cut before byte {action.first_bytes}" if isinstance(action, Trim) else "removed"


def _parsed(flag: str, text: str, kind: Kind) -> object:
    """
    A flag's value, in the code's unit.

    Raises:
        Complaint: It is not allowed.
    """
    try:
        return kind.parse(Scalar(text))
    except NotAllowed as error:
        raise Complaint(f"{flag} {error}", f"allowed: {kind.allowed}") from None


def _seconds(flag: str, text: str | None) -> float | None:
    return None if text is None else cast("float", _parsed(flag, text, _AGE))


def _bytes(flag: str, text: str | None) -> int | None:
    return None if text is None else cast("int", _parsed(flag, text, _SIZE))


def _ended_jobs(folder: StateFolder) -> Mapping[JobId, int]:
    return ended_jobs(folder.database) if folder.database.exists() else {}


# Stat


def _stat(folder: StateFolder, *, as_json: bool) -> int:
    files = LogFiles(folder)
    logs = files.stored(read_archives=True)
    metrics = _metrics(folder)
    figures = {**counted(logs, files.space(), _ended_jobs(folder)), "metrics": metrics}
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        for line in _lines(logs, files.space(), _ended_jobs(folder), metrics):
            print(line)
    return 0


def counted(logs: Sequence[StoredLog], space: Space, ended_ns: Mapping[JobId, int]) -> dict[str, object]:
    """What is there, for programs. Fields may be added, none is ever renamed."""
    archives = [log for log in logs if log.archived and not log.plain]
    return {
        "logs": len(logs),
        "logsOfRunningJobs": sum(log.job_id not in ended_ns for log in logs),
        "apparentBytes": sum(log.size_bytes for log in logs),
        "keptBytes": sum(log.size_bytes - log.first_bytes for log in logs),
        "diskBytes": sum(log.disk_bytes for log in logs),
        "cutLogs": sum(log.first_bytes > 0 for log in logs),
        "archives": {
            "number": len(archives),
            "keptBytes": sum(log.size_bytes - log.first_bytes for log in archives),
            "diskBytes": sum(log.disk_bytes for log in archives),
        },
        "largest": [
            {
                "id": log.job_id,
                "diskBytes": log.disk_bytes,
                "apparentBytes": log.size_bytes,
                "firstByte": log.first_bytes,
                "archived": log.archived and not log.plain,
                "endTime": _time(ended_ns.get(log.job_id)),
            }
            for log in sorted(logs, key=lambda log: -log.disk_bytes)[:LARGEST]
        ],
        "fileSystem": {"sizeBytes": space.size_bytes, "freeBytes": space.free_bytes},
    }


def _lines(
    logs: Sequence[StoredLog], space: Space, ended_ns: Mapping[JobId, int], metrics: Mapping[str, float] | None
) -> Iterator[str]:
    archives = [log for log in logs if log.archived and not log.plain]
    kept_bytes = sum(log.size_bytes - log.first_bytes for log in archives)
    packed_bytes = sum(log.disk_bytes for log in archives)
    yield f"logs          {len(logs)}, of running jobs {sum(log.job_id not in ended_ns for log in logs)}"
    yield f"size          {size_text(sum(log.size_bytes for log in logs))}"
    yield f"on the disk   {size_text(sum(log.disk_bytes for log in logs))}"
    yield f"cut           {sum(log.first_bytes > 0 for log in logs)}"
    inside = f", {size_text(kept_bytes)} in {size_text(packed_bytes)}" if archives else ""
    ratio = f" ({kept_bytes / packed_bytes:.1f} : 1)" if packed_bytes else ""
    yield f"archives      {len(archives)}{inside}{ratio}"
    yield f"file system   {size_text(space.free_bytes)} free of {size_text(space.size_bytes)} ({space.used:.0%} used)"
    if logs:
        yield ""
        yield f"{'job':<36}  {'on the disk':>11}  {'size':>11}  ended"
    for log in sorted(logs, key=lambda log: -log.disk_bytes)[:LARGEST]:
        ended = _time(ended_ns.get(log.job_id)) or "no"
        notes = [
            note for note, true in (("archive", log.archived and not log.plain), ("cut", log.first_bytes > 0)) if true
        ]
        what = f"  ({', '.join(notes)})" if notes else ""
        yield f"{log.job_id}  {size_text(log.disk_bytes):>11}  {size_text(log.size_bytes):>11}  {ended}{what}"
    if metrics is not None:
        yield ""
        yield from (f"{name:<36}  {json.dumps(value)}" for name, value in metrics.items())


def _metrics(folder: StateFolder) -> Mapping[str, float] | None:
    """
    What the supervisor counts; None when none runs.

    Raises:
        Complaint: It cannot be asked.
    """
    try:
        return log_metrics(folder)
    except (OSError, ProtocolError) as error:
        raise Complaint(
            f"the supervisor of {folder.root} does not say what it counts: {error}", "see supervisor.log there"
        ) from None


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else f"{datetime.fromtimestamp(at_ns // _SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"


def size_text(size_bytes: int) -> str:
    """Bytes for people: 1.5 MiB."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"
