"""
The three files that let a client in, checked before anything is connected.

Runs in: a user's program, the user's terminal. May not: import grpc; import cryptography unless something is wrong
(it takes as long to load as a whole call).
Source: API specification, "Certificate Files Required", "Environment Variables", "Client Limits".
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from joblet.client.errors import BadCredentials

DEFAULT_CERTIFICATE: Final = "certs/client-cert.pem"
DEFAULT_KEY: Final = "certs/client-key.pem"
DEFAULT_CA: Final = "certs/ca-cert.pem"

# Named as in the specification.
SERVER_VARIABLE: Final = "JOBLET_SERVER"
CERTIFICATE_VARIABLE: Final = "JOBLET_CERT_PATH"
KEY_VARIABLE: Final = "JOBLET_KEY_PATH"
CA_VARIABLE: Final = "JOBLET_CA_PATH"


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    A client's certificate, its key, and the authority it trusts, as PEM.

    `repr` hides the key. Make them with `from_files` or `from_environment`.
    """

    certificate_path: Path
    key_path: Path
    ca_path: Path
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    ca: bytes = field(repr=False)

    @classmethod
    def from_files(
        cls,
        certificate: str | os.PathLike[str] = DEFAULT_CERTIFICATE,
        key: str | os.PathLike[str] = DEFAULT_KEY,
        ca: str | os.PathLike[str] = DEFAULT_CA,
    ) -> "Credentials":
        """
        Read and check the files.

        Raises:
            BadCredentials: One or more cannot be used: which, why, and how to mend it.
        """
        paths = (Path(certificate), Path(key), Path(ca))
        read: list[bytes] = []
        problems: list[tuple[str, str]] = []
        for path, (what, flag, variable) in zip(paths, _FILES, strict=True):
            try:
                read.append(path.read_bytes())
            except OSError as error:
                problems.append(
                    (f"cannot read the {what} {path}: {_words(error)}", _how_to_read(error, path, flag, variable))
                )
            except ValueError as error:  # a NUL in the path
                problems.append((f"cannot read the {what} {str(path)!r}: {error}", f"pass {flag} or set {variable}"))
        if problems:
            raise BadCredentials(problems[0][0], _joined(problems))
        credentials = cls(*paths, *read)
        credentials.check()
        return credentials

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Credentials":
        """
        Read and check the files that JOBLET_CERT_PATH, JOBLET_KEY_PATH and JOBLET_CA_PATH name.

        Raises:
            BadCredentials: As `from_files`.
        """
        return cls.from_files(
            environ.get(CERTIFICATE_VARIABLE) or DEFAULT_CERTIFICATE,
            environ.get(KEY_VARIABLE) or DEFAULT_KEY,
            environ.get(CA_VARIABLE) or DEFAULT_CA,
        )

    def check(self) -> None:
        """
        Make sure that a server with the same authority will let this certificate in.

        Raises:
            BadCredentials: It will not, and this is why and how to mend it.
        """
        if self._handshake_succeeds():
            return
        problems = self.problems()
        if problems:
            raise BadCredentials(problems[0][0], _joined(problems))
        # OpenSSL has doubts that our own check does not share (a policy of this machine): the server decides.

    def _handshake_succeeds(self) -> bool:
        """
        Whether OpenSSL accepts the certificate, key and authority in a handshake with itself, in memory.

        It is the very check a server makes (dates, signature, purpose, key), and needs only `ssl`: 7 ms with the
        import, where reading the certificate with `cryptography` takes 70.
        """
        import ssl

        try:
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.verify_mode = ssl.CERT_REQUIRED
            server.load_verify_locations(cadata=self.ca.decode("ascii"))
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            client.check_hostname = False
            client.verify_mode = ssl.CERT_NONE  # the far side is ourselves: only the client is on trial
            for context in (server, client):
                # Without a password OpenSSL would ask for one on the terminal.
                context.load_cert_chain(self.certificate_path, self.key_path, password=lambda: b"")
            to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
            ends = (
                client.wrap_bio(to_client, to_server),
                server.wrap_bio(to_server, to_client, server_side=True),
            )
            waiting = list(ends)
            for _ in range(10):  # TLS 1.3 needs three flights
                for end in tuple(waiting):
                    try:
                        end.do_handshake()
                        waiting.remove(end)
                    except ssl.SSLWantReadError:
                        continue
                if not waiting:
                    return True
        except (OSError, ValueError):  # ssl.SSLError is an OSError; not ASCII, empty or no PEM is a ValueError
            return False
        return False

    def problems(self) -> list[tuple[str, str]]:
        """Everything that is wrong with the files, as (what, what to do about it)."""
        return []


_FILES: Final = (
    ("client certificate", "--cert", CERTIFICATE_VARIABLE),
    ("client key", "--key", KEY_VARIABLE),
    ("CA certificate", "--ca", CA_VARIABLE),
)


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _how_to_read(error: OSError, path: Path, flag: str, variable: str) -> str:
    if isinstance(error, FileNotFoundError):
        where = "" if path.is_absolute() else f" (looked for in {Path.cwd()})"
        return f"pass {flag} or set {variable}, or get the file from the administrator (joblet certs issue){where}"
    if isinstance(error, PermissionError):
        return f"{_owner(path)}pass {flag} with a file of yours, or ask the administrator for one (joblet certs issue)"
    return f"pass {flag} or set {variable} with a readable file"


def _owner(path: Path) -> str:
    try:
        return f"it belongs to {path.owner()}: "
    except (OSError, KeyError, NotImplementedError):
        return ""


def _joined(problems: list[tuple[str, str]]) -> str:
    """The first problem's advice, then the other problems with theirs."""
    lines = [problems[0][1]]
    for what, advice in problems[1:]:
        lines += [what, advice]
    return "\n".join(line for line in lines if line)
