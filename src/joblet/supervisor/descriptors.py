"""
The numbers under which a job's init holds its descriptors: the one place that knows them.

A later supervisor copies the log's two ends and the eventfd out of a running init by these
numbers, so they are an interface between versions: they may be added to, never changed.

Runs in: the child (init), supervisor. May not: import anything.
"""

FD_LOG_READ = 3  # read end of the output pipe: the pipe and what is in it outlive the supervisor
FD_LOG_MEMORY = 4  # the log's memfd, for the same reason
FD_EVENT = 5  # init adds 1 after each line it appends to the status file
FD_STATUS = 6  # the status file, append only
FD_OOM_SCORE = 7  # /proc/<init>/oom_score_adj, until the command runs
FD_LOG_WRITE = 8  # write end of the output pipe, until the command runs
FD_FIRST_OTHER = 9  # nothing of a job's init is at or above it once its descriptors are in place
