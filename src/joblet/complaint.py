"""
What a command line tells its user when it cannot go on: what is wrong, then how to mend it.

Libraries raise it; `admin/main.py` and `rnx/main.py` print it and exit. It is not a
`JobletError`: those cross the wire, a complaint is about this machine's files and flags.

Runs in: command lines, server loop at start. May not: import anything but the standard library.
Source: docs/contributors.md, "Style".
"""


class Complaint(Exception):
    """
    A failure in the user's words.

    Args:
        what: What was tried, on which value, and why it was refused; may have several lines.
        mend: What to do about it; empty when `what` says so already.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what if not mend else f"{what}\n{mend}")
        self.what = what
        self.mend = mend


def why(error: OSError) -> str:
    """The kernel's words for a failure, as they stand in the middle of a sentence."""
    return (error.strerror or str(error)).lower()
