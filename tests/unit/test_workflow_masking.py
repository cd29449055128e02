"""
A workflow file as it may be shown: the values of secrets are gone, however they are written, and all else stands.

Whatever is done to a file, reading it ends with a definition or with its problems, and neither they nor the shown
text hold a secret.

Runs in: pytest.
"""

from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from joblet.workflowfile.read import WorkflowFile, parse
from joblet.yamlfile import YamlInvalid

SECRET: Final = "hunter2"
JOBS: Final = "jobs: {b: {command: make}}\n"


def outcome(content: bytes) -> WorkflowFile | YamlInvalid:
    """What reading ends with; every other exception fails the test."""
    try:
        return parse(content, "w")
    except YamlInvalid as error:
        return error


def shown(found: WorkflowFile | YamlInvalid) -> str:
    """All that a person could see of it."""
    if isinstance(found, YamlInvalid):
        return f"{found}{found.problems}{found!r}"
    return f"{found!r}{found.masked}"


@pytest.mark.parametrize(
    ("written", "masked"),
    [
        ("{A: hunter2}", '{A: "***"}'),
        ("{A: hunter2, B: x}", '{A: "***", B: "***"}'),
        ("{A: 'hunter''2', B: \"hunter\\\"2\"}", '{A: "***", B: "***"}'),
        ("{A: ''}", '{A: "***"}'),
        ("{A: 12, B: true, C: 1.5}", '{A: "***", B: "***", C: "***"}'),
        ("{ A  :  hunter2  , }", '{ A  :  "***"  , }'),
        ('{"A":"hunter2"}', '{"A":"***"}'),
        ("\n  A: hunter2 # why", '\n  A: "***" # why'),
        ("\n  A: hunter2   \n  # B: old", '\n  A: "***"   \n  # B: old'),
        ("\n  A: hunter2\n    hunter2\n\n    hunter2\n  B: x", '\n  A: "***"\n  B: "***"'),
        ("\n  A: 'hunter2\n\n    hunter2'  # why", '\n  A: "***"  # why'),
        ('\n  A: "hunter2\\\n    hunter2"', '\n  A: "***"'),
        ("\n  A:\n    hunter2", '\n  A:\n    "***"'),
        ("\n  ? A\n  : hunter2", '\n  ? A\n  : "***"'),
        ("\n  A: |\n    hunter2\n    hunter2\n  B: x", '\n  A: "***"\n  B: "***"'),
        ("\n  A: >-  # why\n    hunter2\n\n    hunter2\n  # B: old", '\n  A: "***"\n  # B: old'),
        ("\n  A: |2+\n      hunter2\n\n\n  B: x", '\n  A: "***"\n  B: "***"'),
        ("\n  A: |\n    hunter2 # no comment", '\n  A: "***"'),
        ("\n  A: |\n    hunter2  \n  B: x", '\n  A: "***"\n  B: "***"'),
        ("\n  A: >-\n    hunter2\t\n\n  B: x", '\n  A: "***"\n  B: "***"'),
        ("{A: &a hunter2, B: *a}", '{A: &a "***", B: *a}'),
        ("{A: !!str hunter2, B: ! hunter2}", '{A: "***", B: "***"}'),
        ("{A: !!str &a hunter2, B: &b !!str hunter2, C: *b}", '{A: &a "***", B: &b "***", C: *b}'),
        ("{A: '&a hunter2'}", '{A: "***"}'),
        ("\n  A: &a # hunter2\n    hunter2", '\n  A: &a "***"'),
        ("\n  A: &a |\n    hunter2\n  B: *a", '\n  A: &a "***"\n  B: *a'),
        ("{größe: hunter2, 😀: hunter2}", '{größe: "***", 😀: "***"}'),
        ("{A: größe😀, B: hunter2}", '{A: "***", B: "***"}'),
        ('{A: hunter2\u2028x, B: "x\x85y"}', '{A: "***", B: "***"}'),
        ("&s {A: hunter2}", '&s {A: "***"}'),
        ("{A: 'x${B}', B: hunter2}", '{A: "***", B: "***"}'),
        ("", ""),
        ("{}", "{}"),
    ],
)
@pytest.mark.parametrize("before", ["", "# größe 😀\n", "environment: {A1: größe, B1: 😀}\n"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_values_of_secrets_are_masked_and_all_else_stands(
    written: str, masked: str, before: str, line_end: str, mark: str
) -> None:
    def whole(written: str) -> str:
        return mark + f"{before}secret_environment: {written}\n{JOBS}".replace("\n", line_end)

    found = parse(whole(written).encode(), "w")

    assert found.masked == whole(masked)
    again = parse(found.masked.encode(), "w").definition.jobs["b"]
    assert again.secret_environment.keys() == found.definition.jobs["b"].secret_environment.keys()


@pytest.mark.parametrize(
    ("end", "masked"),
    [("", ""), ("\n", "\n"), ("\n\n\n", "\n"), ("\n   \n", "\n"), ("\n...\n", "\n...\n"), ("  ", ""), (" \n", "\n")],
)
@pytest.mark.parametrize("style", ["|", "|-", "|+", ">", ">-"])
def test_a_block_at_the_end_of_the_file_is_masked(style: str, end: str, masked: str) -> None:
    found = parse(f"{JOBS}secret_environment:\n  A: {style}\n    hunter2{end}".encode(), "w")

    assert found.masked == f'{JOBS}secret_environment:\n  A: "***"{masked}'


def test_the_secrets_of_jobs_are_masked_too() -> None:
    text = "jobs:\n  b:\n    command: make\n    secret_environment:\n      A: |\n        hunter2\n\n  c: {command: x}\n"

    assert parse(text.encode(), "w").masked == text.replace("|\n        hunter2\n\n", '"***"\n')


def test_what_is_no_secret_stands_as_it_was_written() -> None:
    text = "%YAML 1.1\n---\n\n# hunter\nenvironment: {A:   'x'}\t# y\njobs: {b: {command: !!str \"make\"}}   \n...\n"

    assert parse(text.encode(), "w").masked == text


GOOD: Final = f"""\
# A file with something of everything.
environment: &env
  STAGE: test
  URL: "https://${{TOKEN}}@host/größe"
secret_environment:
  TOKEN: {SECRET}
  BLOCK: |
    {SECRET}
jobs:
  fetch: &fetch
    command: fetch
    args: [a, &x 1]
  build:
    command: make
    requires:
      - fetch: COMPLETED
      - expression: "fetch=COMPLETED AND NOT fetch=FAILED"
    resources: {{max_cpu: 50, cpu_cores: "0-1"}}
    secret_environment: {{KEY: '{SECRET}'}}
    timeout: 90s
    retries: {{max: 3, backoff: 5s}}
  again: *fetch
"""
LINES: Final = GOOD.splitlines(keepends=True)
SIGNS: Final = (
    "\n",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    ",",
    '"',
    "'",
    "|",
    ">",
    "#",
    "%",
    "@",
    "~",
)
WORDS: Final = ("&a ", "*x", "*env", "!!x ", "---\n", "...\n", "<<: *env\n", "${", "${TOKEN}", "\\", "\0", "é", "😀")
ESCAPES: Final = ('"\\ud800"', '"\\UFFFFFFFF"', '"\\e"')
KEYS: Final = (
    "jobs:\n",
    "command: ",
    "workdir: ",
    "requires:\n",
    "secret_environment:\n",
    "expression: ",
    "- build: FAILED\n",
)
PIECES: Final = st.sampled_from(SIGNS + WORDS + ESCAPES + KEYS)


def test_the_file_that_is_mutated_below_is_good() -> None:
    found = parse(GOOD.encode(), "w")

    assert set(found.definition.jobs["build"].secret_environment.values()) == {
        SECRET, f"{SECRET}\n", f"https://{SECRET}@host/größe",
    }  # fmt: skip
    assert SECRET not in shown(found)


@given(st.binary(max_size=200))
@example(b"jobs: {\xff}")
@example(b"\xef\xbb\xbf")
@example(b'jobs: "\\UFFFFFFFF"')
@example(b"jobs: !%ED%A0%80 x")
def test_no_bytes_end_in_anything_but_a_definition_or_problems(content: bytes) -> None:
    outcome(content)


@given(st.lists(PIECES | st.text(max_size=3), max_size=40).map("".join))
@example('jobs: {"\\ud800": {command: "\\ud800"}}')
@example("jobs: &j {a: *j, *j : *j}")
@example("? ? ?\n")
def test_no_text_ends_in_anything_but_a_definition_or_problems(text: str) -> None:
    outcome(text.encode("utf-8", errors="surrogatepass"))


@given(st.data())
def test_lines_may_be_lost_doubled_or_swapped(data: st.DataObject) -> None:
    lines = LINES[:]
    for _ in range(data.draw(st.integers(1, 4))):
        first, second = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(["lose", "double", "swap"])):
            case "lose":
                del lines[first]
            case "double":
                lines.insert(second, lines[first])
            case _:
                lines[first], lines[second] = lines[second], lines[first]

    outcome("".join(lines).encode())


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), PIECES | st.text(max_size=2)), min_size=1, max_size=4))
def test_anything_may_be_put_in_anywhere(insertions: list[tuple[int, str]]) -> None:
    text = GOOD
    for position, piece in insertions:
        text = text[:position] + piece + text[position:]

    found = outcome(text.encode("utf-8", errors="surrogatepass"))
    if isinstance(found, WorkflowFile):
        assert parse(found.masked.encode(), "w").definition.jobs.keys() == found.definition.jobs.keys()


