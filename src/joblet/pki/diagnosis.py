"""
Why a set of certificate files is refused: every reason, in words.

Runs in: the user's terminal, a user's program, command lines. For a client only after `check.rehearse` or the server
has refused the set: `cryptography` takes as long to load as a whole call. May not: touch files.
Source: API specification, "Authentication Errors"; RFC 5280, section 6.1 (what makes a path valid).
"""

import time
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from joblet.pki.check import CLIENT, Pem, Problem, Trouble, Words, not_pem
from joblet.pki.describe import name_text


def problems(certificate: Pem, key: Pem, ca: Pem, words: Words = CLIENT, now_s: float | None = None) -> list[Problem]:
    """
    Everything that is wrong with the contents of the files; empty when nothing is.

    Args:
        now_s: Seconds since the epoch; the clock's when left out.
    """
    now_s = time.time() if now_s is None else now_s
    chain = _certificates(certificate, f"{words.owner} certificate", words.certificate)
    authorities = _certificates(ca, "CA certificate", words.ca)
    found = [read for read in (chain, authorities) if isinstance(read, Problem)]
    if not isinstance(chain, Problem):
        found += _validity(chain[0], certificate.path, words.renew, now_s)
    found += _key_problems(key, chain, certificate.path, words)
    if isinstance(chain, Problem) or isinstance(authorities, Problem):
        return found
    if not any(
        authority.not_valid_before_utc.timestamp() <= now_s < authority.not_valid_after_utc.timestamp()
        for authority in authorities
    ):
        found += _validity(authorities[0], ca.path, "ask the administrator for a new set (joblet certs init)", now_s)
    if not _is_signed_by(chain, authorities):
        found.append(
            Problem(
                Trouble.OTHER_AUTHORITY,
                f"certificate verify failed: {certificate.path} was not signed by the CA in {ca.path}",
                f"it was issued by {name_text(chain[0].issuer)}, the file holds"
                f" {name_text(authorities[0].subject)}: pass the {words.ca} file that came with it,"
                f" or {words.renew}",
            )
        )
    return found + _purpose_problems(chain[0], certificate.path, words)


def _certificates(pem: Pem, what: str, flag: str) -> list[x509.Certificate] | Problem:
    if b"-----BEGIN CERTIFICATE-----" not in pem.content:
        if b"PRIVATE KEY-----" in pem.content:
            return not_pem(pem.path, "it holds a private key (are two flags swapped?)", what, flag)
        reason = "it has no BEGIN CERTIFICATE line" if pem.content.strip() else "it is empty"
        return not_pem(pem.path, reason, what, flag)
    try:
        return x509.load_pem_x509_certificates(pem.content)
    except ValueError:
        return not_pem(pem.path, "what it holds is damaged", what, flag)


def _key_problems(
    key: Pem, chain: list[x509.Certificate] | Problem, certificate_path: Path, words: Words
) -> list[Problem]:
    what = f"{words.owner} key"
    try:
        private = load_pem_private_key(key.content, password=None)
    except TypeError:
        return [
            Problem(
                Trouble.ENCRYPTED,
                f"cannot use {key.path} as the {what}: it is protected by a passphrase",
                f"remove it (openssl pkey -in {key.path} -out FILE), and pass {words.key} with the new file",
            )
        ]
    except (ValueError, UnsupportedAlgorithm):
        if b"BEGIN CERTIFICATE" in key.content:
            return [not_pem(key.path, "it holds a certificate (are two flags swapped?)", what, words.key)]
        if not key.content.strip():
            return [not_pem(key.path, "it is empty", what, words.key)]
        present = b"PRIVATE KEY-----" in key.content
        reason = "what it holds is damaged" if present else "it has no BEGIN PRIVATE KEY line"
        return [not_pem(key.path, reason, what, words.key)]
    if isinstance(chain, Problem):
        return []
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) == chain[0].public_key().public_bytes(*form):
        return []
    return [
        Problem(
            Trouble.KEY_MISMATCH,
            f"the key {key.path} does not belong to the certificate {certificate_path}",
            f"pass {words.key} with the key that was issued with it, or {words.renew}",
        )
    ]


def _validity(certificate: x509.Certificate, path: Path, renew: str, now_s: float) -> list[Problem]:
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now_s >= ends.timestamp():
        what = f"certificate verify failed: certificate has expired ({path}, on {ends:%Y-%m-%dT%H:%M:%SZ})"
        return [Problem(Trouble.EXPIRED, what, renew)]
    if now_s < starts.timestamp():
        clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
        return [
            Problem(
                Trouble.NOT_YET_VALID,
                f"certificate verify failed: certificate is not yet valid ({path}, before {starts:%Y-%m-%dT%H:%M:%SZ})",
                f"check this machine's clock (it shows {clock}), or {renew}",
            )
        ]
    return []


def _is_signed_by(chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate]) -> bool:
    def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    current, intermediates = chain[0], list(chain[1:])
    while not any(issued(current, authority) for authority in authorities):
        following = next((candidate for candidate in intermediates if issued(current, candidate)), None)
        if following is None:
            return False
        intermediates.remove(following)  # so that two that signed each other end the search
        current = following
    return True


def _purpose_problems(certificate: x509.Certificate, path: Path, words: Words) -> list[Problem]:
    wanted = ExtendedKeyUsageOID.CLIENT_AUTH if words.owner == "client" else ExtendedKeyUsageOID.SERVER_AUTH
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return []
    except ValueError:  # an extension that cannot be read: the far side decides
        return []
    if wanted in usages or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
        return []
    return [
        Problem(
            Trouble.WRONG_PURPOSE,
            f"certificate verify failed: {path} is not a {words.owner}'s certificate"
            f" (it is {name_text(certificate.subject)})",
            f"pass {words.certificate} with a {words.owner}'s certificate, or {words.renew}",
        )
    ]
