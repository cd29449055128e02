"""
TLS 1.3 only, a client certificate of our CA required, certificates renewed while serving.

Runs in: server loop; `_Renewal` in gRPC's threads, once a handshake.
May not: import grpc before `allow_only_tls_1_3` has run (gRPC reads its environment once).
Source: API specification, "Authentication"; RFC 8446, section 4.1.1 (cipher suites of TLS 1.3 name no key type).
"""

import datetime
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from joblet.complaint import Complaint, why
from joblet.pki.names import CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY
from joblet.serverlog import ServerLog

if TYPE_CHECKING:
    import grpc

# gRPC's Python API has no minimum version. Its cipher list, however, is one for TLS 1.2 only: when it holds just a
# suite that our key cannot sign for, TLS 1.2 has no cipher in common with any client, and TLS 1.3 is untouched.
_SUITE_NO_RSA_KEY_CAN_USE: Final = "ECDHE-ECDSA-AES256-GCM-SHA384"
_SUITE_ONLY_AN_RSA_KEY_CAN_USE: Final = "ECDHE-RSA-AES256-GCM-SHA384"


class CertificatesUnusable(Complaint):
    """A file of the certificate folder cannot be used."""


@dataclass(frozen=True, slots=True)
class ServerCertificates:
    """What the three files hold, checked."""

    ca: bytes
    certificate: bytes
    key: bytes
    has_rsa_key: bool
    not_after: datetime.datetime


def read(folder: Path) -> ServerCertificates:
    """
    Read and check the server's three files.

    Raises:
        CertificatesUnusable: One is missing, unreadable or not PEM, or key and certificate do not belong together.
    """
    ca, certificate, key = (_read_file(folder / name) for name in (CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY))
    _load_certificate(folder / CA_CERTIFICATE, ca)
    shown = _load_certificate(folder / SERVER_CERTIFICATE, certificate)
    public = shown.public_key()
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise CertificatesUnusable(
            f"cannot use {folder / SERVER_KEY}: not an unencrypted private key in PEM ({error})",
            "write key and certificate anew with `joblet certs`",
        ) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise CertificatesUnusable(
            f"cannot use {folder / SERVER_KEY}: it is not the key of {SERVER_CERTIFICATE}",
            "put the two files of one certificate there, or write both anew with `joblet certs`",
        )
    return ServerCertificates(ca, certificate, key, isinstance(public, RSAPublicKey), shown.not_valid_after_utc)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificatesUnusable(
            f"cannot read {path}: {why(error)}",
            f"`joblet certs init --dir {path.parent}` writes a set, --certs names another folder",
        ) from None


def _load_certificate(path: Path, pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except ValueError as error:
        raise CertificatesUnusable(
            f"cannot use {path}: not a certificate in PEM ({error})", "write it anew with `joblet certs`"
        ) from None


def allow_only_tls_1_3(certificates: ServerCertificates) -> None:
    """Leave TLS 1.2 without a cipher, for this process and this kind of key; before grpc is imported."""
    if "grpc" in sys.modules:
        raise RuntimeError("grpc was imported before it was told to speak TLS 1.3 only")
    os.environ["GRPC_SSL_CIPHER_SUITES"] = suites(certificates)


def suites(certificates: ServerCertificates) -> str:
    """The ciphers that TLS 1.2 may use with this key: one that it cannot."""
    return _SUITE_NO_RSA_KEY_CAN_USE if certificates.has_rsa_key else _SUITE_ONLY_AN_RSA_KEY_CAN_USE


def server_credentials(folder: Path, certificates: ServerCertificates, log: ServerLog) -> "grpc.ServerCredentials":
    """Credentials that begin with `certificates` and follow what the folder holds later."""
    import grpc

    _warn_if_expired(folder, certificates, log)
    renewal = _Renewal(folder, certificates, log)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(certificates),
        renewal.if_changed,  # type: ignore[arg-type]  # the stub forgets that None means "as before"
        require_client_authentication=True,
    )


def _warn_if_expired(folder: Path, certificates: ServerCertificates, log: ServerLog) -> None:
    """Clients refuse such a certificate without a word to us, so this line is the only one there will be."""
    if certificates.not_after < datetime.datetime.now(datetime.UTC):
        log.warn(
            "the server's certificate has expired",
            file=folder / SERVER_CERTIFICATE,
            at=certificates.not_after.isoformat(),
        )


def _configuration(certificates: ServerCertificates) -> "grpc.ServerCertificateConfiguration":
    import grpc

    pair = (certificates.key, certificates.certificate)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=certificates.ca)


class _Renewal:
    """Looks at the files once a handshake (three stat calls, 5 µs) and reads them when one has changed."""

    def __init__(self, folder: Path, certificates: ServerCertificates, log: ServerLog) -> None:
        self._folder = folder
        self._current = certificates
        self._log = log
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], ...] = ()  # so the first handshake looks once more, whatever came meanwhile

    def if_changed(self) -> "grpc.ServerCertificateConfiguration | None":
        """The new certificates, or None to go on with those in force."""
        with self._lock:
            stamp = self._stamp()
            if stamp == self._seen:
                return None
            self._seen = stamp
            try:
                fresh = read(self._folder)
                if fresh.has_rsa_key != self._current.has_rsa_key:
                    raise CertificatesUnusable(
                        f"cannot use {self._folder / SERVER_KEY} before a restart: TLS 1.2 is shut out by the kind of"
                        " key (RSA or not), and the new key is of the other kind",
                    )
            except CertificatesUnusable as error:
                self._log.warn("certificates not reloaded: those in force stay", reason=error.what)
                return None
            if fresh == self._current:
                return None
            self._current = fresh
        self._log.info("certificates reloaded", folder=self._folder)
        _warn_if_expired(self._folder, fresh, self._log)
        return _configuration(fresh)

    def _stamp(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_stamp(self._folder / name) for name in (CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY))


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when the file does; empty when it is gone."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
