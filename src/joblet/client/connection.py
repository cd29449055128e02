"""
How a server is reached, and in words a user can act on, why it was not.

Runs in: a user's program. May not: connect anything itself.
Source: API specification, "Base Configuration", "Client Limits"; the patterns of `_CAUSES` are grpcio 1.85's own
words, each seen in a test.
"""

import re
from typing import TYPE_CHECKING, Final

import grpc

from joblet.client.errors import BadAddress, ClientError, NoAnswer, ServerUnreachable, UnexpectedAnswer, answer_of
from joblet.domain.errors import JobletError

if TYPE_CHECKING:
    from joblet.client.credentials import Credentials

DEFAULT_SERVER: Final = "localhost:50051"
DEFAULT_PORT: Final = 50051
DEFAULT_TIMEOUT_S: Final = 30.0

# A server sends at most maxSendMsgSize (4 MiB unless an administrator raised it) and refuses to send more itself.
_RECEIVE_MAX_BYTES: Final = 64 * 1024 * 1024

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _RECEIVE_MAX_BYTES),
    # A log may be silent for hours; a firewall that forgot the connection must not go unnoticed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    # After a restart of the server a follower should be back at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

_LOOPBACK: Final = ("localhost:", "127.", "[::1]:")


def address_of(server: str) -> str:
    """
    A server's address with its port.

    Raises:
        BadAddress: Not HOST, HOST:PORT or [IPv6]:PORT.
    """
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\s:/\[\]]+)(?::([0-9]{1,5}))?", server)
    if found is None:
        raise BadAddress(
            f"not a server address: {server!r}", "it must be HOST:PORT, as in prod.example.com:50051 or [::1]:50051"
        )
    host, port = found[1], int(found[2] or DEFAULT_PORT)
    if not 0 < port < 65536:
        raise BadAddress(f"not a server address: {server!r}", "the port must be between 1 and 65535")
    return f"{host}:{port}"


def channel_options(address: str) -> tuple[tuple[str, int], ...]:
    """gRPC's options for a channel to this address."""
    if address.startswith(_LOOPBACK):
        # grpc obeys https_proxy for localhost too, and no proxy leads back to this machine.
        return (*_OPTIONS, ("grpc.enable_http_proxy", 0))
    return _OPTIONS


def channel_credentials(credentials: "Credentials") -> grpc.ChannelCredentials:
    """gRPC's form of the credentials."""
    return grpc.ssl_channel_credentials(credentials.ca, credentials.key, credentials.certificate)


# What grpc says, what we say instead ("" for its own words), and what to do about it.
_CAUSES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "Connection refused",
        "connection refused",
        "no Joblet server listens there: check the address (--server, JOBLET_SERVER), and on the server that"
        " `joblet serve` runs",
    ),
    (
        "errors resolving|lookup error|Domain name not found",
        "its name cannot be resolved",
        "check the host name (--server, JOBLET_SERVER)",
    ),
    (
        "No route to host|Network is unreachable|Host is unreachable",
        "no route to it",
        "check the network and the firewall between here and the server",
    ),
    (
        "timed out|Timeout|deadline",
        "it did not answer the connection in time",
        "check the address, and the firewall between here and the server",
    ),
    (
        "is not in peer certificate|Hostname Verification|hostname",
        "the server's certificate is for another name",
        "connect with a name that is in it, or ask the administrator to add this one"
        " (joblet certs issue --role server --host NAME --force, a --host for each name; no restart is needed)",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "certificate verify failed: the server's certificate is not from the authority in {ca}",
        "pass --ca (JOBLET_CA_PATH) with the ca-cert.pem of this server, or check that this is the right server",
    ),
    (
        "WRONG_VERSION_NUMBER|ALPN|Failed parsing HTTP/2|Handshake read failed|HTTP/2",
        "what answers there is not a Joblet server",
        "check host and port (--server, JOBLET_SERVER)",
    ),
    (
        "PROTOCOL_VERSION|NO_SHARED_CIPHER|HANDSHAKE_FAILURE",
        "client and server have no version of TLS in common",
        "Joblet needs TLS 1.3 on both sides: update the older one",
    ),
    (
        "Failed to create security handshaker",
        "the certificate files cannot be used together",
        "check that {key} belongs to {cert}, and that {ca} is a certificate",
    ),
)

