"""`joblet certs`, as an administrator types it."""

import stat
from pathlib import Path

import pytest
from cryptography import x509

from joblet.admin.main import main
from joblet.pki.check import check

TEN = {
    "ca-cert.pem", "ca-key.pem", "server-cert.pem", "server-key.pem",
    "admin-client-cert.pem", "admin-client-key.pem", "viewer-client-cert.pem", "viewer-client-key.pem",
    "client-cert.pem", "client-key.pem",
}  # fmt: skip


@pytest.fixture
def certs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder as `certs init` makes it."""
    folder = tmp_path / "certs"
    assert main(["certs", "init", "--dir", str(folder), "--host", "prod.example.com", "--host", "10.1.2.3"]) == 0
    capsys.readouterr()
    return folder


def subject(path: Path) -> str:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return ", ".join(attribute.rfc4514_string() for attribute in certificate.subject)


def names(path: Path) -> list[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(address) for address in extension.get_values_for_type(x509.IPAddress)]
    return [*extension.get_values_for_type(x509.DNSName), *addresses]


def test_init_writes_the_ten_files_that_others_rely_on(certs: Path) -> None:
    assert {path.name for path in certs.iterdir()} == TEN
    assert {path.name for path in certs.iterdir() if stat.S_IMODE(path.stat().st_mode) == 0o600} == {
        name for name in TEN if name.endswith("key.pem")
    }
    assert (certs / "client-cert.pem").read_bytes() == (certs / "admin-client-cert.pem").read_bytes()
    assert (certs / "client-key.pem").read_bytes() == (certs / "admin-client-key.pem").read_bytes()


def test_init_makes_sets_that_work_and_say_who_may_do_what(certs: Path) -> None:
    for prefix in ("", "admin-", "viewer-"):
        check(certs / f"{prefix}client-cert.pem", certs / f"{prefix}client-key.pem", certs / "ca-cert.pem")

    assert subject(certs / "admin-client-cert.pem") == "CN=admin, OU=admin, O=Joblet"
    assert subject(certs / "viewer-client-cert.pem") == "CN=viewer, OU=viewer, O=Joblet"


def test_init_puts_the_hosts_asked_for_first_and_localhost_always(certs: Path) -> None:
    found = names(certs / "server-cert.pem")

    assert found[0] == "prod.example.com"
    assert {"prod.example.com", "localhost", "10.1.2.3", "127.0.0.1", "::1"} <= set(found)


def test_init_prints_what_it_wrote_and_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["certs", "init", "--dir", str(tmp_path)])

    out, err = capsys.readouterr()
    assert status == 0
    assert {Path(line).name for line in out.splitlines()} == TEN
    assert err.splitlines()[0] == f"next: joblet serve --certs {tmp_path}"


def test_init_never_overwrites_unless_told_to(certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in certs.iterdir()}

    assert main(["certs", "init", "--dir", str(certs)]) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        f"joblet: {certs}/ca-cert.pem exists already; nothing was written"
    )
    assert {path.name: path.read_bytes() for path in certs.iterdir()} == before

    assert main(["certs", "init", "--dir", str(certs), "--force"]) == 0
    after = {path.name: path.read_bytes() for path in certs.iterdir()}
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in TEN)


def test_issue_makes_one_more_client(certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["certs", "issue", "--dir", str(certs), "--name", "alice", "--role", "viewer", "--organisation", "Acme"]

    assert main(arguments) == 0

    certificate, key = certs / "alice-client-cert.pem", certs / "alice-client-key.pem"
    assert capsys.readouterr().out.splitlines() == [str(certificate), str(key)]
    assert subject(certificate) == "CN=alice, OU=viewer, O=Acme"
    check(certificate, key, certs / "ca-cert.pem")
    assert main(arguments) == 1  # it exists by now


def test_issue_writes_where_it_is_told_to(certs: Path, tmp_path: Path) -> None:
    out = tmp_path / "handed" / "out" / "bob"

    assert main(["certs", "issue", "--dir", str(certs), "--name", "b/o b", "--role", "admin", "--out", str(out)]) == 0

    assert subject(tmp_path / "handed" / "out" / "bob-client-cert.pem") == "CN=b/o b, OU=admin, O=Joblet"


def test_issue_renews_the_servers_certificate_under_the_same_authority(certs: Path) -> None:
    before = (certs / "server-cert.pem").read_bytes()
    arguments = ["certs", "issue", "--dir", str(certs), "--role", "server", "--host", "new.example.com"]

    assert main(arguments) == 1
    assert main([*arguments, "--force"]) == 0

    assert (certs / "server-cert.pem").read_bytes() != before
    assert names(certs / "server-cert.pem")[0] == "new.example.com"
    server = x509.load_pem_x509_certificate((certs / "server-cert.pem").read_bytes())
    server.verify_directly_issued_by(x509.load_pem_x509_certificate((certs / "ca-cert.pem").read_bytes()))


@pytest.mark.parametrize(
    ("arguments", "first"),
    [
        (["--role", "admin"], "joblet: a certificate for a admin needs a name"),
        (["--role", "admin", "--name", "../x"], "joblet: '../x' cannot be part of a file's name"),
        (["--role", "admin", "--name", "-x"], None),
        (["--role", "root", "--name", "x"], None),
        (["--role", "admin", "--name", "x", "--host", "h"], "joblet: --host is for servers"),
        (["--role", "server", "--out", "x"], "joblet: --out is for clients"),
        (["--role", "server", "--host", "h:1"], "joblet: 'h:1' is not a host name or an address"),
        (["--role", "admin", "--name", "x", "--days", "0"], "joblet: a certificate cannot be valid for 0 days"),
    ],
)
def test_issue_refuses_what_it_cannot_do(
    certs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], first: str | None
) -> None:
    before = {path.name for path in certs.iterdir()}

    status = main(["certs", "issue", "--dir", str(certs), *arguments])

    err = capsys.readouterr().err
    assert status == (2 if first is None else 1)
    assert first is None or err.splitlines()[0] == first
    assert {path.name for path in certs.iterdir()} == before


def test_show_describes_every_certificate_of_a_folder(certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["certs", "show", str(certs)])

    out = capsys.readouterr().out
    assert status == 0
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        str(certs / name) for name in sorted(name for name in TEN if not name.endswith("key.pem"))
    ]
    roles = [line.split(":", 1)[1].strip() for line in out.splitlines() if line.startswith("  Role:")]
    assert roles == ["admin", "certificate authority", "admin", "server", "viewer"]
    assert "  Subject: CN=viewer, OU=viewer, O=Joblet\n" in out
    assert " (364 days left)\n" in out
    assert "  Names:   prod.example.com, " in out
    assert out.count("  SHA-256: ") == 5


def test_show_fails_when_a_certificate_has_expired(
    certs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made by the clock of two days ago, through the same functions."""
    import dataclasses
    import datetime

    from joblet.pki.issue import load_authority

    now = datetime.datetime.now(datetime.UTC)
    authority = load_authority((certs / "ca-cert.pem").read_bytes(), (certs / "ca-key.pem").read_bytes(), now)
    old = dataclasses.replace(authority, now=now - datetime.timedelta(days=4))
    path = tmp_path / "old.pem"
    path.write_bytes(old.issue_client("alice", "admin", "Acme", 1).certificate)

    status = main(["certs", "show", str(path)])

    assert status == 1
    assert "(EXPIRED 3 days ago)" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_show_fails_on_what_is_no_certificate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "x.pem"
    path.write_bytes(content)

    assert main(["certs", "show", str(path)]) == 1
    assert capsys.readouterr().out == f"{path}\n  is not a certificate in PEM, or a damaged one\n"


def test_show_of_an_empty_folder_says_how_to_fill_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "show", str(tmp_path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"joblet: there is no certificate in {tmp_path}",
        f"        joblet certs init --dir {tmp_path} makes a set",
    ]


def test_show_of_nothing_tells_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["certs", "show", str(tmp_path / "no.pem")]) == 1
    assert capsys.readouterr().err == f"joblet: cannot read {tmp_path}/no.pem: no such file or directory\n"
