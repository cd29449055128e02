"""
A supervisor whose disk fails with EIO at two writes out of three, and writes only a part at the third.

Everything else about it is real: it is started with a supervisor's arguments.

Runs in: a process of its own, as root.
"""

import errno
import itertools
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[1])))
del sys.argv[1]

from joblet.logs.calls import Calls  # noqa: E402 - found by the path above, as a supervisor finds its modules
from joblet.supervisor import __main__ as supervisor  # noqa: E402

_times = itertools.count(1)


def sendfile(to: int, source: int, offset: int, count: int) -> int:
    """As the kernel's, on a bad day."""
    if next(_times) % 3:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return os.sendfile(to, source, offset, min(count, 1_000_003))


sys.exit(supervisor.main(Calls(sendfile=sendfile)))