# The server ends the handshake without a word, whatever it dislikes about the client's certificate.
_REFUSED: Final = "Socket closed|Connection reset|Broken pipe|TLSV1_ALERT|SSLV3_ALERT|CERTIFICATE_REQUIRED"

# The same words without "failed to connect" are those of a connection that stood.
_LOST: Final = "Socket closed|Connection reset|Broken pipe|GOAWAY|keepalive|ping"


def why_unreachable(details: str, address: str, credentials: "Credentials") -> ServerUnreachable:
    """
    The error for a connection that could not be made.

    Args:
        details: gRPC's words for it.
    """
    names = {
        "ca": credentials.ca_path,
        "key": credentials.key_path,
        "cert": credentials.certificate_path,
    }
    if "failed to connect" not in details and re.search(_LOST, details):
        return ServerUnreachable(
            f"the connection to {address} was lost before the answer came",
            "try again; what was asked for may have been done all the same (rnx list)",
        )
    for pattern, what, advice in _CAUSES:
        if re.search(pattern, details):
            return ServerUnreachable(f"cannot connect to {address}: {what.format(**names)}", advice.format(**names))
    if re.search(_REFUSED, details):
        return _refused(address, credentials)
    return ServerUnreachable(f"cannot connect to {address}: {_last(details)}", "check that `joblet serve` runs there")


def _refused(address: str, credentials: "Credentials") -> ServerUnreachable:
    lines = credentials.problems() or [
        "the files look right from here, so the likely causes are:",
        f"- the server trusts another authority than {credentials.ca_path}: use the files its administrator made",
        "- the clock of this machine or of the server is wrong, and the certificate seems expired there",
        "- the server ended just then: try again",
        "the server's log tells which (ERROR, client refused in the TLS handshake)",
    ]
    return ServerUnreachable(
        f"cannot connect to {address}: the server closed the connection during the TLS handshake,"
        f" as it does with a client certificate it does not accept ({credentials.certificate_path})",
        "\n".join(lines),
    )


_TOO_LARGE: Final = r"(SERVER|CLIENT): (Received|Sent) message larger than max \(([0-9]+) vs\. ([0-9]+)\)"


def _too_large(found: "re.Match[str]", address: str) -> UnexpectedAnswer:
    side, verb, size, most = found.groups()
    what, setting = f"the answer of {address} is larger than this client takes", ""
    if side == "SERVER" and verb == "Received":
        what, setting = f"the request is larger than {address} takes", "grpc.maxRecvMsgSize"
    elif side == "SERVER":
        what, setting = f"the answer is larger than {address} sends", "grpc.maxSendMsgSize"
    mend = f"the administrator of the server may raise {setting} in its configuration" if setting else ""
    return UnexpectedAnswer("RESOURCE_EXHAUSTED", f"{what} ({size} bytes, at most {most})", mend)


def _last(details: str) -> str:
    """The innermost cause in gRPC's words, in which it names every address it tried."""
    return details.rpartition("last error: ")[2] or details or "no reason given"


def error_of(
    code: str, details: str, address: str, credentials: "Credentials", timeout_s: float | None
) -> JobletError | ClientError:
    """
    What to raise for a call that ended with this gRPC code and these words.

    Args:
        timeout_s: How long the answer was waited for.
    """
    answer = answer_of(code, details)
    if answer is not None:
        return answer
    match code:
        case "UNAVAILABLE":
            return why_unreachable(details, address, credentials)
        case "CANCELLED":
            return ServerUnreachable(
                f"{address} ended the call before it was answered: it is probably being restarted",
                "try again; what was asked for may have been done all the same (rnx list)",
            )
        case "DEADLINE_EXCEEDED":
            return NoAnswer(
                f"{address} did not answer within {timeout_s or 0:g} s",
                "check the address, the firewall and the load of the server;"
                " what was asked for may have been done all the same (rnx list)",
            )
        case "UNKNOWN" | "INTERNAL" if re.search("HTTP|RST_STREAM|trailers|frame|stream", details):
            return ServerUnreachable(
                f"what answers at {address} is not a Joblet server ({details})",
                "check host and port (--server, JOBLET_SERVER)",
            )
        case "RESOURCE_EXHAUSTED" if found := re.search(_TOO_LARGE, details):
            return _too_large(found, address)
        case "UNIMPLEMENTED":
            return UnexpectedAnswer(code, f"{address} does not know this call ({details or 'no reason given'})")
        case _:
            return UnexpectedAnswer(code, details)
