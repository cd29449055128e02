"""
Other settings for the installed server, for as long as a test needs them.

Runs in: pytest in the test machine, as root. May not: leave the configuration file changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from installed import CONFIG, SERVER, systemctl


@contextmanager
def configured(added: str) -> Iterator[None]:
    """More keys in the installed configuration file, and the server restarted with them; as it was, afterwards."""
    before = CONFIG.read_text()
    try:
        CONFIG.write_text(before + added)
        systemctl("restart", SERVER)
        yield
    finally:
        CONFIG.write_text(before)
        systemctl("restart", SERVER)
