"""TLS clients of other people's making, each of which presents a chain and posts one signed notification."""

import shutil
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import trio

from conformance.specimen import Presented

TlsVersion = Literal["1.2", "1.3"]
PATIENCE_SECONDS: Final = 20.0
"""For one client: it answers in milliseconds, on a busy machine in seconds."""


class ClientUnableError(Exception):
    """The client refuses to present this chain; nothing has been said about the gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a client is to do."""

    port: int
    ca: Path
    chain: Path | None
    """PEM, leaf first."""
    key: Path | None
    version: TlsVersion
    request: bytes
    """Sent as it is, after the handshake."""


class TlsClient(Protocol):
    """One implementation of TLS."""

    @property
    def name(self) -> str: ...

    @property
    def program(self) -> str | None:
        """What must be installed."""

    async def converse(self, call: Call) -> bytes:
        """Return what was answered: nothing, where the door stayed shut.

        Raises:
            ClientUnableError: the client did not get as far as presenting the chain.
        """


def write_chain(directory: Path, presented: Presented) -> tuple[Path, Path] | tuple[None, None]:
    """Write chain and key of a specimen."""
    if not presented:
        return None, None
    chain, key = directory / "chain.pem", directory / "chain.key"
    chain.write_bytes(b"".join(one.pem for one in presented))
    key.write_bytes(presented[0].key_pem)
    return chain, key


async def _run(argv: Sequence[str | Path], request: bytes) -> tuple[bytes, bytes]:
    """Run a program that copies between the connection and its standard input and output."""
    with trio.fail_after(PATIENCE_SECONDS):
        done = await trio.run_process(
            [str(word) for word in argv], stdin=request, capture_stdout=True, capture_stderr=True, check=False
        )
    return done.stdout, done.stderr


@dataclass(frozen=True, slots=True)
class OpenSsl:
    """`openssl s_client`."""

    name: str = "openssl"
    program: str | None = "openssl"

    async def converse(self, call: Call) -> bytes:
        """See `TlsClient`."""
        argv: list[str | Path] = ["openssl", "s_client", "-connect", f"127.0.0.1:{call.port}"]
        argv += ["-servername", "localhost", "-CAfile", call.ca, "-verify_return_error"]
        # The client may hold what it likes; refusing it is the door's part.
        argv += ["-cipher", "DEFAULT@SECLEVEL=0", "-tls1_" + call.version[-1], "-quiet", "-ign_eof"]
        if call.chain and call.key:
            argv += ["-cert", call.chain, "-cert_chain", call.chain, "-key", call.key]
        out, err = await _run(argv, call.request)
        for complaint in (b"unable to load", b"Could not", b"Can't open", b"key values mismatch"):
            if complaint in err:
                raise ClientUnableError(err.decode(errors="replace").strip().splitlines()[0])
        return out


@dataclass(frozen=True, slots=True)
class GnuTls:
    """`gnutls-cli`."""

    name: str = "gnutls"
    program: str | None = "gnutls-cli"

    async def converse(self, call: Call) -> bytes:
        """See `TlsClient`."""
        argv: list[str | Path] = ["gnutls-cli", "--port", str(call.port), "--x509cafile", call.ca]
        argv += ["--priority", f"NORMAL:-VERS-ALL:+VERS-TLS{call.version}:%VERIFY_ALLOW_SIGN_WITH_SHA1"]
        argv += ["--logfile", "/dev/stderr"]
        if call.chain and call.key:
            argv += ["--x509certfile", call.chain, "--x509keyfile", call.key]
        out, err = await _run([*argv, "localhost"], call.request)
        if b"*** Error loading" in err:
            raise ClientUnableError(err.decode(errors="replace").split("*** ", 1)[1].splitlines()[0])
        return out


@dataclass(frozen=True, slots=True)
class PythonSsl:
    """The standard library's ssl: needs no program, so the ordinary tests use it, too."""

    name: str = "python"
    program: str | None = None

    async def converse(self, call: Call) -> bytes:
        """See `TlsClient`."""
        return await trio.to_thread.run_sync(self._converse, call)

    def _converse(self, call: Call) -> bytes:
        context = ssl.create_default_context(cafile=call.ca)
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.minimum_version = context.maximum_version = {
            "1.2": ssl.TLSVersion.TLSv1_2,
            "1.3": ssl.TLSVersion.TLSv1_3,
        }[call.version]
        try:
            if call.chain:
                context.load_cert_chain(call.chain, call.key)
        except (ssl.SSLError, OSError) as error:
            raise ClientUnableError(str(error)) from error
        received = b""
        with socket.create_connection(("127.0.0.1", call.port), timeout=PATIENCE_SECONDS) as sock:
            try:
                with context.wrap_socket(sock, server_hostname="localhost") as tls:
                    tls.sendall(call.request)
                    while data := tls.recv(65536):
                        received += data
            except (ssl.SSLError, ConnectionError):
                pass  # closed in our face: with a reset where the request was still unread
        return received


PROGRAMS: Final[Sequence[TlsClient]] = (OpenSsl(), GnuTls())


def is_there(client: TlsClient) -> bool:
    """Whether its program is installed."""
    return client.program is None or shutil.which(client.program) is not None
