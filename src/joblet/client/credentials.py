"""
The three files that let a client in, checked before anything is connected.

A look that costs next to nothing (`screening`) lets a good set pass; whatever looks odd is examined by `pki/check.py`,
which finds the words and costs more than the call itself.

Runs in: a user's program, the user's terminal. May not: import grpc; import more of `joblet.pki` than the
files' names unless something looks wrong.
Source: API specification, "Certificate Files Required", "Environment Variables", "Client Limits".
"""

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from joblet.client.errors import BadCredentials
from joblet.client.screening import nothing_looks_wrong
from joblet.pki.names import CA_CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY

DEFAULT_CERTIFICATE: Final = f"certs/{CLIENT_CERTIFICATE}"
DEFAULT_KEY: Final = f"certs/{CLIENT_KEY}"
DEFAULT_CA: Final = f"certs/{CA_CERTIFICATE}"

# Named as in the specification.
SERVER_VARIABLE: Final = "JOBLET_SERVER"
CERTIFICATE_VARIABLE: Final = "JOBLET_CERT_PATH"
KEY_VARIABLE: Final = "JOBLET_KEY_PATH"
CA_VARIABLE: Final = "JOBLET_CA_PATH"

_MAX_BYTES: Final = 1024 * 1024


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
        try:
            credentials = cls(*paths, *map(_read, paths))
        except (OSError, ValueError):
            credentials = None
        if credentials is None or not credentials.look_right():
            _check_exactly(paths)
        # What OpenSSL refuses by a policy of this machine may still do for the server: then the server decides.
        return credentials or cls(*paths, *map(_read, paths))

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

    def look_right(self) -> bool:
        """Whether nothing seems wrong at a first look; what does may still be right."""
        now = time.strftime("%Y%m%d%H%M%S", time.gmtime())
        return nothing_looks_wrong(self.certificate, self.key, self.ca, now)

    def problems(self) -> list[str]:
        """Everything that is wrong with the files, each with what to do about it; slow."""
        from pathlib import Path

        from joblet.pki.check import Pem
        from joblet.pki.diagnosis import problems

        found = problems(
            Pem(Path(self.certificate_path), self.certificate),
            Pem(Path(self.key_path), self.key),
            Pem(Path(self.ca_path), self.ca),
        )
        return [f"{problem.what}: {problem.mend}" for problem in found]


def _read(path: str) -> bytes:
    """
    A small regular file.

    Raises:
        OSError, ValueError: It is none, or cannot be read.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"not a regular file: {path}")
        return file.read(_MAX_BYTES)


def _check_exactly(paths: tuple[str, str, str]) -> None:
    """
    Find out what is wrong with the files.

    Raises:
        BadCredentials: With every problem; returning means that there is none.
    """
    from pathlib import Path

    from joblet.pki.check import FilesUnusable, check

    try:
        certificate, key, ca = map(Path, paths)
        check(certificate, key, ca)
    except FilesUnusable as error:
        raise BadCredentials(error.what, error.mend) from None
