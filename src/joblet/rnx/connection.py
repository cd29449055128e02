"""
The client that the global flags and the environment ask for; flags win.

Runs in: the user's terminal.
Source: API specification, "Global Flags", "Environment Variables".
"""

import os
from typing import TYPE_CHECKING, Final

from joblet.rnx.flags import BadUsage, Flag, Values
from joblet.rnx.startup import end_loading, quiet_grpc

if TYPE_CHECKING:
    from joblet.client import JobletClient

GLOBAL_FLAGS: Final = (
    Flag("server", "string", 'Server address (default "localhost:50051")'),
    Flag("cert", "string", 'Client certificate path (default "certs/client-cert.pem")'),
    Flag("key", "string", 'Client private key path (default "certs/client-key.pem")'),
    Flag("ca", "string", 'CA certificate path (default "certs/ca-cert.pem")'),
    Flag("output", "string", 'Output format: text or json (default "text")', short="o"),
)


def check_output(values: Values) -> None:
    """
    Refuse an output format there is not.

    Raises:
        BadUsage: Neither text nor json.
    """
    if values.text("output", "text") not in ("text", "json"):
        raise BadUsage(f"--output must be text or json (given: {values.text('output')!r})")


def connected(values: Values) -> "JobletClient":
    """
    A client for the server and files that were asked for; nothing is connected yet.

    Raises:
        BadAddress, BadCredentials: In words for the user.
    """
    quiet_grpc()
    from joblet.client.connection import DEFAULT_SERVER
    from joblet.client.credentials import (
        CA_VARIABLE,
        CERTIFICATE_VARIABLE,
        DEFAULT_CA,
        DEFAULT_CERTIFICATE,
        DEFAULT_KEY,
        KEY_VARIABLE,
        SERVER_VARIABLE,
        Credentials,
    )
    from joblet.client.synchronous import JobletClient

    end_loading()

    def chosen(flag: str, variable: str, default: str) -> str:
        return values.text(flag) or os.environ.get(variable) or default

    credentials = Credentials.from_files(
        chosen("cert", CERTIFICATE_VARIABLE, DEFAULT_CERTIFICATE),
        chosen("key", KEY_VARIABLE, DEFAULT_KEY),
        chosen("ca", CA_VARIABLE, DEFAULT_CA),
    )
    return JobletClient(chosen("server", SERVER_VARIABLE, DEFAULT_SERVER), credentials)
