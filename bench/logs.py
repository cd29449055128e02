"""
How fast one reader gets a long log by GetJobLogs, against raw TLS 1.3 of Python's `ssl`, both over loopback.

    sudo python bench/logs.py [--smoke] [--rounds N]

The log is that of a job that has ended, in the page cache. The peer sends the same bytes from memory, in pieces of the
same size, with the same certificates. Either reader is a process of its own, and its clock runs from its first piece
to its last, so that neither start nor handshake counts.

Runs in: the contributor's terminal, as root; server, job, the peer's server and both readers as processes of their own.
Source: docs/contributors.md, "Benchmarks": at least 0.5 times raw TLS.
"""

import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from measuring.report import judged, rounds_asked_for, show
from measuring.server import RunningServer, a_server

from joblet.client import Credentials, JobletClient
from joblet.pki import names
from joblet.services.logs import CHUNK_BYTES

TARGET: Final = 0.5
LOG_BYTES: Final = 256 * 1024 * 1024


def read_log(address: str, credentials: Credentials, job_id: str) -> float:
    """MB/s of a whole log."""
    with JobletClient(address, credentials) as client:
        log = client.get_job_logs(job_id)
        counted = LOG_BYTES - len(next(log))
        began = time.perf_counter()
        got = sum(map(len, log))
        took = time.perf_counter() - began
    assert got == counted, got
    return counted / 1e6 / took


def read_raw(address: str, credentials: Credentials) -> float:
    """MB/s of what `serve_raw` sends."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=credentials.ca_path)
    context.load_cert_chain(credentials.certificate_path, credentials.key_path)
    host, _, port = address.rpartition(":")
    buffer = bytearray(CHUNK_BYTES)
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        counted = LOG_BYTES - secure.recv_into(buffer)
        began = time.perf_counter()
        got = 0
        while got < counted:
            got += secure.recv_into(buffer)
        took = time.perf_counter() - began
    return counted / 1e6 / took


def serve_raw(certificates: Path) -> None:
    """Send the bytes to each client, one after the other, for ever; the port is the first line of output."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / names.CA_CERTIFICATE)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / names.SERVER_CERTIFICATE, certificates / names.SERVER_KEY)
    piece = bytes(range(256)) * (CHUNK_BYTES // 256)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as secure:
                for _ in range(LOG_BYTES // CHUNK_BYTES):
                    secure.sendall(piece)


def make_log(client: JobletClient) -> str:
    """Id of a job that has ended and left a log of LOG_BYTES."""
    # The bytes of serve_raw: either side encrypts whatever it is at the same speed.
    script = f"import sys; [sys.stdout.buffer.write(bytes(range(256)) * 4096) for _ in range({LOG_BYTES >> 20})]"
    job = client.run_job("python3", ["-c", script])
    status = client.wait(job.id)
    assert (status.exit_code, status.log_bytes) == (0, LOG_BYTES), status
    return job.id


def in_a_process(*arguments: str) -> float:
    """What this program prints when it is started with these arguments."""
    return float(subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True).stdout)


def measure(server: RunningServer, rounds: int) -> dict[str, list[float]]:
    """MB/s by reader."""
    with JobletClient(server.address, server.credentials) as client:
        job_id = make_log(client)
    peer = subprocess.Popen([sys.executable, __file__, "serve-raw", str(server.certificates)], stdout=subprocess.PIPE)
    rates: dict[str, list[float]] = {"GetJobLogs": [], "raw TLS 1.3": []}
    try:
        assert peer.stdout is not None
        raw = f"127.0.0.1:{int(peer.stdout.readline())}"
        folder = str(server.certificates)
        for _ in range(rounds):
            rates["GetJobLogs"].append(in_a_process("read-log", folder, server.address, job_id))
            rates["raw TLS 1.3"].append(in_a_process("read-raw", folder, raw))
    finally:
        peer.kill()
        peer.wait()
    return rates


def credentials_in(folder: Path) -> Credentials:
    """An administrator's."""
    return Credentials.from_files(
        folder / names.CLIENT_CERTIFICATE, folder / names.CLIENT_KEY, folder / names.CA_CERTIFICATE
    )


def main() -> int:
    """Measure and print; 1 when the target is missed."""
    match sys.argv[1:]:
        case ["read-log", folder, address, job_id]:
            print(read_log(address, credentials_in(Path(folder)), job_id))
            return 0
        case ["read-raw", folder, address]:
            print(read_raw(address, credentials_in(Path(folder))))
            return 0
        case ["serve-raw", folder]:
            serve_raw(Path(folder))
    rounds, judge = rounds_asked_for("GetJobLogs to one reader against raw TLS", 9)
    with a_server() as server:
        rates = measure(server, rounds)
    medians = show(f"{LOG_BYTES >> 20} MiB, {rounds} rounds, interleaved", "MB/s", rates)
    kept = judged("GetJobLogs / raw TLS", medians["GetJobLogs"] / medians["raw TLS 1.3"], at_least=TARGET)
    return int(judge and not kept)


if __name__ == "__main__":
    sys.exit(main())
