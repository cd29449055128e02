"""
libvirt on a host that no systemd runs: a daemon of our own, in a network namespace without a way out.

The machine, its DHCP server and every ssh connection to it live in that namespace, whose only links are its loopback
and the machine's bridge. One daemon serves every checkout on the host.

Runs in: CI, a contributor's container, as root. May not: touch the host's own network; end a process it did not start.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from progress import Failed

NAMESPACE: Final = "joblet-vm"
RUN: Final = Path("/run/joblet-vm")
_PID_FILE: Final = RUN / "libvirtd.pid"
_CONNECT: Final = ("virsh", "--connect", "qemu:///system")
_ANSWER_WITHIN_S: Final = 30.0
_END_WITHIN_S: Final = 30.0

# qemu as root, because the box lies in root's home; no virtlogd, cgroups or confinement, which a service manager or
# the host's security module would provide.
_QEMU_CONF: Final = """\
user = "root"
group = "root"
stdio_handler = "file"
cgroup_controllers = []
security_driver = "none"
namespaces = []
"""


def inside(command: Sequence[str]) -> list[str]:
    """The command as it is run in the namespace."""
    return ["ip", "netns", "exec", NAMESPACE, *command]


def running() -> bool:
    """Whether our daemon runs. The pid is looked for in the namespace: elsewhere it may be another process's by now."""
    try:
        pid = _PID_FILE.read_text().strip()
    except OSError:
        return False
    found = subprocess.run(["ip", "netns", "pids", NAMESPACE], capture_output=True, text=True, check=False)
    return pid in found.stdout.split()


def start() -> None:
    """
    Start it unless it runs.

    Raises:
        Failed: It does not answer.
    """
    if running():
        return
    RUN.mkdir(parents=True, exist_ok=True)
    if subprocess.run(inside(["true"]), capture_output=True, check=False).returncode != 0:
        _call("ip", "netns", "add", NAMESPACE)
        _call("ip", "-n", NAMESPACE, "link", "set", "lo", "up")
    # In the mount namespace that `ip netns exec` gives each command: the host's own file stays as it is.
    config = RUN / "qemu.conf"
    config.write_text(_QEMU_CONF)
    daemon = f'mount --bind {config} /etc/libvirt/qemu.conf && exec libvirtd --daemon --pid-file "$0"'
    _call(*inside(["sh", "-c", daemon, str(_PID_FILE)]))
    deadline = time.monotonic() + _ANSWER_WITHIN_S
    while (answer := subprocess.run([*_CONNECT, "version"], capture_output=True, text=True, check=False)).returncode:
        if time.monotonic() > deadline:
            raise Failed(f"libvirtd does not answer: {answer.stderr.strip()}")
        time.sleep(0.1)
    # Restoring a snapshot does not start the network, and libvirt starts one by itself only once after a boot.
    virsh("net-start", "vagrant-libvirt")


def virsh(*arguments: str) -> str:
    """What virsh says; empty when it fails, as for what is already as it should be."""
    return subprocess.run([*_CONNECT, *arguments], capture_output=True, text=True, check=False).stdout


def stop() -> None:
    """
    End the daemon, if it runs, and what it started, and remove the namespace; the machine's disk and snapshots stay.

    Raises:
        Failed: It does not end.
    """
    if not running():
        return  # perhaps because its packages could not be installed: then there is no virsh either
    virsh("net-destroy", "vagrant-libvirt")
    pid = int(_PID_FILE.read_text())
    pidfd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if not select.select([pidfd], [], [], _END_WITHIN_S)[0]:
            raise Failed(f"libvirtd (process {pid}) does not end")
    finally:
        os.close(pidfd)
    subprocess.run(["ip", "netns", "delete", NAMESPACE], capture_output=True, check=False)


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()}")
