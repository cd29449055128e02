"""
Makes certificates: an authority, a server's, a client's.

    CA      CN=Joblet CA <8 hex digits>, O=<organisation>   signs, nothing else; path length 0
    server  CN=<first host>, O=<organisation>               serverAuth, names and addresses in the SAN
    client  CN=<name>, OU=<role>, O=<organisation>          clientAuth

Keys are ECDSA P-256: small, fast, and with such a server key TLS 1.2 can be shut out (`api/tls.py`).

Runs in: command lines. May not: touch files (`files.py` does), read a clock.
Source: API specification, "Certificate Requirements"; RFC 5280, sections 4.1 and 4.2.
"""

import datetime
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from joblet.complaint import Complaint
from joblet.domain.role import Role
from joblet.pki.hosts import Host

ROLES: Final = tuple(role.value for role in Role)
ORGANISATION: Final = "Joblet"
CA_DAYS: Final = 3650
DAYS: Final = 365
MOST_DAYS: Final = 36_500

# Clocks differ a little: a certificate issued here must already be valid over there.
BACKDATED: Final = datetime.timedelta(minutes=1)

LONGEST_NAME: Final = 64  # RFC 5280, appendix A: ub-common-name, ub-organization-name


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign: make one with `new_authority` or `load_authority`."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    now: datetime.datetime

    @property
    def as_pem(self) -> Issued:
        """Its own files."""
        return Issued(self.certificate.public_bytes(Encoding.PEM), _key_pem(self.key))

    def issue_server(self, hosts: Sequence[Host], organisation: str, days: int) -> Issued:
        """
        A certificate for a server that clients reach under these names and addresses.

        Raises:
            Complaint: A value cannot go into a certificate.
        """
        subject = _subject(str(hosts[0])[:LONGEST_NAME], organisation)
        names = [x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host) for host in hosts]
        return self._issue(subject, ExtendedKeyUsageOID.SERVER_AUTH, days, x509.SubjectAlternativeName(names))

    def issue_client(self, name: str, role: str, organisation: str, days: int) -> Issued:
        """
        A certificate that lets `name` in as `role`.

        Raises:
            Complaint: A value cannot go into a certificate.
        """
        if role not in ROLES:
            raise Complaint(f"{role!r} is not a role", f"give one of {', '.join(ROLES)}")
        return self._issue(_subject(name, organisation, role), ExtendedKeyUsageOID.CLIENT_AUTH, days)

    def _issue(
        self, subject: x509.Name, usage: x509.ObjectIdentifier, days: int, names: x509.ExtensionType | None = None
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        # Beyond its authority's end a certificate is worth nothing: say so in the certificate itself.
        end = min(self.now + _days(days), self.certificate.not_valid_after_utc)
        builder = (
            _builder(subject, self.certificate.subject, key, self.now, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return Issued(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM), _key_pem(key))


def new_authority(organisation: str, days: int, now: datetime.datetime) -> Authority:
    """
    A new CA.

    Its name is its own: two authorities with one name make a refused client hard to explain.

    Raises:
        Complaint: A value cannot go into a certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"Joblet CA {secrets.token_hex(4)}", organisation)
    certificate = (
        _builder(subject, subject, key, now, now + _days(days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key, now)


def load_authority(certificate: bytes, key: bytes, now: datetime.datetime) -> Authority:
    """
    A CA from its two PEM files.

    Raises:
        ValueError: They are no CA that can sign now; the words follow the files' names.
    """
    try:
        loaded = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError:
        raise ValueError("the certificate is not PEM") from None
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        raise ValueError("the key is encrypted; joblet asks for no passphrase") from None
    except ValueError:
        raise ValueError("the key is not an unencrypted PEM key") from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an elliptic curve key, as joblet's are")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != loaded.public_key().public_bytes(*form):
        raise ValueError("the key does not belong to the certificate")
    if loaded.not_valid_after_utc <= now:
        raise ValueError(f"the certificate has expired (on {loaded.not_valid_after_utc:%Y-%m-%d})")
    return Authority(loaded, private, now)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _subject(name: str, organisation: str, unit: str | None = None) -> x509.Name:
    for what, text in (("name", name), ("organisation", organisation)):
        if not text.strip() or len(text) > LONGEST_NAME or not text.isprintable():
            raise Complaint(
                f"{text!r} cannot be the {what} in a certificate",
                f"give 1 to {LONGEST_NAME} characters that can be printed",
            )
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    if unit is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _days(days: int) -> datetime.timedelta:
    if not 1 <= days <= MOST_DAYS:
        raise Complaint(f"a certificate cannot be valid for {days} days", f"give 1 to {MOST_DAYS} days")
    return datetime.timedelta(days=days)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
