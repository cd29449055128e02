"""
Command lines as Go's programs read them.

Runs in: pytest.
"""

import pytest

from joblet.rnx.connection import GLOBAL_FLAGS
from joblet.rnx.flags import BadUsage, HelpWanted, Values, parse
from joblet.rnx.log import VERB as LOG
from joblet.rnx.run import VERB as RUN


def parsed(*arguments: str, stop_at_operand: bool = True) -> Values:
    values = Values()
    parse(arguments, (*GLOBAL_FLAGS, *RUN.flags), values, stop_at_operand=stop_at_operand)
    return values


@pytest.mark.parametrize("arguments", [("--max-cpu=50", "ls"), ("--max-cpu", "50", "ls")])
def test_a_value_follows_an_equals_sign_or_a_space(arguments: tuple[str, ...]) -> None:
    values = parsed(*arguments)

    assert values.number("max-cpu") == 50
    assert values.operands == ["ls"]


@pytest.mark.parametrize(
    ("argument", "follow"),
    [("--follow", True), ("-f", True), ("--follow=true", True), ("--follow=false", False), ("-f=0", False)],
)
def test_a_switch_takes_its_value_only_after_an_equals_sign(argument: str, follow: bool) -> None:
    values = parsed(argument, "false")

    assert values.switch("follow", default=not follow) is follow
    assert values.operands == ["false"]


@pytest.mark.parametrize("arguments", [("-fo", "json"), ("-fojson",), ("-f", "-o=json"), ("-f", "--output", "json")])
def test_short_flags_may_stand_together(arguments: tuple[str, ...]) -> None:
    values = parsed(*arguments)

    assert values.switch("follow", default=False)
    assert values.text("output") == "json"


def test_everything_after_the_command_belongs_to_the_command() -> None:
    values = parsed("--max-cpu=50", "ls", "-la", "--max-cpu=3", "--", "--help", "-h")

    assert values.number("max-cpu") == 50
    assert values.operands == ["ls", "-la", "--max-cpu=3", "--", "--help", "-h"]


def test_two_dashes_end_the_flags() -> None:
    assert parsed("--", "--odd-program", "-x").operands == ["--odd-program", "-x"]


def test_flags_may_follow_operands_where_these_have_none_of_their_own() -> None:
    values = Values()

    parse(["f47ac10b", "--follow=false", "-"], LOG.flags, values, stop_at_operand=False)

    assert values.operands == ["f47ac10b", "-"]
    assert not values.switch("follow", default=True)


def test_a_flag_may_be_repeated_where_it_is_a_list() -> None:
    assert parsed("--env", "A=1", "-e", "B=2=3", "--env=C=").every("env") == ["A=1", "B=2=3", "C="]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-cpus=5",), "unknown flag: --max-cpus (did you mean --max-cpu?)"),
        (("--zebra",), "unknown flag: --zebra"),
        (("-x",), "unknown flag: -x in -x"),
        (("--max-cpu",), "flag needs a value: --max-cpu"),
        (("--max-cpu=half",), "--max-cpu must be a whole number (given: 'half')"),
        (("--max-cpu=٣",), "--max-cpu must be a whole number (given: '٣')"),
        (("--max-cpu=1_0",), "--max-cpu must be a whole number (given: '1_0')"),
        (("--max-cpu=",), "--max-cpu must be a whole number (given: '')"),
        ((f"--max-cpu=-{'9' * 5000}",), f"--max-cpu is out of range (given: -{'9' * 5000}, at most 2147483647)"),
        (
            (f"--timeout={'9' * 5000}s",),
            f"--timeout must be a duration such as 90s, 10m or 1h30m (given: '{'9' * 5000}s')",
        ),
        (("--max-memory=99999999999",), "--max-memory is out of range (given: 99999999999, at most 2147483647)"),
        (("--follow=maybe",), "--follow must be true or false (given: 'maybe')"),
        (("--timeout=90",), "--timeout must be a duration such as 90s, 10m or 1h30m (given: '90')"),
        (("--timeout=500ms",), "--timeout must be whole seconds, at least 1s (given: '500ms')"),
    ],
)
def test_a_wrong_flag_is_refused_in_words(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadUsage) as caught:
        parsed(*arguments)

    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1h", 3600), ("1h30m", 5400), ("1.5m", 90), ("2500ms500ms", 3)]
)
def test_durations_are_written_as_in_the_configuration(text: str, seconds: int) -> None:
    assert parsed(f"--timeout={text}").number("timeout") == seconds


def test_a_negative_limit_is_left_for_the_server_to_judge() -> None:
    assert parsed("--max-cpu", "-1").number("max-cpu") == -1


@pytest.mark.parametrize("argument", ["--help", "-h", "-fh"])
def test_help_can_be_asked_for_anywhere_among_the_flags(argument: str) -> None:
    with pytest.raises(HelpWanted):
        parsed("--max-cpu=50", argument, "ls")
