"""
What we tell the service manager that started us: ready, stopping. Without one, nothing happens.

Runs in: server loop, supervisor. May not: import outside the standard library.
Source: sd_notify(3), "Description" and "Notes" (the protocol is stable and meant to be spoken without libsystemd).
"""

import os
import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """
    Tell the service manager, if there is one; that it cannot be told is no reason to fail.

    Args:
        state: Lines of KEY=VALUE, such as READY.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        try:
            # A leading @ stands for the NUL of an abstract address (unix(7)).
            sock.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:
            return
