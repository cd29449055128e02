"""
The table of mutants: what is left out of each, and the tests that must notice.

Runs in: the test machine (mutants.py), unit tests.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from progress import Failed


@dataclass(frozen=True, slots=True)
class Edit:
    """
    One text replaced.

    Args:
        file: Below the package.
        old: A text that the file has once.
    """

    file: str
    old: str
    new: str = "pass"


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    A Joblet that lacks something.

    Args:
        name: What it lacks.
        tests: Below TESTS, as pytest names them; each must fail.
        within_s: How long they may take; then the jobs that they perhaps wait for are ended by other means.
    """

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    within_s: float = 90.0


def _without(flag: str) -> Edit:
    """Of the new namespaces of a job, all but one."""
    flags = "NEW_NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID"
    return Edit("supervisor/linux/clone.py", flags, flags.replace(flag, ""))


_GROUPS: Final = "supervisor/linux/cgroups/"
_INIT: Final = "supervisor/init.py"
_JOB: Final = "supervisor/job.py"

MUTANTS: Final = (
    # Processor, disk, processes
    Mutant(
        "cpu.max not written",
        (Edit(_GROUPS + "tree.py", "cpu.write_limits(folder, limits)"),),
        ("test_cpu.py::test_a_spinning_job_gets_its_share[20]",),
    ),
    Mutant(
        "cpuset.cpus not written",
        (Edit(_GROUPS + "tree.py", "cpuset.write_limits(folder, limits)"),),
        ("test_cpu.py::test_a_job_runs_on_the_cores_it_asked_for[1-granted0]",),
    ),
    Mutant(
        "io.max not written",
        (Edit(_GROUPS + "tree.py", "io.write_limits(folder, limits, device)"),),
        ("test_io.py::test_the_disk_is_as_fast_as_the_limit",),
    ),
    Mutant(
        "io.max without reads",
        (Edit(_GROUPS + "io.py", "rbps={rate} wbps={rate}", "wbps={rate}"),),
        ("test_io.py::test_the_kernel_has_both_directions_of_the_disk",),
    ),
    Mutant(
        "io.max without writes",
        (Edit(_GROUPS + "io.py", "rbps={rate} wbps={rate}", "rbps={rate}"),),
        ("test_io.py::test_the_kernel_has_both_directions_of_the_disk",),
    ),
    # Two fences around a fork bomb; either alone would hold it.
    Mutant(
        "pids.max not written",
        (Edit(_GROUPS + "tree.py", "pids.write_limits(folder, self._pids_max)"),),
        ("test_pids.py::test_a_job_has_4096_processes_unless_the_administrator_says_otherwise",),
    ),
    Mutant(
        "RLIMIT_NPROC not set",
        (Edit(_INIT, "limit(RLIMIT_NPROC, spec.nproc_max, spec.nproc_max)"),),
        ("test_pids.py::test_its_user_may_not_have_more_of_them_either",),
    ),
    # Memory
    Mutant(
        "memory.max not written",
        (Edit(_GROUPS + "memory.py", 'folder.write("memory.max", str(limits.memory_max_bytes))'),),
        ("test_memory.py::test_a_job_over_its_memory_is_killed_and_says_why",),
    ),
    Mutant(
        "memory.swap.max not written",
        (Edit(_GROUPS + "memory.py", 'folder.write("memory.swap.max", "0")'),),
        ("test_memory.py::test_swap_is_no_way_out_of_the_limit",),
    ),
    Mutant(
        "memory.oom.group switched on",
        (Edit(_GROUPS + "memory.py", '("memory.oom.group", "0")', '("memory.oom.group", "1")'),),
        ("test_memory.py::test_a_child_that_is_killed_makes_its_job_fail_whatever_its_parent_says",),
    ),
    Mutant(
        "init not spared when memory runs out",
        (Edit(_INIT, "os.write(FD_OOM_SCORE, OOM_SCORE_OF_INIT)"),),
        ("test_memory.py::test_its_init_is_spared_though_it_looks_the_largest",),
    ),
    # Isolation
    Mutant(
        "no mount namespace",
        # The state folder stays mounted, or the first job would take it from the next, which is then refused.
        (_without("CLONE_NEWNS | "), Edit(_INIT, "    umount(STATE_AT)\n", "")),
        ("test_namespaces.py::test_it_has_a_namespace_of_its_own[mnt]",),
    ),
    Mutant(
        "no UTS namespace",
        (_without("CLONE_NEWUTS | "),),
        ("test_namespaces.py::test_its_hostname_is_its_id_and_the_machine_keeps_its_own",),
    ),
    Mutant(
        "no IPC namespace",
        (_without("CLONE_NEWIPC | "),),
        (
            "test_namespaces.py::test_shared_memory_of_the_machine_is_not_there",
            "test_namespaces.py::test_a_message_queue_of_the_machine_is_not_there",
        ),
    ),
    Mutant(
        "no PID namespace",
        # Out of its own namespace, init's kill(-1, SIGKILL) would end every process of the machine.
        (_without(" | CLONE_NEWPID"), Edit(_INIT, "os.kill(-1, SIGKILL)", "raise ProcessLookupError")),
        ("test_namespaces.py::test_it_sees_its_own_processes_and_no_other",),
    ),
    Mutant(
        "no cgroup namespace",
        (Edit(_INIT, "        enter_cgroup_namespace()\n", ""),),
        ("test_namespaces.py::test_its_own_group_is_the_root_of_all_groups",),
    ),
    Mutant(
        "born outside of its cgroup",
        (Edit("supervisor/linux/clone.py", "flags |= CLONE_INTO_CGROUP", "pass"),),
        ("test_memory.py::test_a_job_over_its_memory_is_killed_and_says_why",),
    ),
    # The end
    Mutant(
        "SIGTERM's grace is 0 ms",
        (Edit("domain/job.py", "STOP_GRACE_MS: Final = 100", "STOP_GRACE_MS: Final = 0"),),
        ("test_life_cycle.py::test_a_stop_is_sigterm_then_100_ms_then_sigkill",),
    ),
    Mutant(
        "processes beside the command live on until the log is stored",
        (Edit(_INIT, "    _kill_the_rest()\n    user_us", "    user_us"),),
        ("test_life_cycle.py::test_what_a_daemon_writes_is_in_the_log_up_to_its_last_word",),
    ),
    # cgroup.kill and SIGKILL to init each do the work of both.
    Mutant(
        "no SIGKILL after the grace",
        (
            Edit(
                _JOB,
                "        if self.cgroup is not None:\n            self.cgroup.kill()\n        self._kill_init()\n",
                "",
            ),
        ),
        ("test_life_cycle.py::test_a_stop_is_sigterm_then_100_ms_then_sigkill",),
        within_s=15,
    ),
    Mutant(
        "timeout not armed",
        (Edit(_JOB, "self.owner.loop.after(max(0.0, left_s), self._timed_out)", "None"),),
        ("test_life_cycle.py::test_a_job_past_its_timeout_is_stopped_and_says_why",),
        within_s=15,
    ),
    Mutant(
        "cgroup not removed",
        (Edit(_JOB, "if self.cgroup is not None and not self.cgroup.remove():", "if False:"),),
        ("test_life_cycle.py::test_nothing_is_left_of_a_job_once_it_is_told_as_ended[exit 0]",),
    ),
)


def broken(package: Path, mutant: Mutant) -> dict[Path, str]:
    """
    The files of a mutant, with their new texts.

    Raises:
        Failed: A file does not have the text to replace, or has it twice.
    """
    texts: dict[Path, str] = {}
    for edit in mutant.edits:
        file = package / edit.file
        text = texts.get(file) or file.read_text()
        if (count := text.count(edit.old)) != 1:
            raise Failed(f"mutant {mutant.name!r}: {edit.file} has this text {count} times, not once: {edit.old!r}")
        texts[file] = text.replace(edit.old, edit.new)
    return texts
