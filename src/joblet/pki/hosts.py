"""
The names and addresses a server's certificate must hold, found without asking the network.

Runs in: command lines. May not: send a packet (a resolver that does not answer would hold `joblet certs init` up).
Source: RFC 6125, section 6.4 (which names a client compares); hosts(5); /proc/net/fib_trie and /proc/net/if_inet6.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from joblet.complaint import Complaint

Host = str | ipaddress.IPv4Address | ipaddress.IPv6Address

ALWAYS: Final = ("localhost", "127.0.0.1", "::1")
MOST_HOSTS: Final = 100  # a machine with a thousand container bridges gets a certificate of a sensible size

_LABEL: Final = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DNS_NAME: Final = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def parse(host: str) -> Host:
    """
    An address or a DNS name, as it goes into a certificate.

    Raises:
        Complaint: It is neither.
    """
    bare = host.strip().removeprefix("[").removesuffix("]")
    try:
        return ipaddress.ip_address(bare)
    except ValueError:
        pass
    try:
        name = bare.removesuffix(".").encode("ascii" if bare.isascii() else "idna").decode("ascii")
    except UnicodeError:
        name = ""
    # Digits and dots alone are a mistyped address: no top-level domain is a number (RFC 3696, section 2).
    if len(name) <= 253 and _DNS_NAME.fullmatch(name) and not re.fullmatch(r"[0-9.]+", name):
        return name.lower()
    if re.search(r":[0-9]*$|/", host):
        raise Complaint(
            f"{host!r} is not a host name or an address",
            "give the host alone, without a port or a scheme: prod.example.com",
        )
    raise Complaint(f"{host!r} is not a host name or an address", "give one such as prod.example.com or 192.0.2.7")


def of_this_machine(etc: Path = Path("/etc"), proc_net: Path = Path("/proc/net")) -> list[Host]:
    """Its host name, the names beside it in /etc/hosts, localhost, and its own addresses but the link-local ones."""
    hostname = socket.gethostname()
    hosts: list[Host] = []
    for name in (hostname, *_aliases(hostname, etc / "hosts"), *ALWAYS):
        try:
            hosts.append(parse(name))
        except Complaint:
            continue  # the kernel takes any bytes as a host name
    hosts += [address for address in _addresses(proc_net) if not address.is_link_local]
    return hosts


def without_doubles(hosts: Iterable[Host]) -> list[Host]:
    """Each once, in the order given, at most `MOST_HOSTS`."""
    return list(dict.fromkeys(hosts))[:MOST_HOSTS]


def _aliases(hostname: str, hosts_file: Path) -> list[str]:
    found: list[str] = []
    for line in _lines(hosts_file):
        _, *names = line.partition("#")[0].split() or [""]
        if hostname in names:
            found += names
    return found


def _addresses(proc_net: Path) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    address = ""
    for line in _lines(proc_net / "fib_trie"):
        if "|--" in line:
            address = line.partition("|--")[2].strip()
        elif "/32 host LOCAL" in line:
            found.append(ipaddress.IPv4Address(address))
    for line in _lines(proc_net / "if_inet6"):
        found.append(ipaddress.IPv6Address(int(line.split()[0], 16)))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []  # another kernel: the flags then have to name what is needed
