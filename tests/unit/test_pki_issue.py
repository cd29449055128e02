"""Certificates as issued: accepted by OpenSSL both ways, with the names asked for, in files whole or not at all."""

import contextlib
import datetime
import ipaddress
import os
import resource
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from joblet.complaint import Complaint
from joblet.pki import files, hosts
from joblet.pki.issue import Authority, Issued, load_authority, new_authority

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("Acme", 3650, NOW)


def loaded(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate)


def put(folder: Path, name: str, issued: Issued) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(issued.certificate)
    key.write_bytes(issued.key)
    return certificate, key


def test_a_client_is_known_by_name_role_and_organisation_in_this_order(authority: Authority) -> None:
    """Source: API specification, "Certificate Requirements": CN=<client-name>, OU=<role>, O=<organization>."""
    subject = loaded(authority.issue_client("alice", "viewer", "Acme", 30)).subject

    assert [attribute.rfc4514_string() for attribute in subject] == ["CN=alice", "OU=viewer", "O=Acme"]


def test_keys_are_p256_and_every_certificate_its_own(authority: Authority) -> None:
    issued = [authority.as_pem, *(authority.issue_client("a", "admin", "Acme", 30) for _ in range(2))]

    certificates = [loaded(each) for each in issued]

    for certificate in certificates:
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"
        assert certificate.signature_hash_algorithm is not None
        assert certificate.signature_hash_algorithm.name == "sha256"
    assert len({certificate.serial_number for certificate in certificates}) == 3
    assert len({each.key for each in issued}) == 3


def test_a_certificate_is_valid_from_a_minute_ago_to_the_day_asked_for(authority: Authority) -> None:
    certificate = loaded(authority.issue_client("alice", "admin", "Acme", 30))

    assert certificate.not_valid_before_utc == NOW - datetime.timedelta(minutes=1)
    assert certificate.not_valid_after_utc == NOW + datetime.timedelta(days=30)


def test_a_certificate_never_outlives_its_authority(authority: Authority) -> None:
    certificate = loaded(authority.issue_client("alice", "admin", "Acme", 10_000))

    assert certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_an_authority_signs_and_does_nothing_else(authority: Authority) -> None:
    extensions = authority.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)

    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [("client", ExtendedKeyUsageOID.CLIENT_AUTH), ("server", ExtendedKeyUsageOID.SERVER_AUTH)],
)
def test_a_certificate_is_good_for_one_side_only(
    authority: Authority, kind: str, wanted: x509.ObjectIdentifier
) -> None:
    issued = (
        authority.issue_client("alice", "admin", "Acme", 30)
        if kind == "client"
        else authority.issue_server(["localhost"], "Acme", 30)
    )

    extensions = loaded(issued).extensions

    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [wanted]
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca) == (True, False)
    issuer_key = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    authority_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert issuer_key == authority_key


def test_two_authorities_never_have_the_same_name() -> None:
    """Else a client of the older one is refused with words that name its own CA."""
    assert new_authority("Acme", 1, NOW).certificate.subject != new_authority("Acme", 1, NOW).certificate.subject


@contextlib.contextmanager
def tls(folder: Path, authority: Authority, server: Issued, client: Issued, host: str) -> Iterator[ssl.SSLObject]:
    """Both ends of a connection in memory, each demanding the other's certificate."""
    ca = authority.as_pem.certificate.decode()
    contexts = []
    for protocol, issued in ((ssl.PROTOCOL_TLS_SERVER, server), (ssl.PROTOCOL_TLS_CLIENT, client)):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=ca)
        context.load_cert_chain(*put(folder, protocol.name, issued))
        contexts.append(context)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = contexts[1].wrap_bio(back, there, server_hostname=host)
    far = contexts[0].wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for end in (near, far):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    yield far


@pytest.mark.parametrize("host", ["prod.example.com", "10.1.2.3", "::1"])
def test_client_and_server_accept_each_other_over_tls_1_3(tmp_path: Path, authority: Authority, host: str) -> None:
    names = [hosts.parse(name) for name in ("prod.example.com", "10.1.2.3", "::1")]
    server = authority.issue_server(names, "Acme", 30)
    client = authority.issue_client("alice", "admin", "Acme", 30)

    with tls(tmp_path, authority, server, client, host) as far:
        assert far.version() == "TLSv1.3"
        peer = far.getpeercert()

    assert peer is not None
    assert peer["subject"] == (
        (("commonName", "alice"),),
        (("organizationalUnitName", "admin"),),
        (("organizationName", "Acme"),),
    )


