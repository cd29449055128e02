"""
A workflow's file, checked before anything is sent.

Runs in: the user's terminal.
Source: API specification, "Validation"; docs/workflows.md.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from joblet.client.errors import BadRequest

if TYPE_CHECKING:
    from joblet.workflowfile.read import WorkflowFile


def checked(name: str) -> "tuple[str, WorkflowFile]":
    """
    The text of a file, and what it says.

    Raises:
        BadRequest: It cannot be read or used, with everything that is wrong with it.
    """
    from joblet.workflowfile.read import read
    from joblet.yamlfile import YamlInvalid

    try:
        return read(Path(name))
    except YamlInvalid as error:
        raise BadRequest(str(error)) from None
