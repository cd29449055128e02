"""
The three files that let a client in, checked before anything is connected.

Runs in: a user's program, the user's terminal. May not: import grpc; import cryptography unless something is wrong
(it takes as long to load as a whole call).
Source: API specification, "Certificate Files Required", "Environment Variables", "Client Limits".
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from joblet.client.errors import BadCredentials
from joblet.client.screening import nothing_looks_wrong

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

    certificate_path: str
    key_path: str
    ca_path: str
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
        paths = (os.fspath(certificate), os.fspath(key), os.fspath(ca))
        read: list[bytes] = []
        problems: list[tuple[str, str]] = []
        for path, (what, flag, variable) in zip(paths, _FILES, strict=True):
            try:
                with open(path, "rb") as file:
                    read.append(file.read())
            except OSError as error:
                problems.append(
                    (f"cannot read the {what} {path}: {_words(error)}", _how_to_read(error, path, flag, variable))
                )
            except ValueError as error:  # a NUL in the path
                problems.append((f"cannot read the {what} {path!r}: {error}", f"pass {flag} or set {variable}"))
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
        now = time.strftime("%Y%m%d%H%M%S", time.gmtime())
        if nothing_looks_wrong(self.certificate, self.key, self.ca, now):
            return
        problems = self.problems()
        if problems:
            raise BadCredentials(problems[0][0], _joined(problems))

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


def _how_to_read(error: OSError, path: str, flag: str, variable: str) -> str:
    if isinstance(error, FileNotFoundError):
        where = "" if os.path.isabs(path) else f" (looked for in {os.getcwd()})"
        return f"pass {flag} or set {variable}, or get the file from the administrator (joblet certs issue){where}"
    if isinstance(error, PermissionError):
        return f"{_owner(path)}pass {flag} with a file of yours, or ask the administrator for one (joblet certs issue)"
    return f"pass {flag} or set {variable} with a readable file"


def _owner(path: str) -> str:
    from pathlib import Path

    try:
        return f"it belongs to {Path(path).owner()}: "
    except (OSError, KeyError, NotImplementedError):
        return ""


def _joined(problems: list[tuple[str, str]]) -> str:
    """The first problem's advice, then the other problems with theirs."""
    lines = [problems[0][1]]
    for what, advice in problems[1:]:
        lines += [what, advice]
    return "\n".join(line for line in lines if line)
