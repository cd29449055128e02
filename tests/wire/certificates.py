"""
Makes the certificates a real authority would not: expired, from elsewhere, with odd units.

Runs in: tests.
"""

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)
DAY = datetime.timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


def pem_of(key: Key) -> bytes:
    """The key, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def subject(name: str, units: Sequence[str]) -> x509.Name:
    """CN=name, one OU for each of `units`, O=tests."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            *(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit) for unit in units),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "tests"),
        ]
    )


class Authority:
    """A CA with its key at hand."""

    def __init__(self, name: str = "test CA") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = subject(name, [])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + 10 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    @property
    def key(self) -> bytes:
        """Its key, as PEM."""
        return pem_of(self._key)

    def issue(
        self,
        name: str,
        units: Sequence[str] = (),
        *,
        key: Key | None = None,
        starts: datetime.timedelta = -MINUTE,
        ends: datetime.timedelta = DAY,
        for_server: bool = False,
    ) -> Credentials:
        """A certificate valid from `starts` to `ends`, both seen from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if for_server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject(name, units))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + starts)
            .not_valid_after(NOW + ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if for_server:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Credentials(certificate.public_bytes(serialization.Encoding.PEM), pem_of(key))


def write_server_certificates(folder: Path, authority: Authority, server: Credentials) -> None:
    """The three files a server needs, each replaced as a whole."""
    for name, content in (
        ("server-key.pem", server.key),
        ("server-cert.pem", server.certificate),
        ("ca-cert.pem", authority.certificate),
    ):
        fresh = folder / f".{name}"
        fresh.write_bytes(content)
        fresh.rename(folder / name)


def client_certificates(authority: Authority) -> dict[str, Credentials]:
    """One of each kind a client may show up with, by name."""
    issue = authority.issue
    return {
        "admin": issue("alice", ["admin"]),
        "viewer": issue("bob", ["viewer"]),
        "no OU": issue("carol"),
        "unknown OU": issue("dave", ["operator"]),
        "OU in capitals": issue("erin", ["ADMIN"]),
        "two OUs": issue("frank", ["admin", "viewer"]),
        "expired": issue("grace", ["admin"], starts=-2 * DAY, ends=-MINUTE),
        "not yet valid": issue("heidi", ["admin"], starts=DAY, ends=2 * DAY),
        "other CA": Authority("another CA").issue("mallory", ["admin"]),
    }


def write_client_files(folder: Path, authority: Authority, certificates: Mapping[str, Credentials]) -> None:
    """The files of every kind of client, as `rnx_process.environment` names them."""
    (folder / "ca-cert.pem").write_bytes(authority.certificate)
    for kind, pem in certificates.items():
        (folder / f"{kind}-cert.pem").write_bytes(pem.certificate)
        (folder / f"{kind}-key.pem").write_bytes(pem.key)
