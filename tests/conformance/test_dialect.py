"""
Servers of another dialect: the same cases, with other names and numbers on the wire.

Runs in: pytest.
"""

from pathlib import Path

import pytest
from certificates import Authority
from foreign import PACKAGE, dialect, translating
from hypothesis import given
from hypothesis import strategies as st
from served import a_server

from joblet.wire import joblet_pb2 as pb
from joblet_conformance.case import Profile, cases
from joblet_conformance.certificates import identities
from joblet_conformance.dialect import Dialect, DialectUnusable, built_in, matching, named, read
from joblet_conformance.reports.outcome import explanation
from joblet_conformance.runner import Verdict, run
from joblet_conformance.target import Target

# Its server has no limit of its own on messages, and takes in and drops what it does not know.
NOT_THE_TRANSLATORS = {"messages.reflection", "messages.health"}


async def test_a_server_of_another_dialect_conforms(authority: Authority) -> None:
    """Every case of the core passes through a package, calls and numbers that are all different."""
    known = identities(authority.certificate, authority.key, {})
    chosen = [case for case in cases().values() if case.profile is Profile.CORE and case.id not in NOT_THE_TRANSLATORS]
    async with (
        a_server(authority) as served,
        translating(served, authority) as port,
        Target(f"localhost:{port}", authority.certificate, known, read(dialect(), "acme")) as target,
    ):
        results = await run(target, chosen)

    assert [f"{each.case.id}: {explanation(each)}" for each in results if each.verdict is not Verdict.PASSED] == []


MOVED = Dialect(
    "moved",
    fields={
        "Job": {"id": 2, "name": 1, "secret_environment": 0, "environment": 40},
        "RunJobReq": {"command": 7},
        "Timestamp": {"seconds": 3},
    },
)


def test_a_field_moves_with_what_it_holds() -> None:
    """`id` and `name` have changed places."""
    sent = MOVED.to_theirs(pb.Job, pb.Job(id="i", name="n").SerializeToString())

    assert pb.Job.FromString(sent) == pb.Job(id="n", name="i")


def test_fields_of_messages_within_messages_move_too() -> None:
    ours = pb.Jobs(jobs=[pb.Job(id="i", args=["a"]), pb.Job(name="n")]).SerializeToString()

    sent = pb.Jobs.FromString(MOVED.to_theirs(pb.Jobs, ours))

    assert [(job.id, job.name, list(job.args)) for job in sent.jobs] == [("", "i", ["a"]), ("n", "", [])]


def test_a_field_that_they_do_not_have_is_left_out() -> None:
    sent = MOVED.to_theirs(pb.Job, pb.Job(secret_environment={"A": "B"}, status="RUNNING").SerializeToString())

    assert pb.Job.FromString(sent) == pb.Job(status="RUNNING")


def test_a_number_that_means_something_else_over_there_is_not_taken_for_ours() -> None:
    """Field 1 of theirs is none of ours; our `command` is their 7."""
    theirs = pb.Job(id="something else").SerializeToString()  # field 1, a text

    assert MOVED.to_ours(pb.RunJobReq, theirs) == b""


def test_what_neither_side_knows_passes() -> None:
    """Fields of a later version."""
    unknown = b"\x82\xf5\xff\xff\x0f\x05later"

    assert MOVED.to_theirs(pb.Job, unknown) == unknown


@given(
    st.builds(
        pb.Job,
        id=st.text(),
        name=st.text(),
        args=st.lists(st.text()),
        maxCPU=st.integers(-(2**31), 2**31 - 1),
        exitCode=st.integers(-(2**31), 2**31 - 1),
        environment=st.dictionaries(st.text(), st.text(), max_size=3),
    )
)
def test_there_and_back_is_what_it_was(job: pb.Job) -> None:
    ours = job.SerializeToString()

    assert pb.Job.FromString(MOVED.to_ours(pb.Job, MOVED.to_theirs(pb.Job, ours))) == job


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05abc", b"\xff", b"\x0b", b"\x0d12"])
def test_bytes_that_are_no_message_are_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"message ends|wire type"):
        MOVED.to_ours(pb.Job, data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("package = ", "dialect x:"),
        ("colour = 'red'", "there is no colour"),
        ("[calls]\nRunJobs = 'Start'", r"there is no RunJobs in \[calls\]"),
        ("[fields.Jab]\nid = 1", r"there is no Jab in \[fields\]"),
        ("[fields.Job]\nident = 1", r"there is no ident in \[fields\.Job\]"),
        ("services = 1", "services must be a table, and is 1"),
        ("[fields]\nRunJobReq = 1", r"RunJobReq in \[fields\] must be a table"),
        ("about = 1", "about must be a text"),
        ("package = 3", "package must be a name"),
        ("package = ''", "package must be a name"),
        ("[services]\nJobService = ''", r"JobService in \[services\] must be a name"),
        ("[calls]\nRunJob = 'a/b'", r"RunJob in \[calls\] must be a name"),
        ("[calls]\nRunJob = 1", r"RunJob in \[calls\] must be a name"),
        *(
            (f"[fields.Job]\nid = {number}", r"id in \[fields\.Job\] must be a number from 1 to 536870911")
            for number in ("'4'", "4.0", "-1", "true", "19000", "19999", "536870912")
        ),
        ("[fields.Job]\nid = 2", r"id and name in \[fields\.Job\] both have the number 2"),
        ("[fields.Job]\nid = 50\nname = 50", r"id and name in \[fields\.Job\] both have the number 50"),
    ],
)
def test_a_file_with_a_slip_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(DialectUnusable, match=words):
        read(text, "x")


def test_two_fields_that_are_not_there_do_not_clash() -> None:
    assert read("[fields.Job]\nid = 0\nname = 0", "x").fields == {"Job": {"id": 0, "name": 0}}


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"about = 'h\xf6flich'")

    with pytest.raises(DialectUnusable, match="not UTF-8"):
        named(str(tmp_path / "latin.toml"))


def test_reflection_decides_between_the_dialects_that_are_built_in() -> None:
    assert matching(frozenset(("joblet.JobletService", "joblet.JobService"))) == named("joblet")
    assert matching(frozenset(("joblet.JobletService",))) == named("joblet")
    assert matching(frozenset(("joblet.JobService", "joblet.RuntimeService"))) == named("jobservice")
    assert matching(frozenset((f"{PACKAGE}.Tasks",))) is None


def test_the_specifications_own_dialect_is_the_first() -> None:
    assert next(iter(built_in())) == "joblet"
