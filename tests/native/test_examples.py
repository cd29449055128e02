"""
Every workflow in `examples/`, run as its reader would run it.

Runs in: pytest, as root.
"""

from pathlib import Path
from typing import Final

import pytest
from real_server import RealServer

pytestmark = pytest.mark.native

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"

# What the jobs print of themselves, by the workflow's file; one line of each.
PRINTED: Final = {
    "data-pipeline.yaml": ["rows loaded", "rows extracted", "published with a token of 28 characters"],
    "map-reduce.yaml": ["words in all", "kept 4 lists", "map-3"],
    "nightly-build.yaml": ["4 tests passed", "bytes packed", "the night is over"],
}


def test_every_example_is_run_here() -> None:
    assert sorted(PRINTED) == sorted(path.name for path in EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("name", PRINTED)
async def test_an_example_does_what_it_says(server: RealServer, name: str) -> None:
    async with server.rnx("run", f"--workflow={EXAMPLES / name}", "--follow") as rnx:
        printed = (await rnx.out.everything()).decode()

        assert await rnx.ended() == 0, printed + (await rnx.err.everything()).decode()
    for words in PRINTED[name]:
        assert words in printed


async def test_a_broken_nightly_build_tells_the_team_and_packs_nothing(server: RealServer, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text((EXAMPLES / "nightly-build.yaml").read_text().replace('BREAK: "no"', 'BREAK: "yes"'))
    async with server.rnx("run", f"--workflow={broken}", "--follow") as rnx:
        printed = (await rnx.out.everything()).decode()

        assert await rnx.ended() == 1
    assert "the nightly build of json is broken" in printed
    assert "the night is over" in printed
    assert "bytes packed" not in printed
