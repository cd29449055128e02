"""
`joblet certs`: an authority of your own, certificates for a server and its clients, and what is in them.

Runs in: an administrator's terminal. May not: replace a file without --force.
Source: API specification, "Certificate Requirements"; file names in `pki/names.py`.
"""

import argparse
import datetime
import re
import sys
from pathlib import Path
from typing import Final

from joblet.complaint import Complaint, why
from joblet.pki import files, hosts, names
from joblet.pki.describe import describe
from joblet.pki.issue import CA_DAYS, DAYS, ORGANISATION, ROLES, Authority, Issued, load_authority, new_authority

DIR: Final = Path("certs")  # where `rnx` looks

_FILE_NAME: Final = re.compile(r"[^\W_][\w.@+-]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `main.Verb`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    init = actions.add_parser("init", help="make a CA, and certificates for a server, an admin and a viewer")
    _add_dir(init)
    _add_hosts(init)
    _add_organisation(init)
    _add_days(init)
    _add_force(init)

    issue = actions.add_parser("issue", help="make one more certificate, signed by the CA in --dir")
    _add_dir(issue)
    issue.add_argument("--name", help="who it is for: the certificate's CN (needed for clients)")
    issue.add_argument("--role", required=True, choices=(*ROLES, "server"), help="what its owner may be")
    issue.add_argument(
        "--out",
        type=Path,
        metavar="PREFIX",
        help="write PREFIX-client-cert.pem and PREFIX-client-key.pem (default: DIR/NAME)",
    )
    _add_hosts(issue)
    _add_organisation(issue)
    _add_days(issue)
    _add_force(issue)

    show = actions.add_parser("show", help="say what is in certificates; fails when one has expired")
    show.add_argument("path", type=Path, nargs="?", default=DIR, metavar="FILE|DIR", help=f"default: {DIR}")


def run(options: argparse.Namespace) -> int:
    """See `main.Verb`."""
    match options.action:
        case "init":
            return _init(options)
        case "issue":
            return _issue(options)
        case _:
            return _show(options.path)


def init(folder: Path, named: list[str], organisation: str, days: int, *, force: bool) -> list[Path]:
    """
    Make a whole set of certificates.

    Args:
        named: Names and addresses of the server, beside those this machine has.
        days: Validity of all but the CA, which is valid for ten years or as long.

    Returns:
        The files.

    Raises:
        Complaint: Nothing was written.
    """
    authority = new_authority(organisation, max(CA_DAYS, days), _now())
    server = authority.issue_server(_hosts(named), organisation, days)
    clients = {role: authority.issue_client(role, role, organisation, days) for role in ROLES}
    contents = {
        **_pair(folder, (names.CA_CERTIFICATE, names.CA_KEY), authority.as_pem),
        **_pair(folder, (names.SERVER_CERTIFICATE, names.SERVER_KEY), server),
        **_pair(folder, names.client_names("admin"), clients["admin"]),
        **_pair(folder, names.client_names("viewer"), clients["viewer"]),
        **_pair(folder, (names.CLIENT_CERTIFICATE, names.CLIENT_KEY), clients["admin"]),
    }
    files.write_all(contents, replace=force)
    return list(contents)


def _init(options: argparse.Namespace) -> int:
    written = init(options.dir, options.host, options.organisation, options.days, force=options.force)
    for path in written:
        print(path)
    print(f"next: joblet serve --certs {options.dir}", file=sys.stderr)
    print(f"keep {options.dir / names.CA_KEY} safe: whoever has it can let anybody in", file=sys.stderr)
    return 0


def _issue(options: argparse.Namespace) -> int:
    authority = _authority(options.dir)
    if options.role == "server":
        if options.out is not None:
            raise Complaint(
                "--out is for clients", f"the server's files are DIR/{names.SERVER_CERTIFICATE} and its key"
            )
        issued = authority.issue_server(_hosts(options.host), options.organisation, options.days)
        contents = _pair(options.dir, (names.SERVER_CERTIFICATE, names.SERVER_KEY), issued)
    else:
        if options.host:
            raise Complaint("--host is for servers", "leave it out: a client is known by its name")
        if not options.name:
            raise Complaint(f"a certificate for a {options.role} needs a name", "give one: --name alice")
        out = options.out or options.dir / _as_file_name(options.name)
        issued = authority.issue_client(options.name, options.role, options.organisation, options.days)
        contents = _pair(out.parent, names.client_names(out.name), issued)
    files.write_all(contents, replace=options.force)
    for path in contents:
        print(path)
    return 0


def _show(path: Path) -> int:
    try:
        shown = sorted(path.glob("*.pem")) if path.is_dir() else [path]
        contents = [(file, file.read_bytes()) for file in shown if not (path.is_dir() and files.is_key(file))]
    except OSError as error:
        raise Complaint(f"cannot read {error.filename}: {why(error)}") from None
    if not contents:
        raise Complaint(f"there is no certificate in {path}", f"joblet certs init --dir {path} makes a set")
    good = True
    for file, pem in contents:
        print(file)
        try:
            found = describe(pem, _now())
        except ValueError:
            print("  is not a certificate in PEM, or a damaged one")
            good = False
            continue
        for description in found:
            print("\n".join(description.lines()))
            good = good and not description.expired
    return 0 if good else 1


def _authority(folder: Path) -> Authority:
    certificate, key = folder / names.CA_CERTIFICATE, folder / names.CA_KEY
    try:
        return load_authority(certificate.read_bytes(), key.read_bytes(), _now())
    except OSError as error:
        raise Complaint(
            f"cannot read {error.filename}: {why(error)}",
            f"name the folder of your CA with --dir; joblet certs init --dir {folder} makes a new one",
        ) from None
    except ValueError as error:
        raise Complaint(f"cannot sign with {certificate} and {key.name}: {error}") from None


def _pair(folder: Path, file_names: tuple[str, str], issued: Issued) -> dict[Path, bytes]:
    certificate, key = file_names
    return {folder / certificate: issued.certificate, folder / key: issued.key}


def _hosts(named: list[str]) -> list[hosts.Host]:
    return hosts.without_doubles([*map(hosts.parse, named), *hosts.of_this_machine()])


def _as_file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise Complaint(f"{name!r} cannot be part of a file's name", "give --out PREFIX as well")
    return name


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _add_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, default=DIR, metavar="DIR", help=f"folder of the CA (default: {DIR})")


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="name or address under which clients reach the server; may be given again"
        " (this machine's own are always in)",
    )


def _add_organisation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--organisation", default=ORGANISATION, metavar="O", help=f"default: {ORGANISATION}")


def _add_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--days", type=int, default=DAYS, metavar="N", help=f"validity (default: {DAYS}); a CA has {CA_DAYS} at least"
    )


def _add_force(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace files that exist")
