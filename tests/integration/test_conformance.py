"""
The installed server against the specification: the conformance suite, which knows nothing of it but its address.

Runs in: pytest in the test machine, as root.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from installed import CERTIFICATES, ENVIRON

# Also the stops of a hundred jobs at once, on an emulated machine.
PATIENCE_S = 120
SLOWEST = 5  # are told, to see what an emulated machine makes of the suite


@pytest.mark.parametrize("profile", ["core", "security", "workflow", "process", "limits", "load"])
def test_it_conforms(profile: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Every case that is a must was tried and has passed: exit status 0."""
    report = tmp_path / "report.json"
    flags = {
        "--profile": profile,
        "--server": ENVIRON["JOBLET_SERVER"],
        "--ca": CERTIFICATES / "ca-cert.pem",
        "--ca-key": CERTIFICATES / "ca-key.pem",
        "--patience": PATIENCE_S,
        "--json": report,
    }
    words = [str(word) for flag in flags.items() for word in flag]

    done = subprocess.run(
        [sys.executable, "-m", "joblet_conformance.main", "run", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    others = {case["id"]: case["verdict"] for case in found["cases"] if case["verdict"] != "passed"}
    record_property(
        f"conformance, {profile}", f"{found['counts']['passed']} passed in {found['seconds']:.0f} s, others: {others}"
    )
    slowest = sorted(found["cases"], key=lambda case: case["seconds"], reverse=True)[:SLOWEST]
    record_property(f"slowest of {profile}", {case["id"]: case["seconds"] for case in slowest})
    assert [case["id"] for case in found["cases"] if (case["level"], case["verdict"]) == ("must", "skipped")] == []
