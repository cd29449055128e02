"""TLS 1.3 only, and certificates that are renewed while the server runs. The server is a process, as in production."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from certificates import DAY, MINUTE, Authority, Credentials, Key, write_server_certificates
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from grpc import StatusCode, aio
from served import channel_credentials, refusal
from serving_process import Process, a_process

from joblet.api import tls
from joblet.pki.names import CA_CERTIFICATE, SERVER_CERTIFICATE, SERVER_KEY
from joblet.wire import joblet_pb2 as pb
from joblet.wire import joblet_pb2_grpc

MAKE_KEY: dict[str, Callable[[], Key]] = {
    "ECDSA P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RSA 2048": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


def write(folder: Path, authority: Authority, key: Key | None = None, name: str = "server") -> None:
    """The server's three files, made or renewed."""
    folder.mkdir(exist_ok=True)
    write_server_certificates(folder, authority, authority.issue(name, for_server=True, key=key))


class Refused(Exception):
    """The server cut the connection before it said a word of HTTP/2."""


async def handshake(
    process: Process,
    authority: Authority,
    credentials: Credentials,
    folder: Path,
    version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> tuple[str, str]:
    """
    Shake hands with exactly this version of TLS, offering every cipher that OpenSSL has.

    Returns:
        The version agreed on, and the CN of the server's certificate.

    Raises:
        Refused: By the server.
    """
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    pem = folder / "client.pem"
    pem.write_bytes(credentials.certificate + credentials.key)
    context.load_cert_chain(pem)
    try:
        reader, writer = await asyncio.open_connection("localhost", process.port, ssl=context)
        connection = cast("ssl.SSLObject", writer.get_extra_info("ssl_object"))
        certificate = cast("dict[str, tuple[tuple[tuple[str, str]]]]", connection.getpeercert())
        agreed = connection.version() or ""
        # With TLS 1.3 the server judges the client's certificate after the client is done: its first words tell.
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        answer = await reader.read(9)
        writer.transport.abort()
    except OSError as error:
        raise Refused(str(error)) from None
    if not answer:
        raise Refused("no answer")
    subject = dict(pair for (pair,) in certificate["subject"])
    return agreed, subject["commonName"]


@pytest.mark.parametrize("kind", MAKE_KEY)
async def test_only_tls_1_3_is_spoken(
    tmp_path: Path, authority: Authority, certificates: dict[str, Credentials], kind: str
) -> None:
    """The same client, the same certificate, every cipher: 1.3 gets in, 1.2 does not, whatever the key."""
    certs = tmp_path / "certs"
    write(certs, authority, MAKE_KEY[kind]())
    async with a_process(tmp_path / "state", certs) as process:
        client = (process, authority, certificates["admin"], tmp_path)
        assert (await handshake(*client))[0] == "TLSv1.3"
        with pytest.raises(Refused):
            await handshake(*client, ssl.TLSVersion.TLSv1_2)
        (line,) = await process.saying("client refused in the TLS handshake")
        assert 'reason="the client does not speak TLS 1.3"' in line
        assert (await handshake(*client))[0] == "TLSv1.3"


async def test_a_client_without_a_certificate_of_our_ca_does_not_get_in(
    tmp_path: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Seen from plain TLS: the server does not say a word to it."""
    write(tmp_path / "certs", authority)
    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        for kind in ("expired", "not yet valid", "other CA"):
            with pytest.raises(Refused):
                await handshake(process, authority, certificates[kind], tmp_path)


async def test_a_renewed_certificate_is_shown_without_a_restart(
    tmp_path: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """The next connection sees it; nobody sends a signal."""
    write(tmp_path / "certs", authority, name="first")
    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        client = (process, authority, certificates["admin"], tmp_path)
        assert (await handshake(*client))[1] == "first"

        write(tmp_path / "certs", authority, name="second")

        assert (await handshake(*client))[1] == "second"
        (line,) = await process.saying("certificates reloaded")
        assert "[INFO]" in line


async def test_a_connection_made_before_the_renewal_goes_on(
    tmp_path: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """Its calls do not notice."""
    write(tmp_path / "certs", authority)
    admin = certificates["admin"]
    async with (
        a_process(tmp_path / "state", tmp_path / "certs") as process,
        a_channel(process, authority, admin) as channel,
    ):
        stub = cast("joblet_pb2_grpc.JobServiceAsyncStub", joblet_pb2_grpc.JobServiceStub(channel))
        await stub.ListJobs(pb.EmptyRequest())
        write(tmp_path / "certs", authority, name="second")
        assert (await handshake(process, authority, admin, tmp_path))[1] == "second"

        await stub.ListJobs(pb.EmptyRequest())


async def test_a_new_authority_lets_its_clients_in_and_others_no_more(
    tmp_path: Path, authority: Authority, certificates: dict[str, Credentials]
) -> None:
    """The CA file is renewed with the others."""
    write(tmp_path / "certs", authority)
    other = Authority("the next CA")
    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        write(tmp_path / "certs", other)

        assert (await handshake(process, other, other.issue("zoe", ["admin"]), tmp_path))[0] == "TLSv1.3"
        async with a_channel(process, authority, certificates["admin"]) as channel:
            stub = cast("joblet_pb2_grpc.JobServiceAsyncStub", joblet_pb2_grpc.JobServiceStub(channel))
            code, _ = await refusal(stub.ListJobs(pb.EmptyRequest()))
        assert code is StatusCode.UNAVAILABLE


def a_channel(process: Process, authority: Authority, credentials: Credentials) -> aio.Channel:
    """A connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    return aio.secure_channel(f"localhost:{process.port}", channel_credentials(authority, credentials), options=options)


BROKEN: dict[str, Callable[[Path, Authority], object]] = {
    "rubbish in the certificate": lambda certs, _: (certs / SERVER_CERTIFICATE).write_text("rubbish"),
    "an empty key": lambda certs, _: (certs / SERVER_KEY).write_bytes(b""),
    "no CA file": lambda certs, _: (certs / CA_CERTIFICATE).unlink(),
    "the key of another certificate": lambda certs, authority: (certs / SERVER_KEY).write_bytes(
        authority.issue("other").key
    ),
    "a key of another kind": lambda certs, authority: write(certs, authority, MAKE_KEY["RSA 2048"](), name="rsa"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_renewal_leaves_the_old_certificate_in_force(
    tmp_path: Path, authority: Authority, certificates: dict[str, Credentials], kind: str
) -> None:
    """The log warns once, with the file; once mended, the new certificate is taken."""
    write(tmp_path / "certs", authority, name="first")
    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        client = (process, authority, certificates["admin"], tmp_path)
        BROKEN[kind](tmp_path / "certs", authority)

        assert (await handshake(*client))[1] == "first"
        assert (await handshake(*client))[1] == "first"
        (line,) = await process.saying("certificates not reloaded")
        assert "[WARN]" in line
        assert str(tmp_path / "certs") in line

        write(tmp_path / "certs", authority, name="mended")
        assert (await handshake(*client))[1] == "mended"


@pytest.mark.parametrize(
    ("key", "suite"),
    [
        (MAKE_KEY["ECDSA P-256"](), "ECDHE-RSA-AES256-GCM-SHA384"),
        (MAKE_KEY["RSA 2048"](), "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (ed25519.Ed25519PrivateKey.generate(), "ECDHE-RSA-AES256-GCM-SHA384"),
    ],
)
def test_each_kind_of_key_leaves_tls_1_2_a_suite_that_it_cannot_sign_for(
    tmp_path: Path, authority: Authority, key: Key, suite: str
) -> None:
    """RSA keys get an ECDSA suite; all others an RSA suite."""
    write(tmp_path, authority, key)

    assert tls.suites(tls.read(tmp_path)) == suite


async def test_an_expired_certificate_of_the_server_is_told_at_start(tmp_path: Path, authority: Authority) -> None:
    """Clients refuse it without a word, so the server has to say it."""
    expired = authority.issue("server", for_server=True, starts=-2 * DAY, ends=-MINUTE)
    (tmp_path / "certs").mkdir()
    write_server_certificates(tmp_path / "certs", authority, expired)

    async with a_process(tmp_path / "state", tmp_path / "certs") as process:
        (line,) = await process.saying("the server's certificate has expired")

    assert "[WARN]" in line
    assert f"file={tmp_path / 'certs' / SERVER_CERTIFICATE}" in line
