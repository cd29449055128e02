"""
systemd's journal from a moment on: what a unit says there, and how a line of Joblet's must look.

    journal = Journal(SERVER)
    ...
    journal.until("job failed")

Runs in: pytest in the test machine, as root.
Source: API specification, "Log Levels and Format".
"""

import json
import re
import select
import subprocess
from typing import Final

from installed import DEADLINE_S

_AS_JSON: Final = ("--output=json", "--output-fields=MESSAGE,_SYSTEMD_UNIT,UNIT")
_VALUE: Final = r'(?:"(?:[^"\\]|\\.)*"|[^\s"=|\\]+)'
RECORD: Final = re.compile(
    r"\[(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\] \[(?P<level>DEBUG|INFO|WARN|ERROR)\] (?P<message>[^|=]+?)"
    rf"(?: \| (?P<fields>\w+={_VALUE}(?: \w+={_VALUE})*))?"
)


class Journal:
    """
    What is written to the journal from now on.

    A unit's line may come a moment after what it tells of: wait for the last that counts, then look at the others.

    Args:
        unit: Whose lines, and whose systemd's about it.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        shown = _journalctl("--lines=0", "--show-cursor")
        # Always without a filter: journalctl takes one line too few after a cursor that its filter leaves out.
        self._since = f"--after-cursor={shown.rpartition('-- cursor: ')[2].strip()}"

    def said(self) -> list[str]:
        """The unit's own lines so far, without systemd's about it."""
        entries = map(json.loads, _journalctl(self._since, *_AS_JSON).splitlines())
        return [str(entry["MESSAGE"]) for entry in entries if entry.get("_SYSTEMD_UNIT") == self._unit]

    def of_everybody(self) -> str:
        """All that anybody has written so far, with every field that is stored, such as the writer's command line."""
        return _journalctl(self._since, "--output=export", "--all")

    def until(self, words: str) -> str:
        """Wait for a line that holds these words, also one of systemd's, and return it."""
        command = ["journalctl", "--follow", "--lines=all", self._since, *_AS_JSON]  # by itself, it would show 10
        # Unbuffered: select would not see a second line that was read together with a first.
        with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
            assert process.stdout is not None
            try:
                while select.select([process.stdout], [], [], DEADLINE_S)[0]:
                    entry = json.loads(process.stdout.readline())
                    line = str(entry["MESSAGE"])
                    if self._unit in (entry.get("_SYSTEMD_UNIT"), entry.get("UNIT")) and words in line:
                        return line
                raise AssertionError(f"no line of {self._unit} has {words!r}: {self.said()}")
            finally:
                process.kill()


def _journalctl(*options: str) -> str:
    command = ["journalctl", "--no-pager", *options]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout
