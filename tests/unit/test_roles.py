"""Operations and what is not in the table."""

import pytest

from joblet.api import roles
from joblet.domain.errors import NotAllowed, Unauthenticated
from joblet.domain.role import Role


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("/joblet.JobletService/RunJob", "run_job"),
        ("/joblet.JobService/GetJobStatus", "get_job_status"),
        ("/joblet.JobService/ListWorkflows", "list_workflows"),
        ("/grpc.health.v1.Health/Check", "check"),
        ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "server_reflection_info"),
    ],
)
def test_an_operation_is_the_call_in_snake_case(method: str, operation: str) -> None:
    """As refusals name it."""
    assert roles.operation(method) == operation


@pytest.mark.parametrize("role", Role)
def test_a_call_that_is_not_in_the_table_is_refused(role: Role) -> None:
    """Also to an admin: a new call is closed until somebody has thought about it."""
    with pytest.raises(NotAllowed) as refused:
        roles.check_allowed(role, "/joblet.JobService/DeleteJob")

    assert str(refused.value) == f"role {role} is not allowed to perform operation delete_job"


def test_every_call_is_open_to_admins() -> None:
    """Full access, as specified."""
    assert all(Role.ADMIN in allowed for allowed in roles.ALLOWED.values())


def test_a_caller_without_tls_has_no_role() -> None:
    """In the specification's words."""
    with pytest.raises(Unauthenticated) as refused:
        roles.role_of({})

    assert str(refused.value) == "failed to extract client role: no TLS information found"


def test_a_certificate_that_cannot_be_read_gives_no_role() -> None:
    """Should the TLS library and ours ever differ."""
    with pytest.raises(Unauthenticated, match="failed to extract client role: the certificate cannot be read"):
        roles.role_of({"x509_pem_cert": [b"rubbish"]})
