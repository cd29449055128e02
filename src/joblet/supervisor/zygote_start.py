"""
The program that becomes the zygote: `python -I -S -OO zygote_start.py --state DIR --tree DIR`.

Beside `zygote.py`, because a program's own file is compiled anew at each start, and what the compiler
leaves in the heap would be copied for each job; this one is too short to matter.

Runs in: zygote. May not: do anything but hand over.
"""

# Before our own modules: what each job writes to then lies on fewer pages (850 kB for each init became 800).
import _signal  # type: ignore[import-not-found]  # noqa: F401
import _socket  # noqa: F401
import ctypes  # noqa: F401
import errno  # noqa: F401
import gc  # noqa: F401
import os  # noqa: F401
import sys
import time  # noqa: F401

if __name__ == "__main__":
    # -I leaves the program's folder out of the path.
    sys.path.append(__file__.rsplit("/", 3)[0])
    from joblet.supervisor import zygote

    zygote.main(sys.argv[2], sys.argv[4])
