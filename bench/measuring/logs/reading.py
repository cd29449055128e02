"""
The processes that read a log, and the one that serves raw TLS: `python -m measuring.logs.reading COMMAND …`.

Each says `ready` once it is connected, begins when it is told to by a line, and says `done` when it is through: so
neither its start nor the handshakes count, and several processes begin together. A reader of Joblet has a connection
of its own, as `rnx log` has, and the allocator's setting of `rnx log`.

Runs in: a process of its own, started by `crowd`.
"""

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from joblet.allocator import keep_freed_memory
from joblet.client import Credentials, JobletClient
from joblet.pki import names
from joblet.services.logs import CHUNK_BYTES

READY: Final = "ready"
DONE: Final = "done"


def credentials_in(folder: Path) -> Credentials:
    """An administrator's."""
    return Credentials.from_files(
        folder / names.CLIENT_CERTIFICATE, folder / names.CLIENT_KEY, folder / names.CA_CERTIFICATE
    )


def wait_for_the_word() -> None:
    """Say ready, and return when told to begin."""
    print(READY, flush=True)
    sys.stdin.readline()


def at_once(works: Sequence[Callable[[], None]]) -> None:
    """Each in a thread. A failure of one is raised when all are through."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def connected_clients(closing: ExitStack, folder: Path, address: str, count: int) -> list[JobletClient]:
    """So many, each with a connection that stands."""
    clients = []
    for _ in range(count):
        clients.append(closing.enter_context(JobletClient(address, credentials_in(folder))))
        clients[-1].list_jobs()
    return clients


def read_all(folder: Path, address: str, job_id: str, log_bytes: int, readers: int) -> None:
    """A whole log by each of so many readers, as fast as it comes."""

    def read(client: JobletClient) -> None:
        got = sum(map(len, client.get_job_logs(job_id)))
        assert got == log_bytes, got

    with ExitStack() as closing:
        clients = connected_clients(closing, folder, address, readers)
        wait_for_the_word()
        at_once([partial(read, client) for client in clients])
        print(DONE, flush=True)


def read_slowly(folder: Path, address: str, job_id: str, offsets: Sequence[int], pause_s: float, for_s: float) -> None:
    """A piece and a pause, by a reader at each of these offsets, for so long."""

    def read(client: JobletClient, offset_bytes: int) -> None:
        with client.get_job_logs(job_id, offset_bytes=offset_bytes) as log:
            for _ in log:
                if time.monotonic() >= until_s:
                    return
                time.sleep(pause_s)

    with ExitStack() as closing:
        clients = connected_clients(closing, folder, address, len(offsets))
        wait_for_the_word()
        until_s = time.monotonic() + for_s
        at_once([partial(read, client, offset) for client, offset in zip(clients, offsets, strict=True)])
        print(DONE, flush=True)


def read_raw(folder: Path, address: str, count_bytes: int) -> None:
    """What `serve_raw` sends."""
    credentials = credentials_in(folder)
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=credentials.ca_path)
    context.load_cert_chain(credentials.certificate_path, credentials.key_path)
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        buffer = bytearray(CHUNK_BYTES)
        wait_for_the_word()
        secure.sendall(b"!")
        got = 0
        while got < count_bytes:
            got += secure.recv_into(buffer)
    print(DONE, flush=True)


def serve_raw(folder: Path, count_bytes: int) -> None:
    """Send so much to each client that has sent a byte, one after the other, for ever; say the port first."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / names.CA_CERTIFICATE)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / names.SERVER_CERTIFICATE, folder / names.SERVER_KEY)
    piece = bytes(range(256)) * (CHUNK_BYTES // 256)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1)
                for _ in range(count_bytes // CHUNK_BYTES):
                    secure.sendall(piece)


def main(words: Sequence[str]) -> int:
    """What `crowd` and the parts ask for."""
    keep_freed_memory()
    match words:
        case ["read", folder, address, job_id, log_bytes, readers]:
            read_all(Path(folder), address, job_id, int(log_bytes), int(readers))
        case ["read-slowly", folder, address, job_id, pause_s, for_s, *offsets]:
            read_slowly(Path(folder), address, job_id, list(map(int, offsets)), float(pause_s), float(for_s))
        case ["read-raw", folder, address, count_bytes]:
            read_raw(Path(folder), address, int(count_bytes))
        case ["serve-raw", folder, count_bytes]:
            serve_raw(Path(folder), int(count_bytes))
        case _:
            raise ValueError(f"not a command: {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
