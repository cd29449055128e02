"""`joblet config`, as an administrator types it."""

from pathlib import Path

import pytest

from joblet.admin.main import main
from joblet.configkeys import KEYS


def test_show_prints_the_configuration_in_force_as_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yml"
    path.write_text("joblet:\n  maxConcurrentJobs: 7\n")

    assert main(["config", "show", "--config", str(path)]) == 0

    out = capsys.readouterr().out
    assert out.startswith(f"# read from {path}\njoblet:\n")
    assert "  maxConcurrentJobs: 7\n" in out
    assert '  jobTimeout: "1h"  # default\n' in out


def test_check_follows_the_variable_and_counts_what_is_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.yml"
    path.write_text("grpc: {keepAliveTime: 10s}\n")
    monkeypatch.setenv("JOBLET_CONFIG", str(path))

    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == f"{path}: no problems, 1 of {len(KEYS)} keys set\n"


def test_check_reports_every_problem_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yml"
    path.write_text("joblet:\n  jobTimeot: 1h\n  pidsLimit: 0\n")

    assert main(["config", "check", str(path)]) == 1

    assert capsys.readouterr().err.splitlines() == [
        f"joblet: {path}:2:3: joblet.jobTimeot: unknown key; did you mean jobTimeout?",
        f"        {path}:3:14: joblet.pidsLimit: 0 is out of range (allowed: a whole number from 8 to 4194304)",
    ]


def test_keys_lists_the_whole_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "keys"]) == 0

    out = capsys.readouterr().out
    for key in KEYS:
        assert f"{key.path}: {key.kind.show(key.default)}\n    {key.meaning}\n    allowed: {key.kind.allowed}\n" in out
