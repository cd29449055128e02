"""
What the service manager hears.

Runs in: pytest, on real sockets.
"""

import os
import socket
from pathlib import Path

from joblet import servicemanager


def test_a_service_manager_hears_that_we_are_ready(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)

        servicemanager.notify(servicemanager.READY, {"NOTIFY_SOCKET": str(tmp_path / "notify")})

        assert manager.recv(100) == b"READY=1"


def test_an_abstract_address_is_understood() -> None:
    name = f"joblet-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(10)

        servicemanager.notify(servicemanager.STOPPING, {"NOTIFY_SOCKET": f"@{name}"})

        assert manager.recv(100) == b"STOPPING=1"


def test_without_a_service_manager_nothing_happens(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": f"{tmp_path}/gone"}):
        servicemanager.notify(servicemanager.READY, environ)
