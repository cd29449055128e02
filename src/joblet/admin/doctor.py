"""
`joblet doctor`: examines this machine and this installation, and names the command that mends what is missing.

Runs in: an administrator's terminal. May not: change anything; send anything over the network.
Source: docs/administrators.md, "What a machine needs"; checks in `machine.py` and `installation.py`.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from joblet.admin import down, installation, machine, places
from joblet.admin.finding import Finding, Level
from joblet.statefolder import StateFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `main.Verb`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="as for `joblet serve`")
    parser.add_argument("--address", metavar="HOST:PORT", help="as for `joblet serve`")
    parser.add_argument("--certs", type=Path, default=places.CERTS, metavar="DIR", help=f"default: {places.CERTS}")
    places.add_state(parser)
    parser.add_argument("--output", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    """See `main.Verb`."""
    findings = list(_examine(options))
    if options.output == "json":
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _show(finding)
    return 1 if any(finding.level is Level.FAIL for finding in findings) else 0


def _examine(options: argparse.Namespace) -> Iterator[Finding]:
    state = options.state.resolve() if options.state else places.STATE
    loaded, about = installation.configuration(options.config, os.environ)
    yield from about
    yield from machine.examine(state, loaded.isolation.cgroups)
    yield from installation.state_folder(state, os.geteuid(), installation.own_mounts())
    yield from installation.certificates(options.certs.absolute(), installation.now())
    address = places.address(options.address) or loaded.server.address
    yield from installation.port(address, down.server_runs(StateFolder(state)))
    yield from installation.open_files(loaded.joblet.max_concurrent_jobs, installation.hard_open_files(), os.geteuid())


def _show(finding: Finding) -> None:
    first, *others = finding.what.splitlines()
    print(f"{finding.level:<5}{finding.subject + ':':<15}{first}")
    for line in others:
        print(f"{'':<20}{line}")
    for line in finding.mend.splitlines():
        print(f"{'':<5}{'':<15}mend: {line}")
