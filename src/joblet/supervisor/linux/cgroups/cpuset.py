"""
The cpuset controller: on which cores a job runs.

Runs in: supervisor. May not: touch another controller's files.
Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Cpuset Interface Files"; cpuset(7), "List format".
"""

from joblet.domain.errors import InvalidLimit
from joblet.domain.limits import Limits, parse_cores
from joblet.supervisor.linux.cgroups.file import CgroupError, Folder


def write_limits(folder: Folder, limits: Limits) -> None:
    """
    cpuset.cpus, when cores are asked for.

    The kernel takes cores that are offline or not granted to the parent without a word, and runs the job on what is
    left, or on all of the parent's when nothing is. So what is in force is read back.

    Raises:
        CgroupError: The kernel refused, or other cores than the wanted ones are in force.
    """
    if not limits.cpu_cores:
        return
    folder.write("cpuset.cpus", limits.cpu_cores)
    granted = folder.read("cpuset.cpus.effective").strip()
    if _cores(granted) != _cores(limits.cpu_cores):
        raise CgroupError(f"cpuCores {limits.cpu_cores} is not available: the kernel grants {granted or 'no core'}")


def _cores(text: str) -> frozenset[int]:
    try:
        return parse_cores(text) if text else frozenset()
    except InvalidLimit:
        raise CgroupError(f"not a list of cores: {text!r}") from None
