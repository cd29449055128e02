"""
What a certificate says, for people: `joblet certs show`.

Runs in: command lines. May not: touch files, read a clock.
Source: RFC 4514 for names; API specification, "Certificate Requirements" for the role.
"""

import datetime
from dataclasses import dataclass
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from joblet.pki.issue import ROLES

DAY = datetime.timedelta(days=1)

_T = TypeVar("_T", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Description:
    """
    One certificate.

    Args:
        role: What it lets its owner be, in words.
        names: Host names and addresses it is good for.
    """

    subject: str
    role: str
    issuer: str
    not_before: datetime.datetime
    not_after: datetime.datetime
    names: tuple[str, ...]
    fingerprint: str
    expired: bool
    validity: str

    def lines(self) -> list[str]:
        """As shown below the file's name."""
        rows = [
            ("Subject", self.subject),
            ("Role", self.role),
            ("Issuer", self.issuer),
            ("Valid", f"{_utc(self.not_before)} to {_utc(self.not_after)} ({self.validity})"),
            ("Names", ", ".join(self.names)),
            ("SHA-256", self.fingerprint),
        ]
        return [f"  {label + ':':<9}{value}" for label, value in rows if value]


def describe(pem: bytes, now: datetime.datetime) -> list[Description]:
    """
    Every certificate in a PEM file.

    Raises:
        ValueError: There is none, or one is damaged.
    """
    return [_describe(certificate, now) for certificate in x509.load_pem_x509_certificates(pem)]


def _describe(certificate: x509.Certificate, now: datetime.datetime) -> Description:
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Description(
        subject=name_text(certificate.subject),
        role=_role(certificate),
        issuer="itself" if certificate.issuer == certificate.subject else name_text(certificate.issuer),
        not_before=starts,
        not_after=ends,
        names=_hosts(certificate),
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
        expired=ends <= now,
        validity=_validity(starts, ends, now),
    )


def _validity(starts: datetime.datetime, ends: datetime.datetime, now: datetime.datetime) -> str:
    if ends <= now:
        return f"EXPIRED {_days(now - ends)} ago"
    if now < starts:
        return f"NOT YET VALID, begins in {_days(starts - now)}"
    return f"{_days(ends - now)} left"


def _days(span: datetime.timedelta) -> str:
    if span < DAY:
        return f"{int(span.total_seconds() // 3600)} h"
    return "1 day" if span < 2 * DAY else f"{span // DAY} days"


def _role(certificate: x509.Certificate) -> str:
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        return "certificate authority"
    if usages is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        return "server" if ExtendedKeyUsageOID.SERVER_AUTH in usages else "none: not for TLS"
    units = sorted(
        {str(unit.value) for unit in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)}
    )
    if not units:
        return "none: the subject has no OU"
    if len(units) > 1:
        return f"none: the subject has several OUs ({', '.join(units)})"
    return units[0] if units[0] in ROLES else f"none: {units[0]} is not one of {', '.join(ROLES)}"


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    names = _extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return ()
    dns = names.get_values_for_type(x509.DNSName)
    return (*dns, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def _extension(certificate: x509.Certificate, kind: type[_T]) -> _T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def name_text(name: x509.Name) -> str:
    """A name in the certificate's own order, as the specification writes it (RFC 4514 turns it round)."""
    return ", ".join(rdn.rfc4514_string() for rdn in name.rdns)


def _utc(at: datetime.datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
