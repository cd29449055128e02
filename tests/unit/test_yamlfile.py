"""The YAML reader against a small table: what it takes, and the exact words for what it refuses."""

from pathlib import Path

import pytest

from joblet.yamlfile import MAX_BYTES, Section, YamlInvalid, parse, read
from joblet.yamlkinds import Choice, Duration, Integer, Size, Text, show_duration

FILE = Path("f.yml")


def absolute(path: str) -> None:
    """As `Text.check` wants it."""
    if not path.startswith("/"):
        raise ValueError("is not an absolute path")


ALLOWED: Section = {
    "jobs": {
        "most": Integer(1, 100),
        "memory": Integer(1, 10, "MB", scale=1024),
        "timeout": Duration(0.1, 86400.0, zero="never"),
        "grace": Duration(1.0, 60.0),
    },
    "wire": {"message": Size(1024, 1 << 30), "zip": Integer(0, 9), "mode": Choice(("required", "auto", "off"))},
    "name": Text(),
    "home": Text("an absolute path such as /var/lib/joblet", absolute),
}


def values(text: str) -> dict[str, object]:
    return parse(text.encode(), FILE, ALLOWED)


def complaints(content: str | bytes) -> list[str]:
    """Every line of the refusal."""
    with pytest.raises(YamlInvalid) as refused:
        parse(content.encode() if isinstance(content, str) else content, FILE, ALLOWED)
    return str(refused.value).splitlines()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("jobs: {most: 7}", 7),
        ("jobs: {memory: 2}", 2048),
        ("jobs: {timeout: 1h}", 3600.0),
        ('jobs: {timeout: "1h30m"}', 5400.0),
        ("jobs: {timeout: 100ms}", 0.1),
        ("jobs: {timeout: 1.5h}", 5400.0),
        ("jobs: {timeout: 1m0.5s}", 60.5),
        ("jobs: {timeout: 200000\N{MICRO SIGN}s}", 0.2),
        ("jobs: {timeout: 0}", 0.0),
        ("jobs: {timeout: 0s}", 0.0),
        ("wire: {message: 524288}", 524288),
        ("wire: {message: 512KB}", 524288),
        ("wire: {message: 4 MiB}", 4194304),
        ("wire: {message: 1G}", 1073741824),
        ("wire: {mode: off}", "off"),  # YAML 1.1 would make a boolean of it
        ('wire: {mode: "auto"}', "auto"),
        ("name: 12", "12"),
        ("home: /var/lib/joblet", "/var/lib/joblet"),
    ],
)
def test_a_value_is_read_in_the_units_of_the_code(line: str, value: object) -> None:
    assert list(values(line).values()) == [value]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "jobs:\n", "jobs:\n  # most: 3\nwire: {}\n", "null\n"])
def test_what_is_left_out_is_left_out(text: str) -> None:
    assert values(text) == {}


def test_a_byte_order_mark_and_windows_line_ends_are_harmless() -> None:
    assert values("\ufeffjobs:\r\n  most: 7\r\n") == {"jobs.most": 7}


def test_anchors_and_aliases_may_be_used() -> None:
    text = "jobs: &j {most: 7, timeout: &t 5s, grace: *t}\n"

    assert values(text) == {"jobs.most": 7, "jobs.timeout": 5.0, "jobs.grace": 5.0}


