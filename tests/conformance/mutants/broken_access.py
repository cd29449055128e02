"""
Servers that let in whom they should not, or shut out whom they should let in.

Runs in: tests.
"""

import asyncio
import contextlib
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from broken_server import Broken, Go, Peer, Refusal, Write
from certificates import Authority, Credentials
from cryptography import x509
from grpc import StatusCode

from joblet.wire import joblet_pb2 as pb


def unit_of(peer: Peer) -> str:
    """The OU of a caller; empty for none, and without a certificate."""
    for pem in peer.get("x509_pem_cert", ()):
        units = x509.load_pem_x509_certificate(pem).subject.get_attributes_for_oid(
            x509.NameOID.ORGANIZATIONAL_UNIT_NAME
        )
        return str(units[0].value) if units else ""
    return ""


class _LetsIn(Broken, caught_by=""):
    """Takes some callers for admins; which, a subclass says."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        """Whether this caller is taken for an admin."""
        return False

    def peer(self, call: str, path: str, peer: Peer) -> Peer:
        if not self.lets_in(call, path, unit_of(peer)):
            return peer
        return {**peer, "x509_pem_cert": (self.admin.certificate,)}


class ViewersStop(_LetsIn, caught_by="roles.viewer-cannot-stop"):
    """A viewer may stop jobs."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return call == "StopJob" and unit == "viewer"


class ViewersStopTheirOwn(ViewersStop, caught_by="roles.viewer-stop-job"):
    """A viewer may stop jobs, as one who is only asked for the refusal sees."""


class ViewersRunWorkflows(_LetsIn, caught_by="roles.viewer-run-workflow"):
    """A viewer may run workflows, which nobody thought of."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return call == "RunWorkflow" and unit == "viewer"


class OneServiceIsOpen(_LetsIn, caught_by="roles.job-service"):
    """JobService asks for no role."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return path.startswith("/joblet.JobService/") and unit == "viewer"


class CapitalsAreFine(_LetsIn, caught_by="certificates.capitals"):
    """OU=ADMIN is an admin."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return unit == "ADMIN"


class UnknownRolesAreFine(_LetsIn, caught_by="certificates.unknown-role"):
    """Every OU but viewer is an admin."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return unit not in ("", "viewer")


class NoRoleIsFine(_LetsIn, caught_by="certificates.role-less"):
    """A certificate without an OU is an admin's."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return not unit


class OneCallForgotten(_LetsIn, caught_by="roles.every-call"):
    """One call of one service stands in no table of roles."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return path == "/joblet.JobService/ListWorkflows"


class OneCallLooksFirst(_LetsIn, caught_by="roles.every-call"):
    """One call looks at the request, and refuses it, before it asks who calls."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return path == "/joblet.JobService/RunWorkflow"


class ViewersRunJobs(_LetsIn, caught_by="roles.viewer-run-job"):
    """A viewer may run jobs."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return call == "RunJob" and unit == "viewer"


class ViewersJobsAreMade(Broken, caught_by="roles.viewer-runs-nothing"):
    """A viewer's job is refused when it has already been made."""

    def peer(self, call: str, path: str, peer: Peer) -> Peer:
        self._viewer = call == "RunJob" and unit_of(peer) == "viewer"
        return {**peer, "x509_pem_cert": (self.admin.certificate,)} if self._viewer else peer

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        viewer = call == "RunJob" and self._viewer
        answer = await go(request)
        if viewer:
            raise Refusal(StatusCode.PERMISSION_DENIED, "role viewer is not allowed to perform operation run_job")
        return answer