SECRETS_END: Final = GOOD.index("jobs:")


@given(st.lists(st.tuples(st.integers(SECRETS_END, len(GOOD) - 1), PIECES), min_size=1, max_size=4))
def test_no_mistake_elsewhere_brings_a_secret_to_light(insertions: list[tuple[int, str]]) -> None:
    """Also one that refers to the secrets by an alias or a variable; their own two maps stay as they are."""
    text = GOOD.replace(f"TOKEN: {SECRET}", f"TOKEN: &token {SECRET}").replace(f"{{KEY: '{SECRET}'}}", "{KEY: *token}")
    shift = len(text) - len(GOOD)
    for position, piece in insertions:
        at = min(position + shift, len(text))
        text = text[:at] + piece.replace("*x", "*token ").replace("*env", "*token") + text[at:]

    assert SECRET not in shown(outcome(text.encode("utf-8", errors="surrogatepass")))


STARTS: Final = (
    "${",
    "}",
    "$${",
    "!",
    "!<",
    "&",
    "*",
    "%",
    "@",
    "\\",
    "'",
    '"',
    "|",
    ">",
    "[",
    "{",
    "-",
    "=",
    "!!",
    "~",
    " ",
)


@given(st.lists(st.sampled_from([SECRET, *STARTS]), min_size=1, max_size=5).map("".join), st.booleans())
@example("*hunter2", False)
@example("!hunter2!x y", False)
@example("x${hunter2}", True)
@example("[hunter2", False)
def test_a_secret_that_is_written_wrong_is_not_told(value: str, in_braces: bool) -> None:
    written = f"{{A: {value}}}" if in_braces else f"\n  A: {value}"

    found = outcome(f"secret_environment: {written}\n{JOBS}".encode())

    assert SECRET not in shown(found)