NUMBER = "(allowed: a whole number from 1 to 100)"
KEYS = "(allowed: a mapping with the keys jobs, wire, name, home)"
DURATION = "(allowed: a duration such as 100ms, 30s, 5m or 1h30m, from 100ms to 24h, or 0 for never)"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        # keys
        ("jobs:\n  mosst: 7\n", "f.yml:2:3: jobs.mosst: unknown key; did you mean most?"),
        ("jobs:\n  MOST: 7\n", "f.yml:2:3: jobs.MOST: unknown key; did you mean most?"),
        ("jobs:\n  zip: true\n", "f.yml:2:3: jobs.zip: unknown key here; did you mean wire.zip?"),
        ("  qqq: 1\n", "f.yml:1:3: qqq: unknown key (allowed: jobs, wire, name, home)"),
        ("jobs:\n  most: 7\n  most: 8\n", "f.yml:3:3: jobs.most: is given twice; the first is on line 2"),
        ("jobs: {}\njobs: {}\n", "f.yml:2:1: jobs: is given twice; the first is on line 1"),
        ("1: 2\n", "f.yml:1:1: 1: unknown key (allowed: jobs, wire, name, home)"),
        ("[a, b]: 2\n", "f.yml:1:1: a key must be a word, not a list"),
        ("<<: {name: x}\n", "f.yml:1:1: <<: unknown key (allowed: jobs, wire, name, home)"),
        ('"\\e[31m": 1', r"f.yml:1:1: \x1b[31m: unknown key (allowed: jobs, wire, name, home)"),
        # the shape
        ("- jobs\n", f"f.yml:1:1: must be a section, not a list {KEYS}"),
        (
            "jobs: 7\n",
            "f.yml:1:7: jobs: must be a section, not the value 7"
            " (allowed: a mapping with the keys most, memory, timeout, grace)",
        ),
        (
            "jobs:\n  most: [7]\n",
            "f.yml:2:9: jobs.most: must be a single value, not a list (allowed: a whole number from 1 to 100)",
        ),
        ("name: {a: b}\n", "f.yml:1:7: name: must be a single value, not a mapping (allowed: text)"),
        (
            "jobs:\n  most:\n",
            "f.yml:2:8: jobs.most: has no value; leave the key out for its default"
            " (allowed: a whole number from 1 to 100)",
        ),
        (
            "name: !!python/object/apply:os.system [id]\n",
            "f.yml:1:7: name: must be a single value, not a list (allowed: text)",
        ),
        ("name: !secret x\n", "f.yml:1:7: name: has the tag !secret; tags are not allowed (allowed: text)"),
        # whole numbers
        ("jobs: {most: many}", f"f.yml:1:14: jobs.most: many is not a whole number {NUMBER}"),
        ("jobs: {most: 1.5}", f"f.yml:1:14: jobs.most: 1.5 is not a whole number {NUMBER}"),
        ("jobs: {most: 0x10}", f"f.yml:1:14: jobs.most: 0x10 is not a whole number {NUMBER}"),
        ("jobs: {most: 010}", f"f.yml:1:14: jobs.most: 010 is not a whole number {NUMBER}"),
        ("jobs: {most: 1_0}", f"f.yml:1:14: jobs.most: 1_0 is not a whole number {NUMBER}"),
        ("jobs: {most: true}", f"f.yml:1:14: jobs.most: true is not a whole number {NUMBER}"),
        (
            'jobs: {most: "7"}',
            'f.yml:1:14: jobs.most: "7" is text, not a whole number; remove the quotes'
            " (allowed: a whole number from 1 to 100)",
        ),
        ("jobs: {most: 0}", f"f.yml:1:14: jobs.most: 0 is out of range {NUMBER}"),
        ("jobs: {most: 101}", f"f.yml:1:14: jobs.most: 101 is out of range {NUMBER}"),
        ("jobs: {most: -1}", f"f.yml:1:14: jobs.most: -1 is out of range {NUMBER}"),
        (
            f"jobs: {{most: {'9' * 5000}}}",
            f"f.yml:1:14: jobs.most: {'9' * 57}... is out of range (allowed: a whole number from 1 to 100)",
        ),
        (
            "jobs: {memory: 11}",
            "f.yml:1:16: jobs.memory: 11 is out of range (allowed: a whole number from 1 to 10 (MB))",
        ),
        # durations
        ("jobs: {timeout: 30}", f"f.yml:1:17: jobs.timeout: 30 has no unit; did you mean 30s? {DURATION}"),
        ('jobs: {timeout: "1x"}', f'f.yml:1:17: jobs.timeout: "1x" is not a duration {DURATION}'),
        ("jobs: {timeout: -5s}", f"f.yml:1:17: jobs.timeout: -5s is not a duration {DURATION}"),
        ("jobs: {timeout: 1h 30m}", f"f.yml:1:17: jobs.timeout: 1h 30m is not a duration {DURATION}"),
        ("jobs: {timeout: 1d}", f"f.yml:1:17: jobs.timeout: 1d is not a duration {DURATION}"),
        ("jobs: {timeout: 50ms}", f"f.yml:1:17: jobs.timeout: 50ms is out of range {DURATION}"),
        ("jobs: {timeout: 25h}", f"f.yml:1:17: jobs.timeout: 25h is out of range {DURATION}"),
        (
            "jobs: {grace: 0}",
            "f.yml:1:15: jobs.grace: 0 is out of range"
            " (allowed: a duration such as 100ms, 30s, 5m or 1h30m, from 1s to 1m)",
        ),
        # sizes
        (
            "wire: {message: 5TB}",
            "f.yml:1:17: wire.message: 5TB is not a size"
            " (allowed: bytes such as 524288, or with a unit such as 512KiB or 4MiB, from 1024 to 1073741824)",
        ),
        (
            "wire: {message: 2G}",
            "f.yml:1:17: wire.message: 2G is out of range"
            " (allowed: bytes such as 524288, or with a unit such as 512KiB or 4MiB, from 1024 to 1073741824)",
        ),
        # words
        (
            "wire: {mode: of}",
            "f.yml:1:14: wire.mode: of is not one of them; did you mean off? (allowed: one of required, auto, off)",
        ),
        ("wire: {mode: 5}", "f.yml:1:14: wire.mode: 5 is not one of them (allowed: one of required, auto, off)"),
        ('name: ""', "f.yml:1:7: name: is empty (allowed: text)"),
        (
            "home: lib",
            "f.yml:1:7: home: lib is not an absolute path (allowed: an absolute path such as /var/lib/joblet)",
        ),
        # not YAML
        ("jobs:\n\tmost: 7\n", "f.yml:2:1: is not YAML: a tab cannot indent; YAML allows only spaces there"),
        (
            "jobs: {most: 7\n",
            "f.yml:2:1: is not YAML: expected ',' or '}', but got the end of the file, while parsing a flow mapping"
                " that begins on line 1",
        ),
        (
                "a: b: c\n",
                "f.yml:1:5: is not YAML: a ': ' cannot stand here; a value that holds one needs quotes,"
                " and each key a ':' with a space after it",
            ),
        ("name: *nobody\n", "f.yml:1:7: is not YAML: found undefined alias 'nobody'"),
        ("name: a\n---\nname: b\n", "f.yml:2:1: is not YAML: a second document begins here; only one is allowed"),
        ("name: a\0b\n", "f.yml:1:8: the character U+0000 must not stand in a YAML file"),
        ("name: a\nhome: \x1b[1m\n", "f.yml:2:7: the character U+001B must not stand in a YAML file"),
        ("[" * 20_000, "f.yml:1:64: is nested too deeply"),
        ('name: "\\UFFFFFFFF"', None),  # PyYAML's words differ between versions; that it is a refusal is enough
    ],
)  # fmt: skip
def test_each_mistake_is_refused_with_its_place_and_what_is_allowed(text: str, complaint: str | None) -> None:
    found = complaints(text)

    assert complaint is None or found == [complaint]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"name: a\nhome: /\xff\n", "f.yml:2:8: byte 0xff is not UTF-8 (allowed: a text file in UTF-8)"),
        ("name: a\n".encode("utf-16"), "f.yml:1:1: byte 0xff is not UTF-8 (allowed: a text file in UTF-8)"),
        (b"#" * (MAX_BYTES + 1), f"f.yml: is larger than {MAX_BYTES} bytes"),
    ],
)
def test_bytes_that_are_no_text_file_are_refused(content: bytes, complaint: str) -> None:
    assert complaints(content) == [complaint]


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    found = complaints("wire:\n  zip: x\n  zap: 2\njobs:\n  most: x\n  timeout: 3\n")

    assert [line.partition(": ")[0] for line in found] == ["f.yml:2:8", "f.yml:3:3", "f.yml:5:9", "f.yml:6:12"]


