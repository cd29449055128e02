"""
The check that every workflow passes on the server: the same that `rnx` makes, and against this machine's size.

Runs in: a thread beside the server loop: 10,000 jobs take a second. May not: do I/O.
Source: API specification, "Workflow API", "Validation".
"""

from joblet.domain.errors import InvalidWorkflow
from joblet.domain.limits import Machine
from joblet.workflowfile.read import WorkflowFile, parse
from joblet.yamlfile import YamlInvalid


def check(text: str, name: str, machine: Machine | None) -> WorkflowFile:
    """
    What a workflow's file says.

    Args:
        name: What the user calls it, for the messages.
        machine: Whose limits no job may exceed; None when that is not to be checked.

    Raises:
        InvalidWorkflow: With every problem in it.
    """
    name = name or "workflow"
    try:
        return parse(text.encode(), name, machine)
    except YamlInvalid as error:
        raise InvalidWorkflow([problem.at(name) for problem in error.problems]) from None
