"""`joblet logs`, as an administrator types it, beside the files and the database of a server."""

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joblet.admin.logs import size_text
from joblet.admin.main import main
from joblet.domain.job import Ended, Job, JobId, JobSpec, JobState, Phase, Running
from joblet.domain.limits import Limits
from joblet.engine.protocol import LogMetrics, LogStat, encode
from joblet.logs.files import LogFiles
from joblet.statefolder import StateFolder
from joblet.storage.jobs import JobStoreConfig, open_job_store
from joblet.testing.contracts.log_store import an_id

MIB = 1024 * 1024
HOUR_NS = 3600 * 1_000_000_000
Logs = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    folder = StateFolder(tmp_path / "state")
    folder.create()
    return folder


@pytest.fixture
def logs(folder: StateFolder, capsys: pytest.CaptureFixture[str]) -> Logs:
    """Runs `joblet logs`; gives exit status, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["logs", *arguments, "--state", str(folder.root)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def some_jobs(folder: StateFolder, *ended_hours_ago: float | None) -> list[JobId]:
    """Jobs with a log of 1 MiB each; None: it runs."""
    now_ns = time.time_ns()
    ids = []

    async def store() -> None:
        jobs = open_job_store(JobStoreConfig(folder.database))
        for hours in ended_hours_ago:
            job_id = an_id()
            phase: Phase = Running(now_ns, 1)
            if hours is not None:
                phase = Ended(JobState.COMPLETED, 0, 1, now_ns - round(hours * HOUR_NS), log_bytes=MIB)
            await jobs.add(Job(job_id, JobSpec("true", (), Limits(100, "", MIB, 0), 0), now_ns, phase))
            folder.log(job_id).write_bytes(b"a line of a log\n" * 65_536)
            ids.append(job_id)
        await jobs.close()

    asyncio.run(store())
    return ids


def left(folder: StateFolder) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in folder.logs.glob("*.log*"))


def test_stat_counts_logs_archives_and_holes(folder: StateFolder, logs: Logs) -> None:
    plain, cut, packed, running = some_jobs(folder, 1, 2, 3, None)
    LogFiles(folder).trim(cut, MIB // 2)
    LogFiles(folder).compress(packed)

    status, out, err = logs("stat")

    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "logs          4, of running jobs 1"
    assert lines[1] == "size          4.0 MiB"
    assert lines[2].startswith("on the disk   2.5 MiB")
    assert lines[3] == "cut           1"
    assert lines[4].startswith("archives      1, 1.0 MiB in ")
    assert lines[5].startswith("file system   ")
    for job_id, words in ((plain, "Z"), (cut, "(cut)"), (packed, "(archive)"), (running, "no")):
        [line] = [line for line in lines if job_id in line]
        assert line.endswith(words)


def test_stat_in_json_has_the_same_figures(folder: StateFolder, logs: Logs) -> None:
    *_, packed = some_jobs(folder, 1, 2)
    LogFiles(folder).compress(packed)

    figures = json.loads(logs("stat", "--output", "json")[1])

    assert (figures["logs"], figures["apparentBytes"], figures["archives"]["number"]) == (2, 2 * MIB, 1)
    assert figures["archives"]["keptBytes"] > 50 * figures["archives"]["diskBytes"]
    assert figures["largest"][0]["diskBytes"] >= MIB
    assert {"sizeBytes", "freeBytes"} == set(figures["fileSystem"])
    assert figures["metrics"] is None


@contextlib.contextmanager
def supervisor_that_says(folder: StateFolder, answer: bytes) -> Iterator[None]:
    """Whoever asks it anything gets this, and then the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder.socket))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(1000) == encode(LogStat())
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()
    folder.socket.unlink()


def test_stat_shows_what_the_supervisor_counts(folder: StateFolder, logs: Logs) -> None:
    counted = LogMetrics({"queueDepth": 3, "writeP99S": 0.25})

    with supervisor_that_says(folder, encode(counted)):
        status, out, _ = logs("stat")
    with supervisor_that_says(folder, encode(counted)):
        figures = json.loads(logs("stat", "--output=json")[1])

    assert status == 0
    assert [line.split() for line in out.splitlines()[-2:]] == [["queueDepth", "3"], ["writeP99S", "0.25"]]
    assert figures["metrics"] == counted.values


def test_stat_says_when_the_supervisor_does_not_answer(folder: StateFolder, logs: Logs) -> None:
    with supervisor_that_says(folder, b""):
        status, _, err = logs("stat")

    assert status == 1
    assert err.startswith(f"joblet: the supervisor of {folder.root} does not say what it counts: ")


