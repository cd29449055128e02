"""Codes and details of errors."""

import pytest

from joblet.api import status
from joblet.domain.errors import InvalidRequest, JobletError, JobNotFound


def descendants(cls: type[JobletError]) -> set[type[JobletError]]:
    """Every error class below this one."""
    return {found for child in cls.__subclasses__() for found in {child, *descendants(child)}}


def test_every_error_a_user_can_meet_has_a_status_code() -> None:
    """The table is complete, and holds nothing else."""
    # Only the product's own: other tests may derive classes.
    assert {cls for cls in descendants(JobletError) if cls.__module__ == "joblet.domain.errors"} == set(status.CODE)


@pytest.mark.parametrize("message", ["a", "with spaces and % signs", "ümläut", "line\nbreak"])
def test_a_message_is_sent_as_it_is(message: str) -> None:
    """Whatever it holds."""
    assert status.details(InvalidRequest(message)) == f"invalid request: {message}"


@pytest.mark.parametrize("character", ["x", "%", "\n", "ü", "\U0001f600", "\udc80"])
def test_a_long_message_is_cut_so_that_a_header_can_carry_it(character: str) -> None:
    """gRPC percent-encodes it; clients refuse headers over 8 KiB."""
    message = status.details(JobNotFound(character * 100_000))

    assert message.startswith(f"job not found: {character}")
    assert message.endswith(f"{character}…")
    encoded = sum(
        1 if " " <= each <= "~" and each != "%" else 3 * len(each.encode("utf-8", "surrogatepass")) for each in message
    )
    assert 3900 < encoded <= 4010
