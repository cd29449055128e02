"""
Whether three PEM files let their owner into a TLS connection, and if not, exactly why.

For a client this is the second look: `client/screening.py` has let most good sets pass before, and sends here what
looks odd to it. First `rehearse` lets OpenSSL shake hands with itself in memory, as the server would: a set that
works (a chain of several certificates, a key in a rarer form) is never refused, whatever `diagnosis.py` would think
of it. Only when that fails, `diagnosis.py` reads the files with `cryptography` and finds the words.

Measured here (median of 15; bare Python starts in 14 ms): `import ssl` 21 ms alone and 0 after grpc, which
imports it anyway; `rehearse` 7 ms; `import cryptography.x509` 68 ms alone, 45 after grpc.

Runs in: the user's terminal, a user's program, command lines. May not: import grpc; import cryptography before
something is wrong; ask for a passphrase.
Source: API specification, "Client Limits" and "Authentication Errors"; RFC 5280, section 6.1.
"""

import os
import ssl
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from joblet.complaint import Complaint, why

MAX_BYTES: Final = 1024 * 1024  # a bundle of every public authority is a quarter of it


class Trouble(StrEnum):
    """What can be wrong with certificate files; the value is for programs."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    NOT_PEM = "not PEM"
    ENCRYPTED = "encrypted"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    KEY_MISMATCH = "key mismatch"
    OTHER_AUTHORITY = "other authority"
    WRONG_PURPOSE = "wrong purpose"


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong.

    Args:
        what: Which file, and what about it.
        mend: What to do.
    """

    trouble: Trouble
    what: str
    mend: str


class FilesUnusable(Complaint):
    """One or more certificate files cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first, *others = problems
        lines = [first.mend]
        for problem in others:
            lines += [problem.what, problem.mend]
        super().__init__(first.what, "\n".join(lines))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Words:
    """
    How messages name the files of one side and where new ones come from.

    Args:
        owner: "client" or "server".
        certificate, key, ca: How to name another file: a flag.
        renew: The command that makes a new certificate.
    """

    owner: str
    certificate: str
    key: str
    ca: str
    renew: str


CLIENT: Final = Words("client", "--cert", "--key", "--ca", "ask the administrator for a new one (joblet certs issue)")
SERVER: Final = Words("server", "--certs", "--certs", "--certs", "make a new one: joblet certs issue --role server")


@dataclass(frozen=True, slots=True)
class Pem:
    """A file and what it holds."""

    path: Path
    content: bytes


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """
    A set that works.

    Args:
        warnings: What works but should not be left so.
    """

    certificate: bytes
    key: bytes
    ca: bytes
    warnings: tuple[str, ...] = ()


def check(certificate: Path, key: Path, ca: Path, words: Words = CLIENT) -> CertificateFiles:
    """
    Read and check a set of files.

    Raises:
        FilesUnusable: With every problem, the first one first.
    """
    found: list[Problem] = []
    contents: list[Pem] = []
    for path, what, flag in (
        (certificate, f"{words.owner} certificate", words.certificate),
        (key, f"{words.owner} key", words.key),
        (ca, "CA certificate", words.ca),
    ):
        read = _read(path, what, flag)
        if isinstance(read, Problem):
            found.append(read)
        else:
            contents.append(read)
    if found:
        raise FilesUnusable(found)
    certificate_pem, key_pem, ca_pem = contents
    if words.owner != "client" or not rehearse(certificate, key, ca_pem.content):
        from joblet.pki.diagnosis import problems

        found = problems(certificate_pem, key_pem, ca_pem, words)
        if found:
            raise FilesUnusable(found)
        # OpenSSL may refuse by a policy of this machine what the far side takes: then the far side decides.
    return CertificateFiles(certificate_pem.content, key_pem.content, ca_pem.content, _warnings(key))


def rehearse(certificate: Path, key: Path, ca: bytes) -> bool:
    """Whether OpenSSL, as the server, lets this client in: a handshake with itself in memory."""
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.verify_mode = ssl.CERT_REQUIRED
        server.load_verify_locations(cadata=ca.decode("ascii"))
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE  # the far side is ourselves: only the client is on trial
        for context in (server, client):
            # Without a password to give, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        waiting = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
        for _ in range(10):  # TLS 1.3 needs three flights
            for end in tuple(waiting):
                try:
                    end.do_handshake()
                    waiting.remove(end)
                except ssl.SSLWantReadError:
                    continue
            if not waiting:
                return True
    except (OSError, ValueError):  # ssl.SSLError is an OSError; what is no ASCII, or empty, a ValueError
        return False
    return False


def _read(path: Path, what: str, flag: str) -> Pem | Problem:
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return Problem(
                    Trouble.UNREADABLE,
                    f"cannot read the {what} {path}: it is not a regular file",
                    f"pass {flag} with a file",
                )
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        looked = "" if path.is_absolute() else f" (looked for in {Path.cwd()})"
        return Problem(
            Trouble.MISSING,
            f"cannot read the {what} {path}: {why(error)}",
            f"pass {flag} with a file of yours, or ask the administrator for one (joblet certs issue){looked}",
        )
    except PermissionError as error:
        return Problem(
            Trouble.UNREADABLE,
            f"cannot read the {what} {path}: {why(error)}",
            f"{_owner(path)}pass {flag} with a file of yours, or ask the administrator for one (joblet certs issue)",
        )
    except OSError as error:
        return Problem(Trouble.UNREADABLE, f"cannot read the {what} {path}: {why(error)}", f"pass {flag} with a file")
    except ValueError as error:  # a NUL in the path
        return Problem(Trouble.MISSING, f"cannot read the {what} {str(path)!r}: {error}", f"pass {flag} with a file")
    if len(content) > MAX_BYTES:
        return not_pem(path, f"it is larger than {MAX_BYTES} bytes", what, flag)
    return Pem(path, content)


def _owner(path: Path) -> str:
    try:
        return f"it belongs to {path.owner()}: "
    except (OSError, KeyError, NotImplementedError):
        return ""


def _warnings(key: Path) -> tuple[str, ...]:
    try:
        mode = key.stat().st_mode
    except OSError:
        return ()
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ()
    return (f"the key {key} can be read by others (mode {stat.S_IMODE(mode):04o}): chmod 600 {key}",)


def not_pem(path: Path, reason: str, what: str, flag: str) -> Problem:
    """The words for a file that holds something else."""
    return Problem(
        Trouble.NOT_PEM,
        f"cannot use {path} as the {what}: {reason}",
        f"pass {flag} with a PEM file, as `joblet certs` writes them",
    )
