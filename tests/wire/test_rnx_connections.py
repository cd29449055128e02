"""
What `rnx` says when there is no connection: whatever listens there, whatever the certificates are.

Runs in: pytest, over real TLS on loopback.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import Authority
from rnx_process import environment, run
from scripted import Scripted, serving, write_certificates

from joblet.rnx.main import execute

Captured = pytest.CaptureFixture[bytes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    write_certificates(folder)
    return folder


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does this with every connection; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    answer(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"localhost:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def listed(address: str, folder: Path, capture: Captured, monkeypatch: pytest.MonkeyPatch, kind: str = "admin") -> str:
    """What `rnx list` prints when it fails."""
    for name, value in environment(address, folder, kind).items():
        monkeypatch.setenv(name, value)

    assert execute(["list"]) == 1

    captured = capture.readouterr()
    assert captured.out == b""
    return captured.err.decode()


def closes(connection: socket.socket) -> None:
    """Hang up at once."""


def talks_http(connection: socket.socket) -> None:
    connection.recv(64)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def talks_rubbish(connection: socket.socket) -> None:
    connection.sendall(bytes(range(256)) * 100)


def talks_tls(folder: Path, alpn: list[str]) -> Callable[[socket.socket], None]:
    """TLS with the right certificate, and then anything but HTTP/2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server-cert.pem", folder / "server-key.pem")
    context.set_alpn_protocols(alpn)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.sendall(b"\x00\xff rubbish " * 1000)
            secure.recv(1)

    return answer


@pytest.mark.parametrize("answer", [talks_http, talks_rubbish, closes], ids=lambda answer: answer.__name__)
def test_what_is_not_a_joblet_server_is_called_so(
    answer: Callable[[socket.socket], None], folder: Path, capsysbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(answer) as address:
        printed = listed(address, folder, capsysbinary, monkeypatch)

    assert printed.startswith(f"Error: cannot connect to {address}: what answers there is not a Joblet server\n")


@pytest.mark.parametrize("alpn", [[], ["h2"]])
def test_a_tls_server_of_another_kind_is_called_so(
    alpn: list[str], folder: Path, capsysbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(talks_tls(folder, alpn)) as address:
        printed = listed(address, folder, capsysbinary, monkeypatch)

    assert printed.startswith(f"Error: cannot connect to {address}: what answers there is not a Joblet server\n")


def test_a_server_that_is_not_there(folder: Path, capsysbinary: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        printed = listed(address, folder, capsysbinary, monkeypatch)

    assert printed.startswith(f"Error: cannot connect to {address}: connection refused\n")
    assert "joblet serve" in printed


def test_a_name_that_does_not_exist(folder: Path, capsysbinary: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = listed("no-such-host.invalid:50051", folder, capsysbinary, monkeypatch)

    assert "cannot connect to no-such-host.invalid:50051: its name cannot be resolved" in printed


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("expired", "Error: certificate verify failed: certificate has expired"),
        ("not yet valid", "Error: certificate verify failed: certificate is not yet valid"),
        ("other CA", "was not signed by the CA"),
    ],
)
def test_a_certificate_that_cannot_work_is_refused_before_connecting(
    kind: str, words: str, folder: Path, capsysbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server is there to be asked."""
    printed = listed("127.0.0.1:1", folder, capsysbinary, monkeypatch, kind)

    assert words in printed
    assert "connect" not in printed


def test_a_server_of_another_authority(
    folder: Path, tmp_path: Path, capsysbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificates(tmp_path)

    with serving(Scripted(), tmp_path) as address:
        printed = listed(address, folder, capsysbinary, monkeypatch)

    assert "certificate verify failed: the server's certificate is not from the authority in" in printed
    assert "--ca" in printed


def test_a_server_that_trusts_another_authority_ends_the_handshake_without_a_word(
    folder: Path, tmp_path: Path, capsysbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our files are in order, its certificate is ours, and yet it hangs up: all that is left are the likely causes."""
    for name in ("server-cert.pem", "server-key.pem"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "ca-cert.pem").write_bytes(Authority("another").certificate)

    with serving(Scripted(), tmp_path) as address:
        printed = listed(address, folder, capsysbinary, monkeypatch)

    assert "the server closed the connection during the TLS handshake" in printed
    assert "the server trusts another authority than" in printed


def test_a_server_whose_certificate_is_for_another_name(
    folder: Path, capsysbinary: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds localhost and 127.0.0.1."""
    with serving(Scripted(), folder) as address, socket.create_server(("127.0.0.2", 0)) as other:
        port = int(address.rpartition(":")[2])
        threading.Thread(target=_forward_one, args=(other, port), daemon=True).start()
        there = f"127.0.0.2:{other.getsockname()[1]}"
        printed = listed(there, folder, capsysbinary, monkeypatch)

    assert printed.startswith(f"Error: cannot connect to {there}: the server's certificate is for another name\n")


def _forward_one(listener: socket.socket, port: int) -> None:
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        _pump(client, server)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("kind", ["nothing", "rubbish"])
def test_grpcs_own_words_never_reach_the_terminal(kind: str, folder: Path) -> None:
    """Not the lines its core writes to stderr either."""
    with listening(closes if kind == "nothing" else talks_rubbish) as address:
        done = run("list", environ=environment(address, folder))

    assert done.returncode == 1
    assert done.stdout == b""
    assert [line[:2] for line in done.stderr.decode().splitlines()] == ["Er", "  "]