def test_a_server_is_refused_under_a_name_it_was_not_issued_for(tmp_path: Path, authority: Authority) -> None:
    server, client = authority.issue_server(["a.example.com"], "Acme", 1), authority.issue_client("a", "admin", "A", 1)

    with (
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
        tls(tmp_path, authority, server, client, "b.example.com"),
    ):
        pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program here")
def test_the_openssl_program_verifies_what_was_issued(tmp_path: Path, authority: Authority) -> None:
    ca, _ = put(tmp_path, "ca", authority.as_pem)
    server, _ = put(tmp_path, "server", authority.issue_server(["localhost"], "Acme", 30))
    client, _ = put(tmp_path, "client", authority.issue_client("alice", "admin", "Acme", 30))

    for purpose, certificate in (("sslserver", server), ("sslclient", client)):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", str(ca), str(certificate)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.stdout == f"{certificate}: OK\n", done.stderr


@pytest.mark.parametrize(
    ("name", "role", "organisation", "days", "complaint"),
    [
        ("", "admin", "Acme", 1, "'' cannot be the name in a certificate"),
        (" ", "admin", "Acme", 1, "' ' cannot be the name in a certificate"),
        ("a" * 65, "admin", "Acme", 1, f"'{'a' * 65}' cannot be the name in a certificate"),
        ("a\nb", "admin", "Acme", 1, "'a\\nb' cannot be the name in a certificate"),
        ("a", "Admin", "Acme", 1, "'Admin' is not a role"),
        ("a", "admin", "", 1, "'' cannot be the organisation in a certificate"),
        ("a", "admin", "Acme", 0, "a certificate cannot be valid for 0 days"),
        ("a", "admin", "Acme", 36_501, "a certificate cannot be valid for 36501 days"),
    ],
)
def test_what_cannot_stand_in_a_certificate_is_refused(
    authority: Authority, name: str, role: str, organisation: str, days: int, complaint: str
) -> None:
    with pytest.raises(Complaint) as refused:
        authority.issue_client(name, role, organisation, days)

    assert refused.value.what == complaint


def test_an_authority_can_be_loaded_from_its_files_and_goes_on_signing(authority: Authority) -> None:
    again = load_authority(authority.as_pem.certificate, authority.as_pem.key, NOW)

    issued = loaded(again.issue_client("alice", "admin", "Acme", 1))

    issued.verify_directly_issued_by(authority.certificate)


def test_an_authority_that_cannot_sign_is_refused_with_the_reason(authority: Authority) -> None:
    pem, other = authority.as_pem, new_authority("Acme", 1, NOW).as_pem
    late = NOW + datetime.timedelta(days=3651)
    expected = f"the certificate has expired (on {NOW + datetime.timedelta(days=3650):%Y-%m-%d})"

    for certificate, key, now, why in (
        (b"", pem.key, NOW, "the certificate is not PEM"),
        (pem.certificate, b"x", NOW, "the key is not an unencrypted PEM key"),
        (pem.certificate, other.key, NOW, "the key does not belong to the certificate"),
        (pem.certificate, pem.key, late, expected),
    ):
        with pytest.raises(ValueError, match="the") as refused:
            load_authority(certificate, key, now)
        assert str(refused.value) == why


# Names and addresses


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("prod.example.com", "prod.example.com"),
        ("PROD.example.com.", "prod.example.com"),
        ("*.example.com", "*.example.com"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("build_01", "build_01"),
        ("192.0.2.7", ipaddress.ip_address("192.0.2.7")),
        ("[2001:db8::1]", ipaddress.ip_address("2001:db8::1")),
    ],
)
def test_a_host_is_a_name_or_an_address(given: str, host: hosts.Host) -> None:
    assert hosts.parse(given) == host


@pytest.mark.parametrize("given", ["", "a b", "-a", "a..b", "a" * 64, "1.2.3", "256.1.1.1", "a,b", "*", "a.*.b"])
def test_what_is_no_host_is_refused(given: str) -> None:
    with pytest.raises(Complaint, match="is not a host name or an address"):
        hosts.parse(given)


@pytest.mark.parametrize("given", ["prod.example.com:50051", "https://prod.example.com"])
def test_a_host_with_a_port_or_scheme_is_told_apart(given: str) -> None:
    with pytest.raises(Complaint) as refused:
        hosts.parse(given)

    assert refused.value.mend == "give the host alone, without a port or a scheme: prod.example.com"


