"""
What `joblet.allocator` asks of glibc is in force: seen in page faults, in a process of its own.

Runs in: pytest, and a Python that it starts.
"""

import subprocess
import sys
from typing import Final

PIECE_BYTES: Final = 512 * 1024
PIECES: Final = 200
SCRIPT: Final = f"""
import resource
from joblet.allocator import giving_back, keep_freed_memory

kept = keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def pieces():
    before = faults()
    for _ in range({PIECES}):
        held = [bytes({PIECE_BYTES}) for _ in range(4)]
        del held
    return faults() - before
pieces()
again = pieces()
giving_back()()
print(int(kept), again, pieces())
"""


def figures() -> tuple[bool, int, int]:
    """(whether the allocator could be set, faults of the pieces, of them and all they need anew)."""
    words = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True, timeout=60)
    kept, again, anew = map(int, words.stdout.split())
    return bool(kept), again, anew


def test_freed_pieces_are_taken_again_without_a_fault_each_until_they_are_given_back() -> None:
    kept, again, anew = figures()

    if kept:  # by glibc; another library may do as it likes
        assert again < PIECES
        assert anew - again > 3 * PIECE_BYTES // 4096
