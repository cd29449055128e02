"""
A first look at certificate files in a tenth of a millisecond, so that every call can afford it.

`pki/check.py` tells exactly what is wrong with a file, but loading what it needs takes as long as a whole `rnx list`
(cryptography 70 ms; its quick rehearsal with the `ssl` module 15). So this module reads just enough of the DER to
say "nothing looks wrong" and sends everything else to the exact check. It never calls a file wrong by itself, and
what it overlooks the server still refuses.

Runs in: a user's program, the user's terminal. May not: import outside the standard library.
Source: X.690 (DER), RFC 5280 sections 4.1 and 4.2.1, RFC 7468 (PEM).
"""

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from typing import Final, NamedTuple

_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03
_VERSION: Final = 0xA0

_SUBJECT_KEY_ID: Final = bytes.fromhex("0603551d0e")
_AUTHORITY_KEY_ID: Final = bytes.fromhex("0603551d23")
_EXTENDED_KEY_USAGE: Final = bytes.fromhex("0603551d25")
_CLIENT_AUTH: Final = bytes.fromhex("06082b06010505070302")


class _Certificate(NamedTuple):
    issuer: bytes
    subject: bytes
    not_before: str
    not_after: str
    public_key: bytes
    der: bytes


def nothing_looks_wrong(certificate: bytes, key: bytes, ca: bytes, now: str) -> bool:
    """
    Whether the certificate is valid now, belongs to the key, and seems to be from the authority.

    Args:
        now: UTC as YYYYMMDDhhmmss.
    """
    try:
        mine, authority = _certificate(certificate), _certificate(ca)
        key_der = _pem(key, rb"(?:EC |RSA )?PRIVATE KEY")
    except (ValueError, IndexError, NotBase64):
        return False
    return (
        (_CLIENT_AUTH in mine.der or _EXTENDED_KEY_USAGE not in mine.der)
        and all(each.not_before <= now <= each.not_after for each in (mine, authority))
        and mine.issuer == authority.subject
        and _is_from(mine, authority)
        # An RSA key holds the modulus, an EC key as every tool writes it holds the public point.
        and mine.public_key in key_der
    )


def _is_from(mine: _Certificate, authority: _Certificate) -> bool:
    """Whether the authority's key is the one the certificate names: two authorities may have one name."""
    at = authority.der.find(_SUBJECT_KEY_ID)
    if at < 0 or _AUTHORITY_KEY_ID not in mine.der:
        return False
    # OID, OCTET STRING, OCTET STRING: the identifier.
    _, outer, _ = _element(authority.der, at + len(_SUBJECT_KEY_ID))
    _, identifier, _ = _element(outer, 0)
    return identifier in mine.der[mine.der.find(_AUTHORITY_KEY_ID) :]


def _pem(pem: bytes, label: bytes) -> bytes:
    found = re.findall(b"-----BEGIN (" + label + rb")-----(.+?)-----END \1-----", pem, re.DOTALL)
    if len(found) != 1:
        raise ValueError("not one PEM block of this kind")
    return a2b_base64(found[0][1])


def _certificate(pem: bytes) -> _Certificate:
    """
    The parts of the only certificate in a PEM file.

    Raises:
        ValueError, IndexError: There is none, or several.
    """
    der = _pem(pem, rb"CERTIFICATE")
    _, body, _ = _element(der, 0)
    _, fields, _ = _element(body, 0)
    at = 0
    if fields[0] == _VERSION:
        _, _, at = _element(fields, at)
    parts: list[bytes] = []
    while len(parts) < 6:  # serial, algorithm, issuer, validity, subject, public key
        _, part, at = _element(fields, at)
        parts.append(part)
    _, _, issuer, validity, subject, public_key = parts
    first_tag, first, at = _element(validity, 0)
    last_tag, last, _ = _element(validity, at)
    return _Certificate(issuer, subject, _time(first_tag, first), _time(last_tag, last), _key_material(public_key), der)


def _key_material(public_key: bytes) -> bytes:
    """The point of an EC key, the modulus of an RSA key."""
    _, _, at = _element(public_key, 0)
    tag, bits, _ = _element(public_key, at)
    if tag != _BIT_STRING:
        raise ValueError("no public key")
    if bits[1] != _SEQUENCE:
        return bits[1:]
    _, numbers, _ = _element(bits, 1)
    _, modulus, _ = _element(numbers, 0)
    return modulus


def _time(tag: int, value: bytes) -> str:
    """UTCTime or GeneralizedTime as YYYYMMDDhhmmss."""
    text = value.decode("ascii").removesuffix("Z")
    if tag == 0x17:  # two digits of the year: RFC 5280, 4.1.2.5.1
        text = ("20" if text < "50" else "19") + text
    if not re.fullmatch("[0-9]{14}", text):
        raise ValueError("not a time in UTC")
    return text


def _element(der: bytes, at: int) -> tuple[int, bytes, int]:
    """
    The element at an offset: its tag, its content, and the offset behind it.

    Raises:
        ValueError, IndexError: The data ends before it does.
    """
    tag, length, at = der[at], der[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length, at = int.from_bytes(der[at : at + size], "big"), at + size
    if at + length > len(der):
        raise ValueError("cut short")
    return tag, der[at : at + length], at + length
