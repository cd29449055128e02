"""
TLS as such: which version, and that there is no way around it.

Runs in: the terminal of whoever tests a server.
Source: API specification, "API Characteristics", "Base Configuration"; RFC 8446; RFC 9113, sections 3.4, 4.1.
"""

import asyncio
import ssl
import tempfile
import warnings
from pathlib import Path
from typing import Final, cast

from joblet_conformance.case import Level, Profile, case
from joblet_conformance.evidence import Failed, Skipped, same
from joblet_conformance.subject import Subject

# The beginning of HTTP/2 from a client, with settings that say nothing.
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
FRAME_HEAD_BYTES: Final = 9
TYPE_AT: Final = 3
SETTINGS: Final = 4  # the type of the frame that every greeting begins with
OLD: Final = (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1)


class _Refused(Exception):
    """The server has not said a word of HTTP/2."""


async def _greeted(server: Subject, version: ssl.TLSVersion | None, role: str = "admin") -> str:
    """
    Begin to talk HTTP/2 with exactly this version of TLS, offering every cipher that OpenSSL has.

    Args:
        version: None for no TLS at all.

    Returns:
        The version that was agreed on.

    Raises:
        _Refused: By the server.
        Failed: The server's own certificate is none of this name, or of this CA.
    """
    exchange = server.evidence.begin(role, "TLS", version.name if version else "no TLS")
    host, _, port = server.target.address.rpartition(":")
    try:
        async with asyncio.timeout(server.patience_s):
            reader, writer = await asyncio.open_connection(
                host.strip("[]"),
                int(port),
                ssl=_context(server, version, role) if version else None,
                server_hostname=(server.target.server_name or host.strip("[]")) if version else None,
            )
            try:
                # With TLS 1.3 the server judges the client after the client is done: its first words tell.
                writer.write(PREFACE)
                answer = await _head(reader)
                agreed = cast("ssl.SSLObject", writer.get_extra_info("ssl_object")).version() if version else "none"
            finally:
                writer.transport.abort()
    except ssl.SSLCertVerificationError as error:
        exchange.ended("NOT VERIFIED", str(error))
        raise Failed(f"the server's certificate cannot be verified: {error.verify_message}") from None
    except (OSError, TimeoutError) as error:
        why = str(error) or type(error).__name__
        exchange.ended("REFUSED", why)
        raise _Refused(why) from None
    if len(answer) < FRAME_HEAD_BYTES or answer[TYPE_AT] != SETTINGS:
        why = f"it answers {answer!r}, which is no HTTP/2" if answer else "the connection was closed"
        exchange.ended("REFUSED", why)
        raise _Refused(why)
    exchange.ended("GREETED", f"{agreed}: {answer!r}")
    return agreed or ""


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readexactly(FRAME_HEAD_BYTES)
    except asyncio.IncompleteReadError as error:
        return error.partial


async def _is_refused(server: Subject, version: ssl.TLSVersion | None, what: str, role: str = "admin") -> None:
    """Such a client hears no word of HTTP/2, and that is not because the server is gone."""
    try:
        agreed = await _greeted(server, version, role)
    except _Refused:
        await server.listed()
        return
    raise Failed(f"{what} is greeted (over {agreed})" if version else f"{what} is greeted")


def _context(server: Subject, version: ssl.TLSVersion, role: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=server.target.ca.decode())
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13's default; many a CA made by hand does not pass it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of versions that a server is not to speak
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    identity = server.target.identity(role)
    if identity.certificate:
        with tempfile.TemporaryDirectory() as folder:  # OpenSSL takes files only
            pem = Path(folder) / "client.pem"
            pem.touch(mode=0o600)
            pem.write_bytes(identity.certificate + identity.key)
            context.load_cert_chain(pem)
    return context


@case("tls.1-3", "characteristics.tls", "base.tls", "overview.grpc", profile=Profile.SECURITY)
async def tls_1_3_is_spoken(server: Subject) -> None:
    """A client that speaks nothing but TLS 1.3 is greeted in HTTP/2."""
    try:
        agreed = await _greeted(server, ssl.TLSVersion.TLSv1_3)
    except _Refused as refused:
        raise Failed(f"a client with TLS 1.3 is refused: {refused}") from None
    same("the version agreed on", agreed, "TLSv1.3")


@case("tls.1-2", "characteristics.tls", profile=Profile.SECURITY)
async def tls_1_2_is_refused(server: Subject) -> None:
    """A client with a valid certificate that speaks nothing newer than TLS 1.2 does not get in."""
    await _is_refused(server, ssl.TLSVersion.TLSv1_2, "a client with nothing newer than TLS 1.2")


# A should, as tls.1-2 decides already, and not every client's OpenSSL can ask.
@case("tls.older", "characteristics.tls", profile=Profile.SECURITY, level=Level.SHOULD)
async def older_versions_are_refused(server: Subject) -> None:
    """A client with a valid certificate that speaks nothing newer than TLS 1.1, or 1.0, does not get in."""
    offered = [version for version in OLD if _is_offered(server, version)]
    if not offered:
        raise Skipped(f"this machine's {ssl.OPENSSL_VERSION} offers nothing older than TLS 1.2")

    for version in offered:
        await _is_refused(server, version, f"a client with nothing newer than {version.name}")


def _is_offered(server: Subject, version: ssl.TLSVersion) -> bool:
    """Whether our own OpenSSL would begin with this version: what it does not say, the server has not refused."""
    said = ssl.MemoryBIO()
    try:
        _context(server, version, "admin").wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return said.pending > 0
    except (ssl.SSLError, ValueError):
        return False
    return False


@case("tls.none", "base.tls", "overview.mutual-tls", profile=Profile.SECURITY)
async def plain_text_is_refused(server: Subject) -> None:
    """A client without TLS does not get in."""
    await _is_refused(server, None, "a client without TLS")


def _not_greeted(kind: str) -> None:
    @case(
        f"tls.{kind}-not-greeted",
        "authentication.same-ca",
        profile=Profile.SECURITY,
        level=Level.SHOULD,
    )
    async def refused(server: Subject) -> None:
        """A client that cannot be verified is cut in the handshake: it does not hear a word of HTTP/2."""
        await _is_refused(server, ssl.TLSVersion.TLSv1_3, f"the client {kind!r}", kind)


for _kind in ("none", "foreign", "expired"):
    _not_greeted(_kind)