def test_a_file_of_mistakes_is_reported_up_to_a_limit() -> None:
    found = complaints("".join(f"q{n}: 1\n" for n in range(500)))

    assert len(found) == 51
    assert found[-1] == "f.yml: and 450 more problems"


def test_an_alias_bomb_costs_nothing() -> None:
    """Nine levels of nine would be 387 million nodes, if they were walked."""
    levels = [f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]" for n in range(1, 10)]

    found = complaints("\n".join(["b0: &b0 [x]", *levels, "name: *b9"]))

    assert found[-1] == "f.yml:10:5: name: must be a single value, not a list (allowed: text)"


def test_a_mapping_inside_itself_is_refused() -> None:
    assert complaints("jobs: &j\n  most: *j\n") == [
        "f.yml:1:7: jobs.most: must be a single value, not a mapping (allowed: a whole number from 1 to 100)"
    ]


def test_a_file_that_cannot_be_read_is_refused_in_the_kernels_words(tmp_path: Path) -> None:
    with pytest.raises(YamlInvalid) as refused:
        read(tmp_path, ALLOWED)

    assert str(refused.value) == f"{tmp_path}: cannot be read: is a directory"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0s"),
        (0.1, "100ms"),
        (1.5e-6, "0.0015ms"),
        (1.5, "1.5s"),
        (60.0, "1m"),
        (5400.0, "1h30m"),
        (3630.0, "1h30s"),
    ],
)
def test_a_duration_is_shown_as_it_may_be_written(seconds: float, shown: str) -> None:
    assert show_duration(seconds) == shown
