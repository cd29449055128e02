"""
Puts what gRPC's C core writes to standard error into the server log: above all, why a client was refused.

The Python API tells nothing of a failed handshake. The core writes its reason to descriptor 2 when
GRPC_VERBOSITY is INFO (without the peer's address, which it does not know at that place), so this
process reads its own standard error through a pipe. Python's own standard error goes to the real one.

Runs in: server process; one thread of its own, so that a busy loop does not lose lines.
May not: be used where descriptor 2 belongs to somebody else (a test process).
"""

import faulthandler
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Final

from joblet.serverlog import Level, ServerLog

# gRPC logs with Abseil: "I1124 22:54:05.865662   14800 ssl_transport_security.cc:2563] Handshake failed with …"
_CORE_LINE: Final = re.compile(r"(?P<level>[IWEF])\d{4} \S+ +\d+ (?P<place>\S+?):\d+\] (?P<text>.*)")
_HANDSHAKE: Final = re.compile(r"Handshake failed with .*OPENSSL_internal:(?P<code>[A-Z0-9_]+)(: (?P<detail>.*))?")
_VERIFY_FAILED: Final = "CERTIFICATE_VERIFY_FAILED"
_WORDS: Final[Mapping[str, str]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "no client certificate",
    "NO_SHARED_CIPHER": "the client does not speak TLS 1.3",
    "UNSUPPORTED_PROTOCOL": "the client does not speak TLS 1.3",
    "WRONG_VERSION_NUMBER": "the client does not speak TLS",
    "HTTP_REQUEST": "the client does not speak TLS",
}


def watch_core() -> int:
    """
    Make the core tell its reasons, and read them; before grpc is imported.

    Returns:
        A descriptor of the real standard error, where the server log goes from now on.
    """
    os.environ["GRPC_VERBOSITY"] = "INFO"
    real = os.dup(2)  # close-on-exec, as every descriptor that Python makes
    sys.stderr.flush()
    sys.stderr = os.fdopen(real, "w", buffering=1, errors="backslashreplace", closefd=False)
    faulthandler.enable(file=sys.stderr)
    return real


def start(log: ServerLog) -> None:
    """Put a pipe in the place of descriptor 2 and log what comes out of it; after `watch_core`."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)  # the core's threads must never wait for this reader: rather lose a line
    os.dup2(write_end, 2)
    os.close(write_end)
    threading.Thread(target=_read, args=(read_end, log), name="standard error", daemon=True).start()


def _read(fd: int, log: ServerLog) -> None:
    with os.fdopen(fd, errors="replace") as lines:
        for text in lines:
            for level, message, fields in records(text.rstrip("\n")):
                log.record(level, message, fields)


def records(text: str) -> Iterator[tuple[Level, str, dict[str, str]]]:
    """What the server log says of one line of the core: one record, or none where only developers care."""
    found = _CORE_LINE.fullmatch(text)
    if found is None:
        yield Level.WARN, "standard error", {"text": text}
    elif handshake := _HANDSHAKE.match(found["text"]):
        yield Level.ERROR, "client refused in the TLS handshake", {"reason": _reason(handshake)}
    elif found["level"] != "I" and found["place"] != "log.cc":  # log.cc warns of GRPC_VERBOSITY=INFO itself
        level = Level.WARN if found["level"] == "W" else Level.ERROR
        yield level, "grpc", {"place": found["place"], "text": found["text"]}


def _reason(handshake: re.Match[str]) -> str:
    code = handshake["code"]
    if code == _VERIFY_FAILED:
        return f"certificate verify failed: {handshake['detail']}"
    return _WORDS.get(code, code.lower().replace("_", " "))
