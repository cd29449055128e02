"""`joblet down`, on processes that stand in for server and supervisor; the real ones are in tests/native."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from joblet.admin import places
from joblet.admin.down import down, is_ours
from joblet.admin.main import main
from joblet.complaint import Complaint
from joblet.statefolder import StateFolder

# Binds the socket, says so, then does what it is told: "<running ids> <ids that end after Down>".
SUPERVISOR = """
import os, socket, sys, time
from pathlib import Path
from joblet.engine.protocol import *
from joblet.statefolder import StateFolder
folder, running, ends = StateFolder(Path(sys.argv[2])), sys.argv[3].split(), sys.argv[4].split()
folder.supervisor_lock.write_text(f"{os.getpid()}\\n")
folder.socket.unlink(missing_ok=True)
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(folder.socket))
listener.listen()
print("ready", flush=True)
connection, _ = listener.accept()
frames = Frames()
def received():
    while data := connection.recv(65536):
        yield from frames.feed(data)
for message in received():
    if isinstance(message, Hello):
        if running == ["dies"]:
            folder.socket.unlink()
            sys.exit()
        connection.sendall(encode(Attach(VERSION, {job: [1, 2] for job in running}, [], "yes")))
    if isinstance(message, Down):
        for job in ends:
            ended_ns = 2 if job == "old" else time.time_ns()
            connection.sendall(encode(JobEnd(job, "STOPPED", -1, 1, ended_ns, "", 0, False, 0, 0, 0, 0, 0)))
        folder.socket.unlink()
        break
"""

SERVER = """
import os, signal, sys
from pathlib import Path
Path(sys.argv[2], "server.lock").write_text(f"{os.getpid()}\\n")
print("ready", flush=True)
signal.pause()
"""


Stood = contextlib.AbstractContextManager[subprocess.Popen[str]]


@contextlib.contextmanager
def process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has said `ready`; gone afterwards, whatever happens."""
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "ready\n"
            yield started
        finally:
            started.kill()


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    made = StateFolder(tmp_path / "state")
    made.create()
    return made


def supervisor(folder: StateFolder, running: str = "", ends: str = "") -> Stood:
    return process(SUPERVISOR, "--state", str(folder.root), running, ends)


def server(folder: StateFolder, verb: str = "serve") -> Stood:
    return process(SERVER, "--state", str(folder.root), verb)


def test_a_state_folder_that_does_not_exist_has_nothing_to_end(tmp_path: Path) -> None:
    assert down(StateFolder(tmp_path / "none")) == []
    assert not (tmp_path / "none").exists()


def test_a_folder_with_nothing_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    assert down(StateFolder(tmp_path)) == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_supervisor_stops_its_jobs_and_ends(folder: StateFolder) -> None:
    with supervisor(folder, "a b", "a b") as running:
        ended = down(folder)

        assert running.wait(timeout=10) == 0
    assert ended == ["stopped job a", "stopped job b", f"ended the supervisor (process {running.pid})"]


def test_ends_of_earlier_jobs_are_not_taken_for_stopped_ones(folder: StateFolder) -> None:
    with supervisor(folder, "old a", "old a") as running:
        assert down(folder) == ["stopped job a", f"ended the supervisor (process {running.pid})"]


def test_the_server_ends_before_the_supervisor(folder: StateFolder) -> None:
    """It would start the next supervisor."""
    with supervisor(folder) as owner, server(folder) as talker:
        ended = down(folder)

        assert talker.wait(timeout=10) == -15
    assert ended == [f"ended the server (process {talker.pid})", f"ended the supervisor (process {owner.pid})"]


def test_doing_it_again_does_nothing(folder: StateFolder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.address.write_text("127.0.0.1:1\n")
    with supervisor(folder), server(folder):
        down(folder)

    assert not folder.address.exists()
    assert down(folder) == []
    assert main(["down", "--state", str(folder.root)]) == 0
    assert capsys.readouterr().out == "nothing was running\n"


def test_a_supervisor_that_dies_before_it_has_told_anything_is_not_taken_for_ended(folder: StateFolder) -> None:
    """With nothing in the folder that could still run, there is no need for a next one."""
    with supervisor(folder, "dies") as running:
        ended = down(folder)

        assert running.wait(timeout=10) == 0
    assert ended == []


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_process_that_only_has_the_number_of_a_dead_server_is_left_alone(
    folder: StateFolder, tmp_path: Path, elsewhere: bool
) -> None:
    """Numbers are used again: neither another folder's server nor another program of this folder's is ours to end."""
    other = StateFolder(tmp_path / "other") if elsewhere else folder
    other.create()
    with server(other, "serve" if elsewhere else "watch") as bystander:
        folder.server_lock.write_text(f"{bystander.pid}\n")

        assert down(folder) == []
        assert bystander.poll() is None


@pytest.mark.parametrize("content", ["", "x", "0", "-1", "4194303"])
def test_a_lock_file_that_names_nobody_is_no_obstacle(folder: StateFolder, content: str) -> None:
    folder.server_lock.write_text(content)

    assert down(folder) == []


def test_a_process_shows_its_state_folder_in_its_arguments(folder: StateFolder, tmp_path: Path) -> None:
    with server(folder) as running:
        assert is_ours(running.pid, folder.root, "serve")
        assert not is_ours(running.pid, folder.root, "down")
        assert not is_ours(running.pid, tmp_path, "serve")
    assert not is_ours(running.pid, folder.root, "serve")


def test_a_state_folder_must_be_named_by_who_is_not_root() -> None:
    """Root has /var/lib/joblet."""
    if os.geteuid() == 0:
        assert places.state(None) == places.STATE
    else:
        with pytest.raises(Complaint, match="which state folder"):
            places.state(None)
