"""
What runs the test machine on which kind of host.

Runs in: pytest.
"""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypervisor import VARIABLE, Facts, Hypervisor, NoHypervisor, choose, look

A_COMPUTER = Facts(systemd=True, kvm=True, vagrant=True, debian=True)
A_CONTAINER = Facts(debian=True, root=True)


@pytest.mark.parametrize(
    ("facts", "hypervisor"),
    [
        pytest.param(A_COMPUTER, Hypervisor.KVM, id="an ordinary Linux computer"),
        pytest.param(Facts(virtualbox=True, vagrant=True), Hypervisor.VIRTUALBOX, id="macOS with VirtualBox"),
        pytest.param(
            Facts(systemd=True, vagrant=True, virtualbox=True, debian=True, root=True),
            Hypervisor.VIRTUALBOX,
            id="Linux without KVM, with VirtualBox",
        ),
        pytest.param(A_CONTAINER, Hypervisor.EMULATED, id="a container"),
        pytest.param(
            Facts(kvm=True, vagrant=True, debian=True, root=True),
            Hypervisor.EMULATED,
            id="a container that shows a /dev/kvm",
        ),
        pytest.param(
            Facts(systemd=True, debian=True, root=True), Hypervisor.EMULATED, id="a cloud machine without KVM"
        ),
    ],
)
def test_each_kind_of_host_has_its_hypervisor(facts: Facts, hypervisor: Hypervisor) -> None:
    assert choose(facts).hypervisor is hypervisor


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        pytest.param(A_COMPUTER, "/dev/kvm can be used and Vagrant is installed", id="KVM"),
        pytest.param(A_CONTAINER, "neither KVM nor VirtualBox here: ", id="nothing"),
        pytest.param(replace(A_CONTAINER, kvm=True), "no systemd runs this host: ", id="KVM in a container"),
        pytest.param(
            Facts(systemd=True, kvm=True, debian=True, root=True), "Vagrant is not installed: ", id="KVM alone"
        ),
    ],
)
def test_the_choice_says_why(facts: Facts, why: str) -> None:
    assert choose(facts).why.startswith(why)


@pytest.mark.parametrize(
    ("facts", "own"),
    [
        pytest.param(A_COMPUTER, False, id="KVM"),
        pytest.param(A_CONTAINER, True, id="emulated without systemd"),
        pytest.param(replace(A_CONTAINER, systemd=True), False, id="emulated beside systemd's libvirt"),
    ],
)
def test_libvirt_is_our_own_only_where_no_systemd_runs_it(facts: Facts, own: bool) -> None:
    assert choose(facts).own_libvirt is own


@pytest.mark.parametrize("hypervisor", Hypervisor)
def test_the_environment_overrides_the_choice(hypervisor: Hypervisor) -> None:
    facts = Facts(asked_for=hypervisor, systemd=True, kvm=True, vagrant=True, debian=True, root=True)

    choice = choose(facts)

    assert (choice.hypervisor, choice.why) == (hypervisor, f"{VARIABLE} says so")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        pytest.param(
            Facts(asked_for="xen", debian=True, root=True),
            "JOBLET_VM=xen: must be one of kvm, virtualbox, emulated",
            id="no such hypervisor",
        ),
        pytest.param(Facts(debian=True), "sudo ./dev nox -s integration emulates one", id="Debian, not root, no KVM"),
        pytest.param(Facts(asked_for="emulated", debian=True), "emulation needs root on Debian", id="not root"),
        pytest.param(
            Facts(asked_for="emulated", debian=True, root=True, x86_64=False), "an x86_64 processor", id="another CPU"
        ),
        pytest.param(Facts(asked_for="kvm", kvm=True), "kvm needs Vagrant: install vagrant", id="no Vagrant"),
    ],
)
def test_a_host_that_cannot_is_told_what_to_install(facts: Facts, words: str) -> None:
    with pytest.raises(NoHypervisor) as refusal:
        choose(facts)

    assert words in str(refusal.value)


@pytest.mark.parametrize(("environ", "asked_for"), [({}, ""), ({VARIABLE: "kvm"}, "kvm")])
def test_this_host_is_looked_at_without_changing_it(environ: Mapping[str, str], asked_for: str) -> None:
    assert look(environ).asked_for == asked_for
