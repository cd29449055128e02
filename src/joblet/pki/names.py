"""
The names of certificate files: the one place that knows them.

Runs in: everywhere, also at each start of `rnx`. May not: import anything that takes time.
Source: API specification, "Certificate Files Required"; docs/contributors.md, "What others rely on".
"""

from typing import Final

CA_CERTIFICATE: Final = "ca-cert.pem"
CA_KEY: Final = "ca-key.pem"
SERVER_CERTIFICATE: Final = "server-cert.pem"
SERVER_KEY: Final = "server-key.pem"
CLIENT_CERTIFICATE: Final = "client-cert.pem"
CLIENT_KEY: Final = "client-key.pem"


def client_names(prefix: str) -> tuple[str, str]:
    """Certificate and key file of one client."""
    return f"{prefix}-{CLIENT_CERTIFICATE}", f"{prefix}-{CLIENT_KEY}"
