"""
The clients that cases come as: given as files, or made here when the CA's key is at hand.

    admin, viewer            certificates with a role
    expired, not-yet-valid   of the right CA, at the wrong time
    foreign                  of a CA that the server does not know; always made here
    role-less                of the right CA, without an OU
    unknown-role             OU=operator
    capitals                 OU=ADMIN, which is not the role admin
    named-admin              CN=admin, OU=viewer, which is a viewer
    impostor                 of a CA that has the name of the right one, but another key; always made here
    none                     no certificate at all

Runs in: the terminal of whoever tests a server. May not: write a file, connect.
Source: API specification, "Certificate Requirements"; RFC 5280.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY: Final = datetime.timedelta(days=1)
_HOUR: Final = datetime.timedelta(hours=1)
_ORGANISATION: Final = "joblet-conformance"
_PUBLIC: Final = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class CertificateUnusable(Exception):
    """A file that was named does not hold what it should."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A client's certificate and key, as PEM; both empty for a client that shows none."""

    certificate: bytes = b""
    key: bytes = field(default=b"", repr=False)  # a traceback or a log is no place for it


@dataclass(frozen=True, slots=True)
class _Kind:
    """A client to make: OU and CN (empty for none in particular), and from when to when it is valid, seen from now."""

    unit: str
    name: str = ""
    starts: datetime.timedelta = -_HOUR
    ends: datetime.timedelta = _DAY


KINDS: Final[Mapping[str, _Kind]] = {
    "admin": _Kind("admin"),
    "viewer": _Kind("viewer"),
    "expired": _Kind("admin", starts=-2 * _DAY, ends=-_HOUR),
    "not-yet-valid": _Kind("admin", starts=_DAY, ends=2 * _DAY),
    "foreign": _Kind("admin"),
    "role-less": _Kind(""),
    "unknown-role": _Kind("operator"),
    "capitals": _Kind("ADMIN"),
    "named-admin": _Kind("viewer", name="admin"),
    "impostor": _Kind("admin"),
}


class Authority:
    """A CA with its key."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """
        Take a CA's certificate and key.

        Raises:
            CertificateUnusable: They are not a pair in PEM, or the key is of a kind nobody has a CA of.
        """
        try:
            self._certificate = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError) as error:
            raise CertificateUnusable(f"the CA's certificate or key cannot be read: {error}") from None
        if not isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise CertificateUnusable("the CA's key is neither RSA nor of an elliptic curve")
        self._key = private
        if private.public_key().public_bytes(*_PUBLIC) != self._certificate.public_key().public_bytes(*_PUBLIC):
            raise CertificateUnusable("the CA's key is not that of its certificate")

    def client(self, name: str, kind: _Kind) -> Identity:
        """A client's certificate of this kind."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, kind.name or f"conformance-{name}")]
        if kind.unit:
            subject.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, kind.unit))
        subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name(subject))
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + kind.starts)
            .not_valid_after(now + kind.ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return Identity(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


_UNKNOWN: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA that the server does not know")])


def foreign_authority(name: x509.Name = _UNKNOWN) -> Authority:
    """A CA that no server knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate.public_bytes(serialization.Encoding.PEM), _pem(key))


# What the OU of a client that is given must be; of the other kinds it may be anything.
_UNITS: Final = {kind: KINDS[kind].unit for kind in ("admin", "viewer", "role-less", "capitals", "named-admin")}


def _check(kind: str, identity: Identity) -> None:
    """Raises CertificateUnusable when it is not what its flag says: a case would blame the server."""
    try:
        certificate = x509.load_pem_x509_certificate(identity.certificate)
        public = serialization.load_pem_private_key(identity.key, password=None).public_key()
    except (ValueError, TypeError) as error:
        raise CertificateUnusable(f"--{kind}-cert or --{kind}-key cannot be read: {error}") from None
    if public.public_bytes(*_PUBLIC) != certificate.public_key().public_bytes(*_PUBLIC):
        raise CertificateUnusable(f"--{kind}-key is not the key of --{kind}-cert")
    now = datetime.datetime.now(datetime.UTC)
    early, late = now < certificate.not_valid_before_utc, now > certificate.not_valid_after_utc
    if (early, late) != (kind == "not-yet-valid", kind == "expired"):
        span = f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
        raise CertificateUnusable(f"--{kind}-cert is valid from {span} UTC, which does not fit its name")
    units = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)]
    wanted = _UNITS.get(kind)
    if wanted is not None and (wanted not in units if wanted else units):
        shown = " and ".join(f"OU={unit}" for unit in units) or "no OU"
        raise CertificateUnusable(f"--{kind}-cert has {shown}, expected {f'OU={wanted}' if wanted else 'none'}")


def identities(ca: bytes, ca_key: bytes | None, given: Mapping[str, Identity]) -> Mapping[str, Identity]:
    """
    Every client there can be.

    Args:
        ca: The certificate of the CA that the server trusts.
        ca_key: Its key; without it only what is given can be used, and what needs no key of the CA's.
        given: What the user has brought.

    Raises:
        CertificateUnusable: CA and key are not a pair, or it is none; or what is given is not of its kind.
    """
    for kind, identity in given.items():
        _check(kind, identity)
    try:
        name = x509.load_pem_x509_certificate(ca).subject
    except ValueError as error:
        raise CertificateUnusable(f"the CA's certificate cannot be read: {error}") from None
    made = {
        "none": Identity(),
        "foreign": foreign_authority().client("foreign", KINDS["foreign"]),
        "impostor": foreign_authority(name).client("impostor", KINDS["impostor"]),
    }
    if ca_key is not None:
        authority = Authority(ca, ca_key)
        made |= {name: authority.client(name, kind) for name, kind in KINDS.items() if name not in made}
    return {**made, **given}


def read(path: Path) -> bytes:
    """
    A PEM file.

    Raises:
        CertificateUnusable: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateUnusable(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