def test_prune_removes_what_is_older(folder: StateFolder, logs: Logs) -> None:
    old, young, running = some_jobs(folder, 30, 20, None)

    status, out, _ = logs("prune", "--older-than", "24h")

    assert status == 0
    assert out.splitlines() == [f"{old}  removed  1.0 MiB", "1 logs pruned, 1.0 MiB given back"]
    assert left(folder) == sorted((young, running))


def test_prune_removes_the_oldest_until_the_rest_is_small_enough(folder: StateFolder, logs: Logs) -> None:
    ids = some_jobs(folder, 1, 4, 3, 2, None)

    status, out, _ = logs("prune", "--keep-bytes", "3MiB")

    assert status == 0
    assert [line.partition("  ")[0] for line in out.splitlines()[:-1]] == [ids[1], ids[2]]
    assert left(folder) == sorted((ids[0], ids[3], ids[4]))


def test_prune_of_everything_leaves_what_runs(folder: StateFolder, logs: Logs) -> None:
    *_, running = some_jobs(folder, 1, 2, None)
    folder.log(an_id()).write_bytes(b"of a job that nobody knows")

    logs("prune", "--keep-bytes", "0")

    assert running in left(folder)
    assert len(left(folder)) == 2


def test_a_dry_run_removes_nothing_and_says_the_same(folder: StateFolder, logs: Logs) -> None:
    ids = some_jobs(folder, 30, 20, 10)

    tried = logs("prune", "--older-than=24h", "--keep-bytes=1MiB", "--dry-run")[1]
    assert left(folder) == sorted(ids)
    done = logs("prune", "--older-than=24h", "--keep-bytes=1MiB")[1]

    assert tried.splitlines()[:-1] == done.splitlines()[:-1]
    assert tried.splitlines()[-1] == "2 logs would be pruned, 2.0 MiB would be given back"


def test_one_log_is_removed_or_cut(folder: StateFolder, logs: Logs) -> None:
    gone, cut, stays = some_jobs(folder, 1, 2, 3)

    assert logs("prune", "--job", gone[:13])[0] == 0
    status, out, _ = logs("prune", "--job", cut.upper(), "--keep-bytes", "256KiB")

    assert status == 0
    assert out.startswith(f"{cut}  cut before byte 786432  76")  # KiB, less what it costs to say so
    assert left(folder) == sorted((cut, stays))
    assert folder.log(cut).stat().st_size == MIB
    assert logs("prune", "--job", stays, "--older-than", "4h")[1] == "0 logs pruned, 0 B given back\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing was said about what to remove"),
        (["--job", "none"], "there is no log of job none"),
        (["--job", ""], "there is no log of job "),
        (["--older-than", "30d"], "--older-than 30d is not a duration"),
        (["--older-than", "30"], "--older-than 30 has no unit; did you mean 30s?"),
        (["--keep-bytes", "1TB"], "--keep-bytes 1TB is not a size"),
    ],
)
def test_what_cannot_be_meant_is_a_complaint(folder: StateFolder, logs: Logs, arguments: list[str], words: str) -> None:
    ids = some_jobs(folder, 100)

    status, out, err = logs("prune", *arguments)

    assert (status, out) == (1, "")
    assert err.splitlines()[0] == f"joblet: {words}"
    assert left(folder) == ids


def test_the_log_of_a_running_job_is_not_touched(folder: StateFolder, logs: Logs) -> None:
    [running] = some_jobs(folder, None)

    status, _, err = logs("prune", "--job", running)

    assert status == 1
    assert f"job {running} has not ended: its log is not touched" in err
    assert left(folder) == [running]


def test_a_log_that_the_server_works_on_is_left_and_said_so(folder: StateFolder, logs: Logs) -> None:
    [job_id] = some_jobs(folder, 1)
    outs: list[str] = []

    LogFiles(folder, step=lambda done: outs.append(logs("prune", "--job", job_id)[1])).trim(job_id, 8192)

    assert outs[0].splitlines() == [
        f"{job_id}  left: another process works on it, try again later",
        "0 logs pruned, 0 B given back",
    ]
    assert left(folder) == [job_id]


def test_a_folder_that_is_none_is_a_complaint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "stat", "--state", str(tmp_path)]) == 1

    assert capsys.readouterr().err.splitlines()[0] == f"joblet: there are no logs in {tmp_path}"


def test_a_database_that_is_none_is_a_complaint(folder: StateFolder, logs: Logs) -> None:
    folder.database.write_bytes(os.urandom(4096))

    status, _, err = logs("prune", "--older-than", "1h")

    assert status == 1
    assert err.startswith(f"joblet: cannot read the database {folder.database}: ")


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 * MIB, "5.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (1 << 52, "4096.0 TiB"),
    ],
)
def test_sizes_are_told_in_the_largest_unit(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text
