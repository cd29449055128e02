"""
What wire tests have: certificates made once a session, and TLS as `joblet serve` speaks it.

Runs in: pytest.
"""

import os

import pytest
from certificates import Authority, Credentials, client_certificates

# Before anything here imports grpc: a server in this process then shuts TLS 1.2 out as `joblet serve` does.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA that servers here trust."""
    return Authority()


@pytest.fixture(scope="session")
def certificates(authority: Authority) -> dict[str, Credentials]:
    """Clients of every kind."""
    return client_certificates(authority)
