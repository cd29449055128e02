"""
Certificate files before anything is connected.

Runs in: pytest.
"""

import os
from pathlib import Path

import pytest
from certificates import NOW, Authority
from cryptography.hazmat.primitives.asymmetric import rsa
from scripted import write_certificates

from joblet.client.credentials import Credentials
from joblet.client.errors import BadCredentials
from joblet.client.screening import nothing_looks_wrong

TODAY = f"{NOW:%Y%m%d%H%M%S}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certs")
    write_certificates(folder)
    return folder


def files(folder: Path, certificate: str, key: str = "", ca: str = "ca-cert.pem") -> Credentials:
    return Credentials.from_files(
        folder / f"{certificate}-cert.pem", folder / f"{key or certificate}-key.pem", folder / ca
    )


@pytest.mark.parametrize("kind", ["admin", "viewer", "no OU", "two OUs"])
def test_a_good_set_of_files_passes_at_the_first_look(folder: Path, kind: str) -> None:
    """Roles are the server's business."""
    assert files(folder, kind).look_right()


@pytest.mark.parametrize(
    ("certificate", "key", "ca", "words"),
    [
        ("expired", "expired", "ca-cert.pem", "certificate verify failed: certificate has expired"),
        ("not yet valid", "not yet valid", "ca-cert.pem", "certificate verify failed: certificate is not yet valid"),
        ("other CA", "other CA", "ca-cert.pem", "was not signed by the CA"),
        ("server", "server", "ca-cert.pem", "is not a client's certificate"),
        ("admin", "viewer", "ca-cert.pem", "does not belong to the certificate"),
        ("admin", "admin", "admin-key.pem", "holds a private key"),
        ("missing", "admin", "ca-cert.pem", "no such file or directory"),
    ],
)
def test_a_bad_set_of_files_is_refused_in_words(folder: Path, certificate: str, key: str, ca: str, words: str) -> None:
    with pytest.raises(BadCredentials) as caught:
        files(folder, certificate, key, ca)

    assert words in caught.value.message
    assert caught.value.mend


def test_a_pipe_in_place_of_a_file_does_not_block(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe-key.pem")

    with pytest.raises(BadCredentials, match="not a regular file"):
        Credentials.from_files(folder / "admin-cert.pem", tmp_path / "pipe-key.pem", folder / "ca-cert.pem")


def test_all_missing_files_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadCredentials) as caught:
        files(tmp_path, "a")

    assert all(name in str(caught.value) for name in ("a-cert.pem", "a-key.pem", "ca-cert.pem"))


def test_the_key_is_not_shown(folder: Path) -> None:
    """`repr` ends up in tracebacks and bug reports."""
    assert "PRIVATE" not in repr(files(folder, "admin"))


def test_the_environment_names_the_files(folder: Path) -> None:
    environ = {
        "JOBLET_CERT_PATH": str(folder / "viewer-cert.pem"),
        "JOBLET_KEY_PATH": str(folder / "viewer-key.pem"),
        "JOBLET_CA_PATH": str(folder / "ca-cert.pem"),
    }

    assert Credentials.from_environment(environ).certificate_path == environ["JOBLET_CERT_PATH"]


def test_an_rsa_key_is_recognised_too() -> None:
    authority = Authority()
    mine = authority.issue("me", ["admin"], key=rsa.generate_private_key(65537, 2048))
    other = authority.issue("me", ["admin"], key=rsa.generate_private_key(65537, 2048))

    assert nothing_looks_wrong(mine.certificate, mine.key, authority.certificate, TODAY)
    assert not nothing_looks_wrong(mine.certificate, other.key, authority.certificate, TODAY)


def test_an_authority_of_the_same_name_with_another_key_is_noticed() -> None:
    authority, namesake = Authority("CA"), Authority("CA")
    mine = authority.issue("me", ["admin"])

    assert not nothing_looks_wrong(mine.certificate, mine.key, namesake.certificate, TODAY)


def test_no_cut_or_changed_file_breaks_the_first_look(folder: Path) -> None:
    """Whatever it makes of them, it does not raise: the exact check finds the words."""
    good = files(folder, "admin")
    lines = good.certificate.splitlines(keepends=True)

    for number in range(len(lines)):
        damaged = b"".join(lines[:number] + lines[number + 1 :])
        nothing_looks_wrong(damaged, good.key, good.ca, TODAY)
    for size in range(0, len(good.certificate.rstrip()), 7):
        assert not nothing_looks_wrong(good.certificate[:size], good.key, good.ca, TODAY)
