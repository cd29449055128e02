"""
`joblet serve`: the server, in the foreground.

Runs in: server loop. May not: print to standard output; import anything before the process shows its state folder.
Source: docs/contributors.md, "What others rely on" (every process shows its state folder among its arguments).
"""

import argparse
import asyncio
import dataclasses
import os
import resource
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from joblet.admin import places


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `main.Verb`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (joblet config keys)")
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="listen here instead of where the configuration says; port 0: any free one",
    )
    parser.add_argument("--certs", type=Path, default=places.CERTS, metavar="DIR", help=f"default: {places.CERTS}")
    places.add_state(parser)


def run(options: argparse.Namespace) -> int:
    """See `main.Verb`."""
    state = places.state(options.state)
    certs = options.certs.absolute()
    _show_state_in_argv(options, state, certs)
    from joblet import config

    loaded = config.load(options.config, os.environ)
    address = places.address(options.address) or loaded.server.address
    from joblet.api.bootstrap import serve

    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The soft limit is often 1,024, for programs that use select(2): idle connections would soon lock others out.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    asyncio.run(serve(dataclasses.replace(loaded, server=config.ServerSection(address)), address, certs, state))
    return 0


def command(state: Path, certs: Path, address: str = "", config_file: Path | None = None) -> list[str]:
    """The command line of a server, every folder by its whole name."""
    words = [sys.executable, "-m", "joblet.admin.main", "serve", "--state", str(state), "--certs", str(certs)]
    if address:
        words += ["--address", address]
    if config_file is not None:
        words += ["--config", str(config_file)]
    return words


def _show_state_in_argv(options: argparse.Namespace, state: Path, certs: Path) -> None:
    """Start over with the whole name of the state folder among the arguments, if it is not there yet."""
    if shows_state(sys.orig_argv, state):
        return
    config_file = options.config.absolute() if options.config else None
    again = command(state, certs, options.address or "", config_file)
    os.execv(again[0], again)


def shows_state(argv: Sequence[str], state: Path) -> bool:
    """Whether a process with these arguments belongs to this state folder."""
    pairs = pairwise(argv)
    return any(flag == "--state" and value == str(state) for flag, value in pairs) or f"--state={state}" in argv
