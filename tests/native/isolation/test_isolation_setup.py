"""
Set-ups that fail, and what the zygote itself is.

Runs in: pytest, as root.
"""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.native.isolation.conftest import Launchpad

pytestmark = pytest.mark.native

ANONYMOUS_MAX_KB = 4500  # launch time grows with it: 0.6 of bwrap's at 3.8 MB, 0.9 at 12 MB
INIT_PSS_MAX_KB = 800


@pytest.mark.parametrize("folder", ["work", "dev/shm", "dev/pts"])
def test_a_set_up_that_fails_at_a_mount_is_told_with_the_kernel_s_words_and_leaves_nothing(
    open_pad: Any, folder: str
) -> None:
    with open_pad(without=folder) as (pad, hello):
        assert hello == {"ready": True}

        run = pad.run("echo", "I ran")

        assert run.failed is not None
        assert run.failed.startswith("no such file or directory: mount(")
        assert run.output == b""
        assert pad.ask("leftovers") == {"files": [], "children": []}


@pytest.mark.parametrize("folder", ["proc", "tmp"])
def test_a_zygote_that_cannot_have_its_tree_says_why_and_ends(open_pad: Any, folder: str) -> None:
    with open_pad(without=folder) as (_, hello):
        assert hello["broken"].startswith("no such file or directory: mount(")


def test_a_cgroup_that_is_none_is_refused_before_any_process_exists(pad: "Launchpad", tmp_path: Path) -> None:
    run = pad.run("echo", "I ran", cgroup=str(tmp_path))

    assert run.refused is not None
    assert run.refused.startswith("bad file descriptor: clone3(")
    assert pad.ask("leftovers") == {"files": [], "children": []}


def test_a_second_job_with_the_same_id_does_not_touch_the_first_one_s_record(pad: "Launchpad") -> None:
    job = pad.a_job("echo", "I ran")
    pad.ask("occupy", job["job_id"])

    pad.ask("start", job)
    run = pad.finish(job["job_id"])

    assert run.output == b""
    assert run.init_status == errno.EEXIST
    assert pad.ask("leftovers") == {"files": [], "children": []}


def test_the_zygote_goes_on_after_failures(pad: "Launchpad", tmp_path: Path) -> None:
    pad.run("true", cgroup=str(tmp_path))

    assert pad.shell("echo still here").text == "still here"


def test_the_zygote_stays_small_and_alone(pad: "Launchpad") -> None:
    for _ in range(10):
        pad.run("true", "x" * 100_000)

    zygote = pad.ask("zygote_status")

    assert zygote["anonymous_kb"] <= ANONYMOUS_MAX_KB
    assert zygote["threads"] == 1
    assert str(pad.state) in zygote["argv"]


def test_the_zygote_holds_no_descriptor_of_a_job(pad: "Launchpad") -> None:
    before = pad.ask("zygote_status")["fds"]
    job = pad.start("sleep", "1000")

    during = pad.ask("zygote_status")["fds"]

    assert len(during) == len(before)
    pad.ask("kill", job)
    pad.finish(job)


def test_an_idle_job_s_init_costs_little_memory(pad: "Launchpad") -> None:
    jobs = [pad.start("sleep", "1000") for _ in range(50)]

    pss = sorted(pad.ask("memory", job)["Pss"] for job in jobs)

    for job in jobs:
        pad.ask("kill", job)
        pad.finish(job)
    assert pss[len(pss) // 2] <= INIT_PSS_MAX_KB


def test_the_host_sees_no_mount_of_a_job(pad: "Launchpad") -> None:
    before = Path("/proc/self/mountinfo").read_text()
    job = pad.start("sleep", "1000")

    assert Path("/proc/self/mountinfo").read_text() == before
    pad.ask("kill", job)
    pad.finish(job)
    assert os.listdir(pad.state / "tree") == []
