"""Why a set of certificate files is refused: one test a reason, exact words, real certificates."""

import dataclasses
import datetime
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from joblet.pki import check
from joblet.pki.check import FilesUnusable, Trouble
from joblet.pki.issue import Authority, Issued, new_authority

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("Acme", 3650, NOW - 100 * DAY)


@dataclasses.dataclass(frozen=True)
class Set:
    """Three files."""

    folder: Path

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        return self.folder / "client-cert.pem", self.folder / "client-key.pem", self.folder / "ca-cert.pem"


@pytest.fixture
def good(tmp_path: Path, authority: Authority) -> Set:
    found = Set(tmp_path)
    put(found, issue(authority), authority.as_pem.certificate)
    return found


def issue(authority: Authority, starts: datetime.datetime = NOW, days: int = 1) -> Issued:
    return dataclasses.replace(authority, now=starts).issue_client("alice", "admin", "Acme", days)


def put(files: Set, issued: Issued, ca: bytes | None = None) -> None:
    certificate, key, authority = files.paths
    certificate.write_bytes(issued.certificate)
    key.write_bytes(issued.key)
    key.chmod(0o600)
    if ca is not None:
        authority.write_bytes(ca)


def refusal(files: Set) -> FilesUnusable:
    with pytest.raises(FilesUnusable) as refused:
        check.check(*files.paths)
    return refused.value


def troubles(error: FilesUnusable) -> list[Trouble]:
    return [problem.trouble for problem in error.problems]


def test_a_good_set_is_read_without_a_word(good: Set) -> None:
    found = check.check(*good.paths)

    assert (found.certificate, found.key, found.ca) == tuple(path.read_bytes() for path in good.paths)
    assert found.warnings == ()


def test_a_good_set_needs_no_cryptography(good: Set) -> None:
    """Its import takes as long as a whole call of `rnx`; only the explanation of a failure may cost that."""
    words = [str(path) for path in good.paths]
    code = (
        "import sys; from pathlib import Path; from joblet.pki.check import check;"
        f" check(*map(Path, {words!r})); sys.exit('cryptography' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("index", "what", "flag"),
    [(0, "client certificate", "--cert"), (1, "client key", "--key"), (2, "CA certificate", "--ca")],
)
def test_a_missing_file_is_named_with_the_flag_that_names_another(good: Set, index: int, what: str, flag: str) -> None:
    path = good.paths[index]
    path.unlink()

    error = refusal(good)

    assert troubles(error) == [Trouble.MISSING]
    assert error.what == f"cannot read the {what} {path}: no such file or directory"
    assert error.mend == f"pass {flag} with a file of yours, or ask the administrator for one (joblet certs issue)"


def test_a_relative_path_tells_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(FilesUnusable) as refused:
        check.check(Path("c.pem"), Path("k.pem"), Path("ca.pem"))

    assert troubles(refused.value) == [Trouble.MISSING] * 3
    assert refused.value.problems[0].mend.endswith(f" (looked for in {tmp_path})")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, and root reads everything")
def test_a_file_of_somebody_elses_is_told_with_its_owner(authority: Authority) -> None:
    code = (
        "import os, pwd, sys; from pathlib import Path; from joblet.pki.check import check, FilesUnusable\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: check(*map(Path, sys.argv[1:]))\n"
        "except FilesUnusable as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        files = Set(Path(folder))
        files.folder.chmod(0o755)
        put(files, issue(authority), authority.as_pem.certificate)
        command = [sys.executable, "-c", code, *map(str, files.paths)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.splitlines() == [
        f"cannot read the client key {files.paths[1]}: permission denied",
        "it belongs to root: pass --key with a file of yours, or ask the administrator for one (joblet certs issue)",
    ], done.stderr


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_folder_or_pipe_is_not_taken_for_a_file(good: Set, index: int) -> None:
    """Opening a pipe that nobody writes to must not wait for ever."""
    path = good.paths[index]
    path.unlink()
    os.mkfifo(path)

    error = refusal(good)

    assert troubles(error) == [Trouble.UNREADABLE]
    assert error.what.endswith(f"{path}: it is not a regular file")


@pytest.mark.parametrize(
    ("index", "content", "reason"),
    [
        (0, b"", "it is empty"),
        (0, b"hello", "it has no BEGIN CERTIFICATE line"),
        (0, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "what it holds is damaged"),
        (0, b"-----BEGIN CERTIFICATE-----\n", "what it holds is damaged"),
        (1, b"", "it is empty"),
        (1, b"hello", "it has no BEGIN PRIVATE KEY line"),
        (1, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "what it holds is damaged"),
        (2, b"\xff\xfe\0", "it has no BEGIN CERTIFICATE line"),
        (2, b"x" * (check.MAX_BYTES + 1), f"it is larger than {check.MAX_BYTES} bytes"),
    ],
)
def test_a_file_that_holds_something_else_is_told_how(good: Set, index: int, content: bytes, reason: str) -> None:
    path = good.paths[index]
    path.write_bytes(content)

    error = refusal(good)

    assert troubles(error) == [Trouble.NOT_PEM]
    what = ("client certificate", "client key", "CA certificate")[index]
    assert error.what == f"cannot use {path} as the {what}: {reason}"


def test_swapped_flags_are_recognized(good: Set) -> None:
    certificate, key, ca = good.paths

    with pytest.raises(FilesUnusable) as refused:
        check.check(key, certificate, ca)

    assert [problem.what for problem in refused.value.problems] == [
        f"cannot use {key} as the client certificate: it holds a private key (are two flags swapped?)",
        f"cannot use {certificate} as the client key: it holds a certificate (are two flags swapped?)",
    ]


def test_an_expired_certificate_is_refused_in_the_specifications_words(good: Set, authority: Authority) -> None:
    """Source: API specification, "Authentication Errors"."""
    put(good, issue(authority, NOW - 3 * DAY))

    error = refusal(good)

    assert troubles(error) == [Trouble.EXPIRED]
    ended = NOW - 2 * DAY
    assert error.what == (
        f"certificate verify failed: certificate has expired ({good.paths[0]}, on {ended:%Y-%m-%dT%H:%M:%SZ})"
    )
    assert error.mend == "ask the administrator for a new one (joblet certs issue)"


def test_a_certificate_of_tomorrow_points_to_the_clock(good: Set, authority: Authority) -> None:
    put(good, issue(authority, NOW + DAY))

    error = refusal(good)

    assert troubles(error) == [Trouble.NOT_YET_VALID]
    begins = NOW + DAY - datetime.timedelta(minutes=1)
    assert error.what == (
        f"certificate verify failed: certificate is not yet valid ({good.paths[0]}, before {begins:%Y-%m-%dT%H:%M:%SZ})"
    )
    assert error.mend.startswith("check this machine's clock (it shows 20")


def test_an_expired_authority_is_refused_too(good: Set) -> None:
    old = new_authority("Acme", 1, NOW - 5 * DAY)
    put(good, issue(old, NOW - 5 * DAY), old.as_pem.certificate)

    error = refusal(good)

    assert troubles(error) == [Trouble.EXPIRED, Trouble.EXPIRED]
    assert str(good.paths[2]) in error.problems[1].what


def test_a_key_of_another_certificate_is_refused(good: Set, authority: Authority) -> None:
    certificate, key, _ = good.paths
    key.write_bytes(issue(authority).key)

    error = refusal(good)

    assert troubles(error) == [Trouble.KEY_MISMATCH]
    assert error.what == f"the key {key} does not belong to the certificate {certificate}"


@pytest.mark.parametrize("same_name", [False, True])
def test_a_certificate_of_another_authority_is_refused_with_both_names(
    good: Set, authority: Authority, same_name: bool
) -> None:
    """A forger may give its authority our name: the signature decides."""
    other = new_authority("Acme", 10, NOW)
    put(good, issue(other))
    if same_name:
        renamed = dataclasses.replace(authority, key=other.key)  # signs in our CA's name with its own key
        put(good, issue(renamed))

    error = refusal(good)

    assert troubles(error) == [Trouble.OTHER_AUTHORITY]
    certificate, _, ca = good.paths
    assert error.what == f"certificate verify failed: {certificate} was not signed by the CA in {ca}"
    assert "CN=Joblet CA " in error.mend


def test_a_servers_certificate_does_not_let_a_client_in(good: Set, authority: Authority) -> None:
    put(good, dataclasses.replace(authority, now=NOW).issue_server(["localhost"], "Acme", 1))

    error = refusal(good)

    assert troubles(error) == [Trouble.WRONG_PURPOSE]
    assert error.what == (
        f"certificate verify failed: {good.paths[0]} is not a client's certificate (it is CN=localhost, O=Acme)"
    )


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(good: Set) -> None:
    key = good.paths[1]
    private = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))

    error = refusal(good)

    assert troubles(error) == [Trouble.ENCRYPTED]
    assert error.what == f"cannot use {key} as the client key: it is protected by a passphrase"


def test_an_authority_file_with_several_certificates_will_do(good: Set, authority: Authority) -> None:
    """While an authority is replaced, clients trust the old one and the new one."""
    ca = good.paths[2]
    ca.write_bytes(new_authority("Acme", 1, NOW).as_pem.certificate + authority.as_pem.certificate)

    check.check(*good.paths)


def test_several_problems_are_told_at_once(good: Set, authority: Authority) -> None:
    other = new_authority("Acme", 10, NOW - 5 * DAY)
    put(good, issue(other, NOW - 5 * DAY))
    good.paths[1].write_bytes(issue(authority).key)

    assert troubles(refusal(good)) == [Trouble.EXPIRED, Trouble.KEY_MISMATCH, Trouble.OTHER_AUTHORITY]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_can_read_works_with_a_warning(good: Set, mode: int) -> None:
    key = good.paths[1]
    key.chmod(mode)

    found = check.check(*good.paths)

    assert found.warnings == (f"the key {key} can be read by others (mode {mode:04o}): chmod 600 {key}",)


def test_a_server_set_is_checked_in_the_words_of_a_server(good: Set, authority: Authority) -> None:
    put(good, dataclasses.replace(authority, now=NOW).issue_server(["localhost"], "Acme", 1))

    assert check.check(*good.paths, check.SERVER).warnings == ()

    put(good, issue(authority))
    with pytest.raises(FilesUnusable, match="is not a server's certificate"):
        check.check(*good.paths, check.SERVER)


@pytest.mark.parametrize("trouble", list(Trouble))
def test_every_trouble_is_met_in_this_file(trouble: Trouble) -> None:
    """A new reason for a refusal gets its test."""
    assert re.search(rf"== \[Trouble\.{trouble.name}\b", Path(__file__).read_text())