def test_the_machines_own_names_are_found_in_files(tmp_path: Path) -> None:
    """No resolver is asked: what the kernel and /etc/hosts know must do."""
    me = socket.gethostname()
    (tmp_path / "hosts").write_text(f"# c\n127.0.1.1 full.example.org {me} # me\n10.0.0.1 other\n\n")
    (tmp_path / "fib_trie").write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.2\n        /32 host LOCAL\n"
        "     |-- 192.0.2.255\n        /32 link BROADCAST\n     |-- 10.9.8.7\n        /32 host LOCAL\n"
    )
    (tmp_path / "if_inet6").write_text(
        "fe800000000000000000000000000001 02 40 20 80     eth0\n20010db8000000000000000000000001 02 40 00 80     eth0\n"
    )

    found = [str(host) for host in hosts.of_this_machine(tmp_path, tmp_path)]

    addresses = ["127.0.0.1", "::1", "192.0.2.2", "10.9.8.7", "2001:db8::1"]
    assert found[1:] == ["full.example.org", me.lower(), "localhost", *addresses]


def test_a_machine_that_tells_nothing_still_is_localhost(tmp_path: Path) -> None:
    found = [str(host) for host in hosts.of_this_machine(tmp_path, tmp_path)]

    assert found[-3:] == ["localhost", "127.0.0.1", "::1"]


def test_doubles_are_dropped_and_the_number_is_bounded() -> None:
    many = [f"h{number}.example" for number in range(500)]

    assert hosts.without_doubles(["a", "b", "a"]) == ["a", "b"]
    assert len(hosts.without_doubles(many)) == hosts.MOST_HOSTS


# Files


def contents(folder: Path) -> dict[Path, bytes]:
    names = ("ca-cert.pem", "ca-key.pem", "server-cert.pem", "server-key.pem")
    return {folder / name: name.encode() * 100 for name in names}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_keys_are_for_their_owner_alone_and_nothing_temporary_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "certs"

    files.write_all(contents(folder), replace=False)

    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {
        "ca-cert.pem": "0o644",
        "ca-key.pem": "0o600",
        "server-cert.pem": "0o644",
        "server-key.pem": "0o600",
    }


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_umask_changes_nothing(tmp_path: Path, umask: int) -> None:
    """Clients must be able to read the CA, and nobody else a key."""
    before = os.umask(umask)
    try:
        files.write_all(contents(tmp_path), replace=False)
    finally:
        os.umask(before)

    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("ca-cert.pem", "ca-key.pem")] == [0o644, 0o600]


@pytest.mark.parametrize("name", ["ca-cert.pem", "server-key.pem"])
def test_a_file_that_exists_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")

    with pytest.raises(Complaint) as refused:
        files.write_all(contents(tmp_path), replace=False)

    assert refused.value.what == f"{tmp_path / name} exists already; nothing was written"
    assert snapshot(tmp_path) == {name: b"mine"}


def test_a_dangling_link_counts_as_a_file_that_exists(tmp_path: Path) -> None:
    (tmp_path / "ca-key.pem").symlink_to(tmp_path / "nowhere")

    with pytest.raises(Complaint, match=r"ca-key\.pem exists already"):
        files.write_all(contents(tmp_path), replace=False)

    assert not (tmp_path / "nowhere").exists()


def test_files_are_replaced_when_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "ca-key.pem").write_text("old")
    (tmp_path / "ca-key.pem").chmod(0o644)
    (tmp_path / "unrelated").write_text("mine")

    files.write_all(contents(tmp_path), replace=True)

    assert snapshot(tmp_path) == {path.name: data for path, data in contents(tmp_path).items()} | {"unrelated": b"mine"}
    assert (tmp_path / "ca-key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("others_exist", [True, False])
@pytest.mark.parametrize("broken", ["ca-cert.pem", "ca-key.pem", "server-cert.pem", "server-key.pem"])
def test_a_failure_at_any_file_leaves_every_file_as_it_was(tmp_path: Path, broken: str, others_exist: bool) -> None:
    """A folder in a file's place is a failure that root meets too."""
    for path in contents(tmp_path):
        if path.name == broken:
            path.mkdir()
        elif others_exist:
            path.write_text(f"old {path.name}")
    before = sorted(path.name for path in tmp_path.iterdir()), snapshot(tmp_path)

    with pytest.raises(Complaint, match=r"cannot write .*: operation not permitted"):
        files.write_all(contents(tmp_path), replace=True)

    assert (sorted(path.name for path in tmp_path.iterdir()), snapshot(tmp_path)) == before


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: write(2) fails the same way."""
    folder = tmp_path / "a" / "certs"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1050, hard))  # the first two fit
    try:
        with pytest.raises(Complaint, match=r"cannot write .*: file too large"):
            files.write_all(contents(folder), replace=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []
