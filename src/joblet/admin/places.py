"""
Which folders and address a server uses: the flags that name them, and what holds without.

Runs in: command lines. May not: touch them.
Source: Filesystem Hierarchy Standard 3.0, section 5.8 (/var/lib); the specification keeps its files in /opt/joblet.
"""

import argparse
import os
from pathlib import Path
from typing import Final

from joblet.complaint import Complaint

CERTS: Final = Path("/opt/joblet/certs")
STATE: Final = Path("/var/lib/joblet")


def add_state(parser: argparse.ArgumentParser) -> None:
    """Declare --state."""
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help=f"everything the server keeps (default for root: {STATE})"
    )


def state(named: Path | None) -> Path:
    """
    The state folder by its whole name, links resolved: it tells the processes of one server from another's.

    Raises:
        Complaint: None was named, and this user has no default.
    """
    if named is not None:
        return named.resolve()
    if os.geteuid() != 0:
        raise Complaint("which state folder?", f"name one with --state DIR ({STATE} is root's)")
    return STATE


def address(given: str | None) -> str:
    """
    What --address names; empty when it was not given.

    Raises:
        Complaint: It is no address.
    """
    if given is None:
        return ""
    from joblet import configkeys

    try:
        configkeys.check_address(given)
    except ValueError as error:
        raise Complaint(f"--address {given} {error}", "give one such as 0.0.0.0:50051 or [::]:50051") from None
    return given
