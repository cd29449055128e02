"""
One server (or `joblet down`) talking to the supervisor over its unix socket.

Runs in: supervisor. May not: block, import outside the standard library.
"""

import socket
from collections.abc import Callable
from typing import Final

from joblet.engine.protocol import Frames, Message, ProtocolError, encode
from joblet.supervisor.loop import READABLE, WRITABLE, Loop

_READ_BYTES: Final = 256 * 1024
# A server that reads nothing while its jobs end must not cost unbounded memory; it reattaches and is told again.
MAX_UNSENT_BYTES: Final = 64 * 1024 * 1024


class Connection:
    """
    Messages in and out, without ever waiting for the other side.

    Args:
        receive: Called with each message.
        closed: Called once, with why, when the connection is gone.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        receive: Callable[["Connection", Message], None],
        closed: Callable[["Connection", str], None],
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._receive = receive
        self._closed = closed
        self._frames = Frames()
        self._unsent = bytearray()
        self.greeted = False
        sock.setblocking(False)
        loop.watch(sock.fileno(), self._ready)

    def send(self, message: Message) -> None:
        """Send now what the socket takes, the rest when it can."""
        if self._socket.fileno() < 0:
            return
        data = encode(message)
        if not self._unsent:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self.close(f"cannot send: {error.strerror}")
                return
            if not data:
                return
            self._loop.rearm(self._socket.fileno(), READABLE | WRITABLE)
        self._unsent += data
        if len(self._unsent) > MAX_UNSENT_BYTES:
            self.close(f"it left {len(self._unsent)} bytes unread")

    def catch_up(self) -> None:
        """Take all that has arrived, without waiting to be told of it."""
        while self._socket.fileno() >= 0 and self._read():
            pass

    def close(self, why: str) -> None:
        """Drop the connection; harmless when it is gone."""
        fd = self._socket.fileno()
        if fd < 0:
            return
        self._loop.forget(fd)
        self._socket.close()
        self._closed(self, why)

    def _ready(self, events: int) -> None:
        if events & WRITABLE:
            self._flush()
        if events & ~WRITABLE and self._socket.fileno() >= 0:
            self._read()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(f"cannot send: {error.strerror}")
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.rearm(self._socket.fileno(), READABLE)

    def _read(self) -> bool:
        """Whether there was something."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self.close(f"cannot receive: {error.strerror}")
            return False
        if not data:
            self.close("the other side closed it")
            return False
        try:
            messages = self._frames.feed(data)
        except ProtocolError as error:
            self.close(str(error))
            return False
        for message in messages:
            self._receive(self, message)
        return True