class LooksUpFirst(Broken, caught_by="roles.refused-before-looked-up"):
    """Whether there is the job is told before whether the caller may know."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopJob" and not self.joblet.store.matching(request.id, 1):
            raise Refusal(StatusCode.NOT_FOUND, f"job not found: {request.id}")
        return await go(request)


class ViewersReadNoLogs(Broken, caught_by="roles.viewer-reads"):
    """Logs are for admins."""

    def peer(self, call: str, path: str, peer: Peer) -> Peer:
        self._viewer = unit_of(peer) == "viewer"
        return peer

    async def log(self, request: pb.GetJobLogsReq, go: Any, write: Write) -> None:
        if self._viewer:
            raise Refusal(StatusCode.PERMISSION_DENIED, "role viewer is not allowed to perform operation get_job_logs")
        await go(request, write)


class AdminsMayNotStop(Broken, caught_by="roles.admin"):
    """A stop is for somebody higher than an admin."""

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if call == "StopJob":
            raise Refusal(StatusCode.PERMISSION_DENIED, "role admin is not allowed to perform operation stop_job")
        return await go(request)


class _Unverified(_LetsIn, caught_by=""):
    """Verifies nobody, and takes everybody for an admin: what each of those would see who must be shut out."""

    def credentials(self, authority: Authority, server: Credentials) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials([(server.key, server.certificate)])

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return True


class NeedsNoCertificate(_Unverified, caught_by="certificates.none"):
    """A client without a certificate is an admin."""


class VerifiesNothing(_Unverified, caught_by="certificates.foreign"):
    """One whose certificate is of another CA is let in, as everybody is."""


class IgnoresTheEnd(_Unverified, caught_by="certificates.expired"):
    """One whose certificate has expired is let in, as everybody is."""


class IgnoresTheBeginning(_Unverified, caught_by="certificates.not-yet-valid"):
    """One whose certificate is not valid yet is let in, as everybody is."""


class GreetsAnybody(_Unverified, caught_by="tls.none-not-greeted"):
    """A client without a certificate gets as far as HTTP/2."""


class GreetsForeigners(_Unverified, caught_by="tls.foreign-not-greeted"):
    """A client of another CA gets as far as HTTP/2."""


class _Greets(Broken, caught_by=""):
    """Just enough of a server to say a word of HTTP/2, over another TLS than ours can be made to speak."""

    version: ssl.TLSVersion | None = None

    @contextlib.asynccontextmanager
    async def serving(self, authority: Authority) -> AsyncIterator[int]:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(24)
            writer.write(b"\0\0\0\4\0\0\0\0\0")
            writer.close()

        context = _context(authority, self.version) if self.version else None
        async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context) as server:
            yield server.sockets[0].getsockname()[1]


def _context(authority: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")  # else nothing older than TLS 1.2
    server = authority.issue("server", for_server=True)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "server.pem"
        pem.write_bytes(server.certificate + server.key)
        context.load_cert_chain(pem)
    context.set_alpn_protocols(["h2"])
    return context


class IsGone(Broken, caught_by="certificates.expired"):
    """Nobody is there any more, so nobody is let in either."""

    @contextlib.asynccontextmanager
    async def serving(self, authority: Authority) -> AsyncIterator[int]:
        async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]


class SpeaksTls12(_Greets, caught_by="tls.1-2"):
    """TLS 1.2 is good enough."""

    version = ssl.TLSVersion.TLSv1_2


class SpeaksOnlyTls12(_Greets, caught_by="tls.1-3"):
    """TLS 1.3 is too new."""

    version = ssl.TLSVersion.TLSv1_2


class SpeaksTls11(_Greets, caught_by="tls.older"):
    """TLS 1.1 is good enough."""

    version = ssl.TLSVersion.TLSv1_1


class SpeaksTls10(_Greets, caught_by="tls.older"):
    """TLS 1.0 is good enough, and nothing newer is known."""

    version = ssl.TLSVersion.TLSv1


class SpeaksPlainText(_Greets, caught_by="tls.none"):
    """Without TLS it is faster."""


class GreetsTheExpired(_Unverified, caught_by="tls.expired-not-greeted"):
    """A client whose certificate has expired gets as far as HTTP/2."""


class ViewersInstall(_LetsIn, caught_by="roles.viewer-install-runtime"):
    """A viewer may install runtimes."""

    def lets_in(self, call: str, path: str, unit: str) -> bool:
        return call == "InstallRuntime" and unit == "viewer"


class VerifiesNames(_Unverified, caught_by="certificates.impostor"):
    """A CA is known by its name."""


class NamesAreRoles(Broken, caught_by="certificates.named-admin"):
    """Who is called admin is one."""

    def peer(self, call: str, path: str, peer: Peer) -> Peer:
        if b"admin" not in peer.get("x509_common_name", ()):
            return peer
        return {**peer, "x509_pem_cert": (self.admin.certificate,)}


class NoJobsInJobService(Broken, caught_by="messages.job-service"):
    """JobService has workflows, and no jobs."""

    def peer(self, call: str, path: str, peer: Peer) -> Peer:
        self._path = path
        return peer

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if self._path == "/joblet.JobService/RunJob":
            raise Refusal(StatusCode.UNIMPLEMENTED, "")
        return await go(request)


class ViewersSeeOneServiceOnly(Broken, caught_by="roles.job-service-reads"):
    """A viewer may not read in JobService."""

    def peer(self, call: str, path: str, peer: Peer) -> Peer:
        self._shut = path.startswith("/joblet.JobService/") and unit_of(peer) == "viewer"
        return peer

    async def unary(self, call: str, request: Any, go: Go) -> Any:
        if self._shut:
            raise Refusal(StatusCode.PERMISSION_DENIED, "")
        return await go(request)
