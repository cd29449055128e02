"""
Workflow files with mistakes, and the exact words, line and column of every message.

The table is `data/workflows/bad`: each file has its messages beside it, read and judged by a person. What cannot
be kept as a text file, or is too large to keep, is made here.
"""

from pathlib import Path
from typing import Final

import pytest

from joblet.workflowfile import keys
from joblet.workflowfile.read import parse, read
from joblet.yamlfile import MAX_PROBLEMS, YamlInvalid

BAD: Final = Path(__file__).parent / "data" / "workflows" / "bad"
FILES: Final = sorted(BAD.glob("*.yaml"))

GOOD: Final = "jobs: {build: {command: make}}\n"


def messages(content: str | bytes) -> list[str]:
    """Every line of the refusal of a file called w."""
    with pytest.raises(YamlInvalid) as refused:
        parse(content.encode() if isinstance(content, str) else content, "w")
    return str(refused.value).splitlines()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_mistake_is_told_with_its_place_and_what_is_allowed(path: Path) -> None:
    expected = path.with_suffix(".expected").read_text(encoding="utf-8")

    with pytest.raises(YamlInvalid) as refused:
        parse(path.read_bytes(), path.name)

    assert f"{refused.value}\n" == expected


def test_the_table_is_complete() -> None:
    assert len(FILES) >= 60
    assert {path.stem for path in FILES} == {path.stem for path in BAD.glob("*.expected")}
    assert len({path.name[:3] for path in FILES}) == len(FILES), "two files with the same number"


def test_no_message_of_the_table_shows_a_secret() -> None:
    """The secrets of these files are called hunter."""
    with_a_secret = [path for path in FILES if "hunter" in path.read_text(encoding="utf-8")]

    showing = [path.stem for path in with_a_secret if "hunter" in path.with_suffix(".expected").read_text()]

    assert len(with_a_secret) >= 8
    assert showing == []


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(YamlInvalid, match=r"gone\.yaml: cannot be read: no such file or directory$"):
        read(tmp_path / "gone.yaml")


def test_a_file_read_from_disk_is_called_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("jobs: {}\n")

    with pytest.raises(YamlInvalid) as refused:
        read(path)

    assert str(refused.value) == f"{path}:1:7: jobs: is empty; a workflow needs jobs"


def test_what_is_not_utf_8_is_refused_at_its_byte() -> None:
    latin = "jobs:\n  größe: {command: make}\n".encode("latin-1")

    assert messages(latin) == ["w:2:5: byte 0xf6 is not UTF-8 (allowed: a text file in UTF-8)"]
    assert messages(GOOD.encode("utf-16")) == ["w:1:1: byte 0xff is not UTF-8 (allowed: a text file in UTF-8)"]


def test_a_control_character_is_refused_where_it_stands() -> None:
    assert messages("jobs:\n  a: {command: ma\0ke}\n") == ["w:2:18: the character U+0000 must not stand in a YAML file"]
    assert messages("jobs:\n  a: {command: \x1b[1m}\n") == [
        "w:2:16: the character U+001B must not stand in a YAML file"
    ]


def test_a_byte_order_mark_and_windows_line_ends_do_not_move_a_place() -> None:
    text = "jobs:\n  a: {command: make, timeout: 5}\n  b: {}\n"

    plain = messages(text)

    assert [line.partition(" jobs")[0] for line in plain] == ["w:2:31:", "w:3:3:"]
    assert messages("\ufeff" + text) == plain
    assert messages(text.replace("\n", "\r\n")) == plain
    assert messages("\ufeff" + text.replace("\n", "\r\n")) == plain


def test_places_count_characters_and_not_bytes() -> None:
    found = messages('jobs: {a: {command: "größe😀", timeout: 5}}\n')

    assert [line.partition(" jobs")[0] for line in found] == ["w:1:40:"]


def test_a_character_of_an_expression_is_found_after_other_scripts_and_anchors() -> None:
    text = "jobs:\n  a: {command: größe😀, requires: [expression: &e 'b=DONE']}\n  b: {command: make}\n"

    column = text.splitlines()[1].index("DONE") + 1

    assert messages(text) == [
        f"w:2:{column}: jobs.a.requires: expected one of COMPLETED, FAILED, FINISHED, not DONE,"
        " at character 3 of the expression"
    ]


def test_a_file_beyond_the_limit_is_refused_unread() -> None:
    assert messages(b"#" * (10 * 1024 * 1024)) == [f"w: is larger than {keys.MAX_BYTES} bytes"]


def test_deep_nesting_is_refused() -> None:
    assert messages("jobs: " + "[" * 100_000) == ["w:1:69: is nested too deeply"]
    assert messages("jobs: " + "{a: " * 100_000) == ["w:1:255: is nested too deeply"]


def test_a_bomb_of_aliases_costs_nothing_where_no_key_enters_it() -> None:
    layers = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 30)]
    text = "\n".join(["x0: &x0 [lol]", *layers, "jobs: *x29\n"])

    found = messages(text)

    assert found[0] == "w:1:1: x0: unknown key (allowed: environment, secret_environment, jobs)"
    assert len(found) == 31


def test_a_bomb_of_aliases_among_the_jobs_ends_at_a_bound() -> None:
    """Ten thousand jobs, each with the same hundred arguments: a million values from 200 KB."""
    arguments = ", ".join(["x"] * 100)
    jobs = "\n".join(f"  j{n}: *j" for n in range(10_000))

    found = messages(f"jobs:\n  j: &j {{command: make, args: [{arguments}]}}\n{jobs}\n")

    assert found == [
        "w:4805:3: jobs.j4802: holds more than 500000 values, each alias counted with all that it stands for"
    ]


def test_variables_that_double_each_other_end_at_a_bound() -> None:
    doubling = "\n".join(f'  V{n}: "${{V{n - 1}}}${{V{n - 1}}}"' for n in range(1, 40))

    found = messages(f"environment:\n  V0: {'x' * 1000}\n{doubling}\n{GOOD}")

    assert found[0] == "w:9:7: environment.V7: is larger than 65536 bytes"


def test_variables_of_many_jobs_end_at_a_bound() -> None:
    inherited = "\n".join(f"  V{n}: x" for n in range(1000))
    jobs = "\n".join(f"  j{n}: {{command: make, environment: {{A: x}}}}" for n in range(1000))

    found = messages(f"environment:\n{inherited}\njobs:\n{jobs}\n")

    assert found == ["w:2001:3: jobs.j998: jobs have more than 1000000 variables together, inherited ones included"]


def test_too_many_jobs_are_refused_before_they_are_read() -> None:
    jobs = "\n".join(f"  j{n}:" for n in range(keys.MAX_JOBS + 1))

    assert messages(f"jobs:\n{jobs}\n") == ["w:2:3: jobs: has 20001 jobs; a workflow may have 20000"]


def test_an_argument_longer_than_the_kernel_takes_is_refused() -> None:
    found = messages(f"jobs: {{a: {{command: make, args: [{'x' * (128 * 1024 + 1)}]}}}}\n")

    assert found == ["w:1:34: jobs.a.args: is longer than 131072 characters"]


def test_fifty_problems_are_shown_and_the_rest_is_counted() -> None:
    found = messages("jobs:\n" + "".join(f"  j{n}: {{}}\n" for n in range(60)))

    assert len(found) == MAX_PROBLEMS + 1
    assert found[0] == "w:2:3: jobs.j0: has no command"
    assert found[-2:] == ["w:51:3: jobs.j49: has no command", "w: and 10 more problems"]
