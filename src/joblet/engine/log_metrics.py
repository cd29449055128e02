"""
The numbers of a supervisor's log system, for whoever may enter the state folder: no gRPC, no certificate, no server.

Runs in: command lines, benchmarks. May not: import outside the standard library.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

from joblet.engine.protocol import Frames, LogMetrics, LogStat, ProtocolError, encode
from joblet.statefolder import StateFolder

_ANSWER_S = 10.0


def log_metrics(folder: StateFolder) -> Mapping[str, float] | None:
    """
    Ask the supervisor of a state folder (see `AsyncLogSystem.stat`).

    Returns:
        None when no supervisor runs.

    Raises:
        OSError: It does not answer; EACCES for who may not ask.
        ProtocolError: It is of a version that does not know the question.
    """
    folder_fd = os.open(folder.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(_ANSWER_S)
        try:
            connection.connect(folder.socket_address(folder_fd))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        finally:
            os.close(folder_fd)
        connection.sendall(encode(LogStat()))
        frames = Frames()
        while data := connection.recv(65536):
            for message in frames.feed(data):
                if isinstance(message, LogMetrics):
                    return message.values
        raise ProtocolError("the supervisor does not know the question: it is of another version")
