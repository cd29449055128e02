"""
A status file as a supervisor reads it, whole, growing, cut short and foreign.

Runs in: pytest. May not: need root.
"""

from pathlib import Path

from joblet.supervisor.status import Exited, read_status

WHOLE = (
    b'record 4711 {"job_id": "a b"}\n'
    b"starting 99\n"
    b"running 100\n"
    b"stopping 150\n"
    b"exited 32512 10 5 4096 200 command not found: foo\n"
    b'end {"state": "FAILED"}\n'
)


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "status"
    path.write_bytes(data)
    return path


def test_a_whole_life_is_read(tmp_path: Path) -> None:
    status = read_status(written(tmp_path, WHOLE))

    assert status is not None
    assert (status.pid, status.record) == (4711, b'{"job_id": "a b"}')
    assert (status.starting_ns, status.running_ns, status.stopping_ns) == (99, 100, 150)
    assert status.exited == Exited(32512, 15, 4096, 200, "command not found: foo")
    assert status.end == b'{"state": "FAILED"}'


def test_a_last_line_without_its_newline_does_not_count(tmp_path: Path) -> None:
    for length in range(len(WHOLE)):
        cut = WHOLE[:length]
        whole_lines = cut[: cut.rfind(b"\n") + 1]

        status = read_status(written(tmp_path, cut))

        assert status is not None
        assert (status.pid == 4711) == (b"record" in whole_lines)
        assert (status.exited is not None) == (b"exited" in whole_lines)
        assert (status.end is not None) == (b"\nend" in whole_lines)


def test_a_failed_set_up_keeps_its_words(tmp_path: Path) -> None:
    status = read_status(written(tmp_path, b"record 1 {}\nfailed 1 operation not permitted: mount(proc, /proc)\n"))

    assert status is not None
    assert status.failed == "operation not permitted: mount(proc, /proc)"


def test_from_starting_on_the_command_may_have_run_unless_the_set_up_failed(tmp_path: Path) -> None:
    for more, may_have_run_ns in ((b"", 0), (b"starting 5\n", 5), (b"starting 5\nfailed 11 no more processes\n", 0)):
        status = read_status(written(tmp_path, b"record 1 {}\n" + more))

        assert status is not None
        assert status.may_have_run_ns == may_have_run_ns


def test_a_missing_file_is_no_status(tmp_path: Path) -> None:
    assert read_status(tmp_path / "none") is None


def test_only_the_first_request_to_stop_counts(tmp_path: Path) -> None:
    status = read_status(written(tmp_path, b"stopping 1\nstopping 2\n"))

    assert status is not None
    assert status.stopping_ns == 1


def test_a_line_nobody_knows_does_not_hide_the_others(tmp_path: Path) -> None:
    """A later version's line, or a damaged one: the job that the other lines tell of may be alive."""
    status = read_status(written(tmp_path, b"record 7 {}\nhello\nexited what\nrunning 5\n"))

    assert status is not None
    assert (status.pid, status.running_ns, status.exited) == (7, 5, None)
