"""
What tests of the conformance suite have: a CA that the servers under test trust, and whose key the suite is given.

Runs in: pytest.
"""

import os

import pytest
from certificates import Authority

# Before anything here imports grpc: a server in this process then shuts TLS 1.2 out as `joblet serve` does.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"


@pytest.fixture(scope="session")
def authority() -> Authority:
    """The CA that servers here trust."""
    return Authority()
