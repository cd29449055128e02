"""
Who a client is to the server.

Runs in: server loop, command lines. May not: import outside the standard library.
Source: API specification, "Role-Based Authorization".
"""

from enum import StrEnum


class Role(StrEnum):
    """The OU of a client's certificate, exactly as it must stand there."""

    ADMIN = "admin"
    VIEWER = "viewer"
