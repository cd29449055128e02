"""
The documentation can be trusted: every command in it is run somewhere, every link leads somewhere, what is
generated is fresh. `tests/native/test_documented_sessions.py` runs the sessions.

Runs in: pytest. May not: run a command of the documentation.
"""

import re
from pathlib import Path
from typing import Final

import pytest
from blocks import COMMANDS, READ_ONLY, ROOT, RUN, blocks_of, commands_of, pages
from generate import PARTS, regenerated

from joblet import config
from joblet.domain.limits import Machine
from joblet.workflowfile.read import parse

PAGES: Final = pages()


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request: pytest.FixtureRequest) -> Path:
    """Each page in turn."""
    found: Path = request.param
    return found


def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in RUN | COMMANDS | READ_ONLY, f"{block.where}: what is a block of {block.language!r}?"
        if block.language in COMMANDS:
            assert block.note, f"{block.where}: write <!-- run by: … --> or <!-- not run: why --> above it"
            kind, words = block.note
            assert kind == "not run" or (ROOT / words).exists(), f"{block.where}: {words} does not exist"


def test_every_session_can_be_read(page: Path) -> None:
    sessions = [list(commands_of(block)) for block in blocks_of(page) if block.language == "console"]

    assert all(sessions), "a session without a command"


def test_the_first_two_commands_of_the_readme_are_the_demo_and_the_tests() -> None:
    """Tools and people rely on the order: `.ci/run` takes both from here."""
    first, second, *_ = blocks_of(ROOT / "README.md")

    assert (first.text, second.text) == ("./dev demo", "./dev test")


def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
        linked = (page.parent / target) if target else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors_of(linked), f"{page.name} links to {target}#{anchor}"


def anchors_of(page: Path) -> set[str]:
    """What a heading can be linked as: lower case, spaces as hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_what_is_drawn_from_the_products_tables_is_fresh(page: Path) -> None:
    text = page.read_text()

    assert regenerated(text) == text, "run `./dev nox -s docs` and commit what it writes"


def test_every_table_of_the_product_is_shown_somewhere() -> None:
    shown = {part for page in PAGES for part in re.findall(r"<!-- generated: ([a-z-]+) -->", page.read_text())}

    assert shown == set(PARTS)


def test_every_configuration_in_the_documentation_can_be_used(tmp_path: Path) -> None:
    files = [text for text in yaml_blocks() if not is_workflow(text)]
    assert files

    for number, text in enumerate(files):
        path = tmp_path / f"{number}.yml"
        path.write_text(text)
        config.read(path)


def test_every_workflow_in_the_documentation_has_nothing_wrong() -> None:
    files = [text for text in yaml_blocks() if is_workflow(text)]
    assert files

    for text in files:
        workflow = parse(text.encode(), "documented.yaml", Machine(cores=2, memory_bytes=1 << 30))
        assert not workflow.unavailable


def yaml_blocks() -> list[str]:
    return [block.text for page in PAGES for block in blocks_of(page) if block.language == "yaml"]


def is_workflow(text: str) -> bool:
    return "\njobs:" in f"\n{text}"


def test_the_packaged_configuration_leaves_the_supervisor_to_its_service() -> None:
    packaged = config.read(ROOT / "packaging" / "joblet-config.yml")

    assert packaged.isolation.supervisor == "service"
