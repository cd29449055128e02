"""
Control groups (cgroup v2): what a job may use, and what it has used.

    file.py                              the only door to the tree; a refusal names file, value and the kernel's words
    cpu cpuset memory io pids            a controller each: write_limits and, if it counts something, read_statistics
    device.py                            which disk a folder is on, as io.max wants to hear it
    group.py                             one job's group: kill, usage, remove
    tree.py                              where groups go, and how one is made or leaves nothing behind
    host.py                              what this host lacks and what to do about it (also for `joblet doctor`)

Runs in: supervisor; host.py also in `joblet doctor`. May not: import outside the standard library.
Source: Linux Documentation/admin-guide/cgroup-v2.rst.
"""
