"""
`joblet config`: which configuration is in force, whether a file is right, and what may stand in one.

Runs in: an administrator's terminal. May not: change a file.
Source: API specification, "Server Configuration".
"""

import argparse
import os
from pathlib import Path

from joblet import config, configkeys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `main.Verb`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="print the configuration in force, as a file")
    show.add_argument("--config", type=Path, metavar="FILE", help="as for `joblet serve`")
    check = actions.add_parser("check", help="report everything that is wrong with a file")
    check.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: the one in force")
    actions.add_parser("keys", help="list every key with its default, what is allowed, and what it means")


def run(options: argparse.Namespace) -> int:
    """See `main.Verb`."""
    match options.action:
        case "show":
            _show(options.config)
        case "check":
            _check(options.file)
        case _:
            _keys()
    return 0


def _show(path: Path | None) -> None:
    loaded = config.load(path, os.environ)
    print(f"# read from {loaded.source}" if loaded.source else "# no file: every value is the default")
    print(config.as_yaml(loaded), end="")


def _check(path: Path | None) -> None:
    loaded = config.load(path, os.environ)
    if loaded.source is None:
        print(f"no configuration file ({config.SYSTEM_FILE} does not exist): the defaults are in force")
    else:
        print(f"{loaded.source}: no problems, {len(loaded.given)} of {len(configkeys.KEYS)} keys set")


def _keys() -> None:
    for key in configkeys.KEYS:
        print(f"{key.path}: {key.kind.show(key.default)}")
        print(f"    {key.meaning}")
        print(f"    allowed: {key.kind.allowed}")
