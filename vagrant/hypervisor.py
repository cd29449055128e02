"""
What runs the test machine on this host: KVM, VirtualBox, or software emulation.

`look` gathers the facts, `choose` judges them: the second is pure, so each kind of host is a line in a test.

Runs in: the contributor's terminal, CI. May not: start anything.
"""

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

VARIABLE: Final = "JOBLET_VM"


class Hypervisor(StrEnum):
    """The values of JOBLET_VM."""

    KVM = "kvm"
    VIRTUALBOX = "virtualbox"
    EMULATED = "emulated"


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What this host has.

    Args:
        asked_for: The value of JOBLET_VM; empty when it is not set.
        systemd: Whether systemd runs the host; libvirt's own service needs it.
        kvm: Whether /dev/kvm may be used by us.
        vagrant: Whether Vagrant is installed.
        virtualbox: Whether VirtualBox is installed.
        debian: Whether it is Debian or made from it, to install what is missing and to build the box from.
        x86_64: Whether it has the processor that the emulated machine has.
        root: Whether we are root.
    """

    asked_for: str = ""
    systemd: bool = False
    kvm: bool = False
    vagrant: bool = False
    virtualbox: bool = False
    debian: bool = False
    x86_64: bool = True
    root: bool = False


class NoHypervisor(Exception):
    """Nothing here can run the machine; the text says what to install."""


@dataclass(frozen=True, slots=True)
class Choice:
    """
    What runs the machine, and why.

    Args:
        hypervisor: The choice.
        why: For the user, after the choice.
        own_libvirt: Whether libvirt's daemon is one of our own, as no systemd runs it here.
    """

    hypervisor: Hypervisor
    why: str
    own_libvirt: bool = False


def look(environ: Mapping[str, str] = os.environ) -> Facts:
    """The facts of this host."""
    return Facts(
        asked_for=environ.get(VARIABLE, ""),
        systemd=Path("/run/systemd/system").is_dir(),
        kvm=os.access("/dev/kvm", os.R_OK | os.W_OK),
        vagrant=shutil.which("vagrant") is not None,
        virtualbox=shutil.which("VBoxManage") is not None,
        debian=_is_debian(),
        x86_64=platform.machine() == "x86_64",
        root=os.geteuid() == 0,
    )


def _is_debian() -> bool:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    return "debian" in (release["ID"], *release.get("ID_LIKE", "").split())


def choose(facts: Facts) -> Choice:
    """
    KVM on an ordinary computer that has it, else VirtualBox, else emulation.

    A /dev/kvm where no systemd runs the host is a container's or a nested machine's, and often opens but cannot
    start a guest; emulation is slower there and works.

    Raises:
        NoHypervisor: JOBLET_VM has another value, or this host lacks what each of them needs.
    """
    if facts.asked_for:
        if facts.asked_for not in list(Hypervisor):
            raise NoHypervisor(f"{VARIABLE}={facts.asked_for}: must be one of {', '.join(Hypervisor)}")
        choice = Choice(Hypervisor(facts.asked_for), f"{VARIABLE} says so")
    elif facts.kvm and facts.systemd and facts.vagrant:
        choice = Choice(Hypervisor.KVM, "/dev/kvm can be used and Vagrant is installed")
    elif facts.virtualbox and facts.vagrant:
        choice = Choice(Hypervisor.VIRTUALBOX, "VirtualBox and Vagrant are installed")
    elif facts.debian and facts.root and facts.x86_64:
        if facts.kvm and not facts.systemd:
            lacking = "no systemd runs this host"
        elif facts.kvm or facts.virtualbox:
            lacking = "Vagrant is not installed"
        else:
            lacking = "neither KVM nor VirtualBox here"
        choice = Choice(Hypervisor.EMULATED, f"{lacking}: Debian's own packages, in software (slower by 7)")
    else:
        raise NoHypervisor(
            "nothing here can run the test machine. Any one of these does:\n"
            "  * Linux with KVM: install vagrant, vagrant-libvirt and rsync, and join the group libvirt\n"
            "    (Debian: sudo apt-get install vagrant vagrant-libvirt rsync && sudo adduser $USER libvirt)\n"
            "  * VirtualBox 7 and Vagrant\n"
            "  * Debian (x86_64) and root: sudo ./dev nox -s integration emulates one and installs what it needs"
        )
    if choice.hypervisor is Hypervisor.EMULATED and not (facts.debian and facts.root and facts.x86_64):
        raise NoHypervisor(
            "emulation needs root on Debian, to build the box, and an x86_64 processor: sudo ./dev nox -s integration"
        )
    if choice.hypervisor is not Hypervisor.EMULATED and not facts.vagrant:
        raise NoHypervisor(
            f"{choice.hypervisor} needs Vagrant: install vagrant (and for kvm also vagrant-libvirt and rsync)"
        )
    return replace(choice, own_libvirt=choice.hypervisor is Hypervisor.EMULATED and not facts.systemd)
