"""
The test machine: one Debian with systemd and cgroups v2, clean at every start.

    python3 vagrant/machine.py VERB        `--help` for the verbs

Runs in: the contributor's terminal, CI.
May not: change this host but for its Vagrant box, libvirt's machines and, under emulation, HOST_PACKAGES.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import private_libvirt
import wheelhouse
from hypervisor import Choice, Hypervisor, NoHypervisor, choose, look
from progress import Failed, fail, last_lines, phase, run, say

ROOT: Final = Path(__file__).parent.parent
NAME: Final = "joblet"
VERBS: Final = {
    "up": "a clean machine, the project in /vagrant; from its snapshot if it can",
    "ssh": "a shell, or a command, in the machine",
    "sync": "copy the project into /vagrant again",
    "get": "copy a file or folder out of the machine",
    "exec": "run a command of the host on the machine's network (vagrant, virsh)",
    "console": "what its kernel and its boot have printed",
    "stop": "stop it; the snapshot stays",
    "destroy": "remove it, and its snapshot",
}
BOOT_ID: Final = "cat /proc/sys/kernel/random/boot_id"
CONSOLE_LINES: Final = 40
ANSWER_WITHIN_S: Final = 120.0
NOT_COPIED: Final = (
    *(".git/", ".vagrant/", ".nox/", ".tox/", ".venv/", "__pycache__/", "vagrant/wheelhouse/"),
    *(".mypy_cache/", ".ruff_cache/", ".pytest_cache/", ".hypothesis/"),
)

HOST_PACKAGES: Final = (
    *("vagrant", "vagrant-libvirt", "libvirt-daemon", "libvirt-daemon-system", "libvirt-daemon-driver-qemu"),
    *("libvirt-clients", "qemu-system-x86", "qemu-utils", "dnsmasq-base", "iptables", "iproute2"),
    *("mmdebstrap", "e2fsprogs", "rsync", "openssh-client"),
)


class Machine:
    """
    The machine, whether it exists or not.

    Args:
        choice: What runs it.
    """

    def __init__(self, choice: Choice) -> None:
        self._emulated = choice.hypervisor is Hypervisor.EMULATED
        self._choice = choice
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "joblet-vm"
        # With a libvirt of our own there is one machine for all checkouts of a host; else each has its own.
        self.state = cache if choice.own_libvirt else ROOT / ".vagrant"
        self.console = self.state / "console.log"
        self._ssh_config = self.state / "ssh-config"
        self.environ = {
            **os.environ,
            "VAGRANT_CWD": str(ROOT),
            "VAGRANT_DOTFILE_PATH": str(self.state),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
            "JOBLET_VM": choice.hypervisor,
            "JOBLET_VM_PREFIX": "" if choice.own_libvirt else f"{ROOT.name}-{zlib.crc32(str(ROOT).encode()):08x}-",
            "JOBLET_VM_CONSOLE": str(self.console),
        }
        if self._emulated and not choice.own_libvirt:
            # systemd's libvirt runs qemu as a user of its own, to whom root's home is closed.
            self.environ["VAGRANT_HOME"] = "/var/lib/joblet-vm"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the machine: two runs at once would restore each other's disk. Raises Failed when another has it."""
        self.state.mkdir(parents=True, exist_ok=True)
        with (self.state / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise Failed(f"the machine is in use by process {lock.read()}; wait for its end") from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    # Where commands run

    def on_network(self, command: Sequence[str]) -> list[str]:
        """The command of this host as it is run on the machine's network, where it can be reached."""
        if not self._choice.own_libvirt:
            return list(command)
        private_libvirt.start()
        return private_libvirt.inside(command)

    def ssh_command(self, *words: str) -> list[str]:
        """The command that runs words of shell in the machine, or a shell."""
        return self.on_network(["ssh", "-F", str(self._ssh_config), NAME, *words])

    def ssh(self, *words: str) -> int:
        """Run it, with this terminal; its exit status."""
        return subprocess.run(self.ssh_command(*words), env=self.environ, check=False).returncode

    def check_output(self, words: str) -> str:
        """Run words of shell in the machine; what they print. Raises Failed when their status is not 0."""
        done = self._quietly(self.ssh_command(words))
        if done.returncode != 0:
            raise Failed(f"`{words}` in the machine failed with status {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _quietly(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            env=self.environ,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    # Its life

    def up(self) -> None:
        """A clean machine that answers, with the project in it. Raises Failed, with the console's last lines."""
        snapshot = self._snapshot()
        self._hang_up()
        with phase(f"restoring the snapshot {snapshot}, if there is one"):
            restored = self._restore(snapshot)
        if not restored:
            self._make(snapshot)
        self._await(lambda _: True)
        # A restored clock stands where the snapshot was taken: certificates made since would be not yet valid.
        self.check_output(f"sudo date -s @{time.time():.3f}")
        self.sync()

    def _restore(self, snapshot: str) -> bool:
        """Whether there was one. Raises Failed when there is one that cannot be restored."""
        # libvirt's snapshots are of a running machine, VirtualBox's are started.
        no_start = () if self._choice.hypervisor is Hypervisor.VIRTUALBOX else ("--no-start",)
        done = self._vagrant("snapshot", "restore", "--no-provision", *no_start, snapshot)
        if done.returncode != 0 and snapshot in self._vagrant("snapshot", "list").stdout.split():
            raise Failed(
                f"the snapshot {snapshot} cannot be restored; `--destroy` removes the machine, to have it made anew.\n"
                f"vagrant says: {(done.stderr or done.stdout).strip()}"
            )
        return done.returncode == 0

    def _snapshot(self) -> str:
        """Its name: another one when anything that the machine was made from has changed."""
        folders = (ROOT / "vagrant" / "box", ROOT / "vagrant" / "provision")
        files = [ROOT / "Vagrantfile", *(file for folder in folders for file in sorted(folder.iterdir()))]
        content = b"".join(file.read_bytes() for file in files) + wheelhouse.fingerprint().encode()
        return f"{self._choice.hypervisor}-{hashlib.sha256(content).hexdigest()[:12]}"

    def _make(self, snapshot: str) -> None:
        if self._emulated:
            self._install_host_packages()
            with phase("building the box from Debian's packages (about a minute, unless it is there)"):
                run(["sh", str(ROOT / "vagrant/box/build.sh")], self.state / "box.log", self.environ)
        with phase("downloading the Python packages for the machine"):
            wheelhouse.fill(self.state / "wheels.log")
        self._vagrant("destroy", "--force")
        self.console.unlink(missing_ok=True)
        with phase("first boot and provisioning (one to two minutes under emulation)"):
            try:
                run(self.on_network(["vagrant", "up"]), self.state / "up.log", self.environ, ROOT)
            except Failed as error:
                raise Failed(f"{error}\n{last_words(self.console)}") from None
        with phase("taking the snapshot"):
            save = self.on_network(["vagrant", "snapshot", "save", snapshot])
            run(save, self.state / "snapshot.log", self.environ, ROOT)
        config = self._vagrant("ssh-config")
        if config.returncode != 0:
            raise Failed(f"vagrant does not say how to reach the machine: {config.stderr.strip()}")
        # One connection for everything: each new one costs 1 to 2 s under emulation.
        shared = {
            "ControlMaster": "auto",
            "ControlPath": f'"{self.state}/mux"',
            "ControlPersist": "900",
            "ConnectTimeout": "5",
            "ServerAliveInterval": "20",  # three of which may go unanswered: a power cut closes no connection
        }
        lines = [config.stdout.rstrip(), *(f"  {key} {value}" for key, value in shared.items())]
        self._ssh_config.write_text("\n".join(lines) + "\n")

    def _install_host_packages(self) -> None:
        """Debian's packages for the host that are not there yet."""
        asked = subprocess.run(
            ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *HOST_PACKAGES],
            capture_output=True,
            text=True,
            check=False,
        )
        installed = {line.split()[0] for line in asked.stdout.splitlines() if line.endswith(" installed")}
        missing = [package for package in HOST_PACKAGES if package not in installed]
        if not missing:
            return
        environ = {**self.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with phase(f"installing on this host: {' '.join(missing)}"):
            run(["apt-get", "update", "-q"], self.state / "apt.log", environ)
            install = ["apt-get", "install", "--yes", "-q", "--no-install-recommends", *missing]
            run(install, self.state / "apt.log", environ)

    def _await(self, boot_id: Callable[[str], bool]) -> None:
        """Until it answers, with a boot that will do: a restored or booting machine's network needs a while."""
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while True:
            self._hang_up()
            answer = self._quietly(self.ssh_command(BOOT_ID))
            if answer.returncode == 0 and boot_id(answer.stdout):
                return
            if time.monotonic() > deadline:
                why = answer.stderr.strip() or "it has not gone down"
                raise Failed(
                    f"no answer from the machine for {ANSWER_WITHIN_S:.0f} s: {why}\n{last_words(self.console)}"
                )
            time.sleep(0.5)

    def sync(self) -> None:
        """Copy the project into /vagrant."""
        excluded = [f"--exclude={pattern}" for pattern in NOT_COPIED]
        self._rsync(["--delete", *excluded, "--chown=vagrant:vagrant", f"{ROOT}/", f"{NAME}:/vagrant/"])

    def put(self, source: Path, target: str) -> None:
        """Copy a file into the machine, as its root."""
        self._rsync(["--chown=root:root", str(source), f"{NAME}:{target}"])

    def get(self, source: str, target: Path) -> None:
        """Copy a file or a folder (with a slash at its end: what is in it) out of the machine."""
        self._rsync(["--no-owner", "--no-group", f"{NAME}:{source}", str(target)])

    def _rsync(self, words: list[str]) -> None:
        command = ["rsync", "-a", "--rsync-path=sudo rsync", "-e", f"ssh -F '{self._ssh_config}'", *words]
        run(self.on_network(command), self.state / "rsync.log", self.environ)

    def answers(self) -> bool:
        """Whether it runs and can be reached."""
        return self._ssh_config.exists() and self._quietly(self.ssh_command("true")).returncode == 0

    def address(self) -> str:
        """Where this host reaches it: its newest IPv4 address, for VirtualBox's first is the same in all machines."""
        return [word for word in self.check_output("hostname -I").split() if ":" not in word][-1]

    def reboot(self) -> None:
        """As `systemctl reboot`, and wait until it answers again."""
        before = self.check_output(BOOT_ID)
        self.ssh("sudo systemctl reboot")
        self._await(lambda boot_id: boot_id != before)

    def cut_power(self) -> None:
        """Off and on again, with whatever had not reached the disk lost: sysrq's reboot syncs and unmounts nothing."""
        before = self.check_output(BOOT_ID)
        # Later than the answer, or ssh would wait for one from a machine that is gone.
        self.check_output("sudo sh -c '(sleep 0.2; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 &'")
        self._await(lambda boot_id: boot_id != before)

    def stop(self) -> None:
        """Stop it and what this module started; its snapshot stays."""
        self._hang_up()
        self._vagrant("halt", "--force")
        if self._choice.own_libvirt:
            private_libvirt.stop()

    def destroy(self) -> None:
        """Remove it, its snapshots and, where there is one machine for all, the box's copy in libvirt's pool."""
        self._hang_up()
        self._vagrant("destroy", "--force")
        self._ssh_config.unlink(missing_ok=True)
        if self._choice.own_libvirt:
            for line in private_libvirt.virsh("vol-list", "default").splitlines():
                if "joblet-VAGRANTSLASH-" in line:
                    private_libvirt.virsh("vol-delete", "--pool", "default", line.split()[0])
            private_libvirt.stop()

    def _vagrant(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        if shutil.which("vagrant") is None:
            return subprocess.CompletedProcess(["vagrant"], 127, "", "vagrant is not installed")
        return self._quietly(self.on_network(["vagrant", *arguments]))

    def _hang_up(self) -> None:
        """End the shared ssh connection: after a restore or a reboot it would be waited for in vain."""
        if self._ssh_config.exists():
            self._quietly(self.on_network(["ssh", "-F", str(self._ssh_config), "-O", "exit", NAME]))


def last_words(console: Path) -> str:
    """What is on a machine's console, for a user whose machine does not answer."""
    try:
        lines = last_lines(console, CONSOLE_LINES)
    except OSError as error:
        return f"The machine's console ({console}) cannot be read: {error.strerror}."
    if not lines:
        return f"The machine's console ({console}) is empty: it did not get as far as its kernel."
    return "\n".join(["The last lines of the machine's console:", *(f"    {line}" for line in lines)])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="machine.py", description="The test machine.")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, words in VERBS.items():
        verbs.add_parser(verb, help=words, description=words)
    verbs.choices["ssh"].add_argument("command", nargs=argparse.REMAINDER, metavar="CMD")
    verbs.choices["exec"].add_argument("program", metavar="CMD")
    verbs.choices["exec"].add_argument("command", nargs=argparse.REMAINDER, metavar="ARG")
    verbs.choices["get"].add_argument("source", metavar="FROM")
    verbs.choices["get"].add_argument("target", metavar="TO", type=Path)
    return parser.parse_args(arguments)


def run_verb(machine: Machine, choice: Choice, options: argparse.Namespace) -> int:
    """Do what was asked for; the exit status. Raises Failed, NoHypervisor."""
    match options.verb:
        case "ssh":
            return machine.ssh(*options.command)
        case "exec":
            return subprocess.run(
                machine.on_network([options.program, *options.command]), env=machine.environ, cwd=ROOT, check=False
            ).returncode
        case "console":
            print(machine.console.read_text(errors="replace"), end="")
        case "get":
            machine.get(options.source, options.target)
        case verb:
            with machine.alone():
                say(f"the machine runs with {choice.hypervisor}: {choice.why}")
                {"up": machine.up, "sync": machine.sync, "stop": machine.stop, "destroy": machine.destroy}[verb]()
    return 0


def main(arguments: Sequence[str]) -> int:
    """The command line; its exit status."""
    options = parse(arguments)
    try:
        choice = choose(look())
        return run_verb(Machine(choice), choice, options)
    except (Failed, NoHypervisor, OSError, KeyboardInterrupt) as error:
        return fail(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
