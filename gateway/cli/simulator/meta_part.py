"""What Meta's part needs: from the options of `send` and `bench`, else from the configuration."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.cli.output import err, options
from gateway.errors import UsageError
from gateway.settings.load import load_settings
from gateway.settings.model import App, Settings

_EVERYWHERE: Final = frozenset({"::", "0.0.0.0"})  # noqa: S104 - compared with, not bound to
"""Listening everywhere includes this machine."""

SOURCES: Final = "env:NAME, file:PATH, or the path of a file that has it"
URL_HELP: Final = "The callback URL; default: listen.address with the path of the first app."
KEY_HELP: Final = "The client certificate's private key; default: certs/client.key."
CA_HELP: Final = (
    "CA of the gateway's own certificate; default: certs/ca.pem beside the configuration, where there is one,"
    " and the system's."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Where to send, and what to sign with."""

    base_url: str
    path: str
    """With its query."""
    secret: bytes | None
    """None: nothing is signed."""


def resolve(*, url: str | None, secret: str | None, signs: bool) -> Call:
    """Fill in from the configuration what was not given; it is not read where nothing is missing."""
    base_url, path, query = _split(url)
    given = None if secret is None else read_reference(secret, bare=_file_or_plain)
    needs_secret = signs and given is None
    if path and not needs_secret:
        return Call(base_url=base_url, path=path + query, secret=given)
    settings = load_settings(options.config, environ=os.environ, with_secrets=needs_secret).settings
    app = _app_of(settings, path)
    return Call(
        base_url=base_url or _local_url(settings),
        path=(path or app.path) + query,
        secret=app.app_secrets[0].reveal() if needs_secret else given,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """What is presented to the gateway, and what it must show."""

    certificate: Path | None
    private_key: Path | None
    ca: Path | None
    system_trust: bool
    """The system's CAs will do, too."""

    @property
    def presented(self) -> str:
        """Of the client certificate, for people."""
        return f"with {self.certificate}" if self.certificate else "without client certificate"


def find_papers(*, cert: Path | None, key: Path | None, ca: Path | None, presents: bool = True) -> Papers:
    """Return what was given, else the files of a development PKI; no certificate of it unless `presents`."""
    certificate = cert or (beside_config("client.pem") if presents else None)
    default_key = beside_config("client.key") if cert is None else None
    return Papers(
        certificate=certificate,
        private_key=(key or default_key) if certificate else None,
        ca=ca or beside_config("ca.pem"),
        system_trust=ca is None,
    )


def _split(url: str | None) -> tuple[str, str, str]:
    """Return base URL, path and query (with its `?`); empty where they are not stated."""
    if url is None:
        return "", "", ""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError(f"{url}: not an https URL", remedy="write it as https://HOST:PORT/PATH")
    path = "" if parts.path == "/" else parts.path
    return f"https://{parts.netloc}", path, f"?{parts.query}" if parts.query else ""


def _app_of(settings: Settings, path: str) -> App:
    apps = list(settings.apps.values())
    return next((app for app in apps if app.path == path), apps[0])


def _local_url(settings: Settings) -> str:
    address = settings.listen.address
    if not address.port:
        raise UsageError(
            "listen.address leaves the port to the kernel",
            remedy="give --url, with the port that gateway run printed",
        )
    host = "localhost" if address.host in _EVERYWHERE else address.host
    return f"https://[{host}]:{address.port}" if ":" in host else f"https://{host}:{address.port}"


def beside_config(name: str) -> Path | None:
    """Return a file of a development PKI: `certs/NAME` beside the configuration or beside its
    directory; None: it is not there.
    """
    folder = options.config.parent
    for directory in (folder / "certs", folder / ".." / "certs"):
        if (directory / name).is_file():
            return directory / name
    return None


def read_reference(text: str, *, bare: Callable[[str], bytes]) -> bytes:
    """Read `env:NAME` or `file:PATH`; anything else is `bare`'s."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "env":
        value = os.environ.get(rest, "")
        if not value:
            raise UsageError(f"the environment variable {rest} is not set, or empty", remedy=f"export {rest}")
        return os.fsencode(value)
    if colon and scheme == "file":
        return _read_secret_file(Path(rest))
    return bare(text)


def _file_or_plain(text: str) -> bytes:
    path = Path(text)
    if path.is_file():
        return _read_secret_file(path)
    if "/" in text or path.suffix:  # a mistyped path would otherwise sign, and be answered 401
        raise UsageError("--secret names a file that does not exist", remedy=f"give {SOURCES}")
    err(f"note: a secret on the command line is seen in the process list; better: {SOURCES}")
    return text.encode()


def _read_secret_file(path: Path) -> bytes:
    try:
        value = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", remedy=f"give {SOURCES}") from error
    value = value.removesuffix(b"\n").removesuffix(b"\r")
    if not value:
        raise UsageError(f"{path} is empty", remedy="put the secret in it")
    return value
