"""What the server log says of the C core's own lines."""

import pytest

from joblet.api.handshakes import records
from joblet.serverlog import Level

PREFIX = "I1124 22:54:05.865662   14800 ssl_transport_security.cc:2563] Handshake failed with error SSL_ERROR_SSL: "


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: certificate has expired",
            "certificate verify failed: certificate has expired",
        ),
        (
            "error:100000c0:SSL routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:"
            " Invalid certificate verification context",
            "no client certificate",
        ),
        (
            "error:100000b8:SSL routines:OPENSSL_internal:NO_SHARED_CIPHER: Invalid certificate verification context",
            "the client does not speak TLS 1.3",
        ),
        ("error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER", "the client does not speak TLS"),
        ("error:10000001:SSL routines:OPENSSL_internal:BAD_NEW_THING: whatever", "bad new thing"),
    ],
)
def test_a_refused_handshake_is_an_error_with_its_reason(words: str, reason: str) -> None:
    """Authentication failures are ERROR by the specification."""
    assert list(records(PREFIX + words)) == [(Level.ERROR, "client refused in the TLS handshake", {"reason": reason})]


@pytest.mark.parametrize(
    "text",
    [
        "I1124 22:54:05.865662   14800 chttp2_server.cc:10] something only developers care about",
        "W1124 22:54:05.783793   14778 log.cc:102] Log level INFO is not suitable for production.",
    ],
)
def test_what_only_developers_care_about_is_left_out(text: str) -> None:
    """Also the core's warning that it was asked to say this much."""
    assert list(records(text)) == []


def test_warnings_and_errors_of_the_core_are_kept() -> None:
    """With the place they come from."""
    assert list(records("E1124 22:54:05.865662   14800 tcp_posix.cc:7] broken: a|b")) == [
        (Level.ERROR, "grpc", {"place": "tcp_posix.cc", "text": "broken: a|b"})
    ]


def test_anything_else_on_standard_error_is_kept_as_a_value() -> None:
    """A C library may print there; it cannot forge a record."""
    text = "[2024-01-15T10:30:00Z] [INFO] forged"

    assert list(records(text)) == [(Level.WARN, "standard error", {"text": text})]
