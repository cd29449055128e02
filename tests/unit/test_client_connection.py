"""
Addresses, and gRPC's words for a failed connection as words a user can act on.

Runs in: pytest.
"""

from pathlib import Path

import pytest
from scripted import write_certificates

from joblet.client.connection import address_of, channel_options, error_of
from joblet.client.credentials import Credentials
from joblet.client.errors import BadAddress, NoAnswer, ServerUnreachable, UnexpectedAnswer
from joblet.domain.errors import JobNotFound

ADDRESS = "prod.example.com:50051"


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    folder = tmp_path_factory.mktemp("certs")
    write_certificates(folder)
    return Credentials.from_files(folder / "admin-cert.pem", folder / "admin-key.pem", folder / "ca-cert.pem")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("prod.example.com:50052", "prod.example.com:50052"),
        ("prod.example.com", "prod.example.com:50051"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("[::1]:50052", "[::1]:50052"),
        ("[fe80::1%eth0]", "[fe80::1%eth0]:50051"),
    ],
)
def test_an_address_may_leave_the_port_out(given: str, address: str) -> None:
    assert address_of(given) == address


@pytest.mark.parametrize(
    "given", ["", ":50051", "host:", "host:0", "host:65536", "::1", "https://host:1", "a b", "h:x"]
)
def test_what_is_no_address_is_refused_before_anything_is_connected(given: str) -> None:
    with pytest.raises(BadAddress, match="not a server address"):
        address_of(given)


def test_no_proxy_stands_between_a_client_and_its_own_machine() -> None:
    assert ("grpc.enable_http_proxy", 0) in channel_options("localhost:50051")
    assert ("grpc.enable_http_proxy", 0) not in channel_options(ADDRESS)


@pytest.mark.parametrize(
    ("details", "what", "advice"),
    [
        ("last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect to remote host: Connection refused",
         "connection refused", "joblet serve"),
        ("errors resolving no-such-host.invalid:5: [field:hostname lookup error:… Domain name not found]",
         "its name cannot be resolved", "host name"),
        ("Failed to connect to remote host: No route to host", "no route to it", "firewall"),
        ("Peer name elsewhere.test is not in peer certificate",
         "the server's certificate is for another name", "joblet certs issue --role server --host NAME --force"),
        ("Tls handshake failed: … CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate: OK",
         "certificate verify failed", "--ca"),
        ("Tls handshake failed: … WRONG_VERSION_NUMBER: Invalid certificate verification context",
         "not a Joblet server", "port"),
        ("Cannot check peer: missing selected ALPN property.", "not a Joblet server", "port"),
        ("Tls handshake failed: … TLSV1_ALERT_PROTOCOL_VERSION", "no version of TLS in common", "TLS 1.3"),
        ("Failed to create security handshaker.", "cannot be used together", "admin-key.pem"),
        ("failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:37537: Socket closed",
         "the server closed the connection during the TLS handshake",
         "the server's log tells which"),
        ("last error: something nobody has seen", "something nobody has seen", "joblet serve"),
    ],
)  # fmt: skip
def test_a_connection_that_failed_is_explained(credentials: Credentials, details: str, what: str, advice: str) -> None:
    error = error_of("UNAVAILABLE", details, ADDRESS, credentials, 30)

    assert isinstance(error, ServerUnreachable)
    assert error.message.startswith(f"cannot connect to {ADDRESS}: ")
    assert what in error.message
    assert advice in error.mend


def test_a_handshake_refused_for_the_certificate_names_what_is_wrong_with_it(tmp_path: Path) -> None:
    """It may have expired since the files were checked."""
    write_certificates(tmp_path)
    certificate, key, ca = (tmp_path / name for name in ("expired-cert.pem", "expired-key.pem", "ca-cert.pem"))
    expired = Credentials(
        str(certificate), str(key), str(ca), certificate.read_bytes(), key.read_bytes(), ca.read_bytes()
    )

    error = error_of(
        "UNAVAILABLE", "failed to connect to all addresses; last error: … Socket closed", ADDRESS, expired, 30
    )

    assert isinstance(error, ServerUnreachable)
    assert "certificate has expired" in error.mend


def test_a_connection_that_was_lost_is_not_taken_for_one_that_was_refused(credentials: Credentials) -> None:
    error = error_of("UNAVAILABLE", "Socket closed", ADDRESS, credentials, 30)

    assert isinstance(error, ServerUnreachable)
    assert error.message == f"the connection to {ADDRESS} was lost before the answer came"


def test_a_call_that_a_server_cut_off_when_it_ended_says_so(credentials: Credentials) -> None:
    """gRPC's server says CANCELLED, and nothing more, to calls it had not taken yet."""
    error = error_of("CANCELLED", "CANCELLED", ADDRESS, credentials, 30)

    assert isinstance(error, ServerUnreachable)
    assert error.message == f"{ADDRESS} ended the call before it was answered: it is probably being restarted"


def test_an_answer_that_does_not_come_says_how_long_it_was_waited_for(credentials: Credentials) -> None:
    error = error_of("DEADLINE_EXCEEDED", "Deadline Exceeded", ADDRESS, credentials, 30)

    assert isinstance(error, NoAnswer)
    assert "did not answer within 30 s" in error.message


def test_a_servers_answer_is_not_taken_for_a_lost_connection(credentials: Credentials) -> None:
    assert isinstance(error_of("NOT_FOUND", "job not found: x", ADDRESS, credentials, 30), JobNotFound)
    assert isinstance(error_of("INTERNAL", "internal server error: …", ADDRESS, credentials, 30), UnexpectedAnswer)


@pytest.mark.parametrize(
    ("details", "message", "setting"),
    [
        ("SERVER: Received message larger than max (600004 vs. 524288)",
         f"the request is larger than {ADDRESS} takes (600004 bytes, at most 524288)", "grpc.maxRecvMsgSize"),
        ("SERVER: Sent message larger than max (11085 vs. 2000)",
         f"the answer is larger than {ADDRESS} sends (11085 bytes, at most 2000)", "grpc.maxSendMsgSize"),
        ("Stream removed (CLIENT: Received message larger than max (8768 vs. 1000))",
         f"the answer of {ADDRESS} is larger than this client takes (8768 bytes, at most 1000)", ""),
    ],
)  # fmt: skip
def test_a_message_that_is_too_large_names_the_setting_that_says_so(
    credentials: Credentials, details: str, message: str, setting: str
) -> None:
    error = error_of("RESOURCE_EXHAUSTED", details, ADDRESS, credentials, 30)

    assert isinstance(error, UnexpectedAnswer)
    assert (error.code, error.message) == ("RESOURCE_EXHAUSTED", message)
    assert setting in error.mend
    assert bool(error.mend) == bool(setting)
