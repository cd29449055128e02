"""
The engine of a real server, as far as it needs no supervisor.

Runs in: pytest.
"""

import asyncio
import contextlib
import struct
from pathlib import Path
from typing import cast

import pytest

from joblet.engine.protocol import VERSION, Attach, JobEnd, encode
from joblet.engine.supervised import SupervisedEngine, SupervisorOptions
from joblet.ports import Attached, Detached, EngineEvent
from joblet.statefolder import StateFolder


def frame(body: bytes) -> bytes:
    """A frame of any bytes."""
    return struct.pack(">I", len(body)) + body


def test_a_supervisor_that_is_the_service_managers_to_start_is_waited_for(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)

    async def first_event() -> EngineEvent:
        engine = SupervisedEngine(folder, SupervisorOptions(start=False))
        try:
            return await asyncio.wait_for(anext(engine.events()), 30)
        finally:
            await engine.close()

    event = asyncio.run(first_event())

    assert isinstance(event, Detached)
    assert "it is the service manager's to start" in event.why
    assert not folder.supervisor_log.exists()  # nothing was started


class Impostor:
    """
    Listens where a supervisor does, and answers each Hello with the same bytes.

    Args:
        says: Frames; empty for closing at once.
    """

    def __init__(self, folder: StateFolder, says: bytes) -> None:
        self._folder = folder
        self._says = says
        self.connections = 0

    async def __aenter__(self) -> "Impostor":
        self._server = await asyncio.start_unix_server(self._serve, str(self._folder.socket))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await reader.read(1)
        writer.write(self._says)
        if not self._says:
            writer.close()
        await reader.read()
        writer.close()


def events_told_by(folder: StateFolder, says: bytes, during_s: float) -> tuple[list[EngineEvent], int]:
    """What an engine makes of such a supervisor, and how often it connected."""

    async def scenario() -> tuple[list[EngineEvent], int]:
        engine = SupervisedEngine(folder, SupervisorOptions(start=False))
        told: list[EngineEvent] = []

        async def follow() -> None:
            async for event in engine.events():
                told.append(event)

        async with Impostor(folder, says) as impostor:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(follow(), during_s)
            await engine.close()
        return told, impostor.connections

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (b"", "gone"),
        (encode(Attach(VERSION + 1, {}, [], "yes")), f"protocol version {VERSION + 1} is not {VERSION}"),
        (
            frame(b'{"type":"Attach","version":1,"running":{"a":7},"ended":[],"limits_enforced":"yes"}'),
            "Attach.running",
        ),
        (frame(b"rubbish"), "not a message"),
    ],
)
def test_a_supervisor_that_does_not_fit_is_told_once_and_not_stormed(tmp_path: Path, says: bytes, why: str) -> None:
    """It is asked again, less and less often; a fast loop would take a core and fill the server log."""
    told, connections = events_told_by(StateFolder(tmp_path), says, during_s=1.0)

    assert [type(event) for event in told] == [Detached]
    assert why in cast(Detached, told[0]).why
    assert 2 <= connections <= 8


def test_an_end_in_words_nobody_knows_ends_the_connection_only(tmp_path: Path) -> None:
    end = JobEnd("a", "CANCELLED", 0, 1, 2, "", 0, False, 0, 0, 0, 0, 0)
    said = encode(Attach(VERSION, {}, ["a"], "yes")) + encode(end)

    told, connections = events_told_by(StateFolder(tmp_path), said, during_s=1.0)

    assert {type(event) for event in told} == {Attached, Detached}
    assert "JobEnd.state" in next(event.why for event in told if isinstance(event, Detached))
    assert 2 <= connections <= 8
