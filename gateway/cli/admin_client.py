"""Asking the gateway that runs on this machine, through its admin port."""

import http.client
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.admin.token import FILE_NAME, read_token
from gateway.cli.output import err
from gateway.cli.port_owner import refuse_squatter
from gateway.errors import ConfigurationError, GatewayError, PeerError, UsageError
from gateway.settings.load import load_settings
from gateway.settings.model import Settings
from gateway.settings.salvage import salvage_admin
from gateway.settings.values import Address

TIMEOUT_SECONDS: Final = 60.0
"""For one chunk of work: a hundred durable writes on a slow disk, with much to spare."""
CONNECT_SECONDS: Final = 5.0
"""It is this machine, or one beside it."""

_DETAIL_CHARACTERS: Final = 500
"""Of what the admin port says is wrong: some lines."""
_REMEDIES: Final = {
    http.client.UNAUTHORIZED: "the token here is not that gateway's: call the command with the configuration"
    " that it runs on, and after a change of admin.token restart it",
}
"""Of answers whose own words are for whoever writes a client."""

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminClient:
    """A way to the admin port of one configuration."""

    address: Address
    token: bytes

    def post(self, path: str, content: Mapping[str, object]) -> dict[str, Any]:
        """POST JSON, and return the JSON of the answer.

        Raises:
            PeerError: it was not answered, or not with 200.
        """
        return self._ask("POST", path, json.dumps(content))

    def get(self, path: str) -> dict[str, Any]:
        """GET JSON, with the token. Raises as `post`."""
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: str | None) -> dict[str, Any]:
        host, port = _reachable(self.address)
        where = f"the admin port {host}:{port}"
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
        headers = {
            # The port answers to loopback names, whatever the address that it listens on.
            "Host": "localhost",
            "Authorization": f"Bearer {self.token.decode('latin-1')}",
            "Content-Type": "application/json",
        }
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise PeerError(
                f"{where} did not answer: {type(error).__name__}",
                remedy="see whether the gateway is well; what is done stays done, ask again for the rest",
            ) from error
        finally:
            connection.close()
        return _read(status, content, where)


def is_listening(address: Address) -> bool:
    """Say whether something listens on the admin port.

    Raises:
        UsageError: the admin port is not known.
        PeerError: it cannot be told.
    """
    if address.port == 0:
        raise UsageError(
            "admin.address has port 0", remedy="give it a port, so that commands find the gateway"
        )
    try:
        socket.create_connection(_reachable(address), timeout=CONNECT_SECONDS).close()
    except ConnectionRefusedError:
        return False
    except OSError as error:
        raise PeerError(f"the admin port {address.host}:{address.port} cannot be reached: {error}") from error
    return True


def get_json(address: Address, path: str) -> tuple[int, dict[str, Any]]:
    """GET one address of the admin port, without token; return the status, and the JSON object of the answer.

    An answer that is no JSON object, such as that of a program which is no gateway, reads as an empty one.

    Raises:
        PeerError: it was not answered.
    """
    host, port = _reachable(address)
    connection = http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise PeerError(f"the admin port {host}:{port} did not answer: {type(error).__name__}") from error
    finally:
        connection.close()
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    return status, content if isinstance(content, dict) else {}


def get_view(address: Address, path: str, *, key: str) -> dict[str, Any]:
    """GET what a gateway shows without token: an object with this key.

    Raises:
        PeerError: it was not answered, or by something else, or the gateway cannot tell now, and says why.
    """
    status, content = get_json(address, path)
    if status == http.client.OK and key in content:
        return content
    if status != http.client.OK and (detail := str(content.get("detail", ""))[:_DETAIL_CHARACTERS]):
        # What it says itself is the matter: that its database does not answer, say.
        raise PeerError(f"the gateway runs, and cannot tell how things are: {detail}")
    raise PeerError(
        f"the admin port answered {status} to {path}",
        remedy="see what listens there: it is no gateway, an older one, or not well; gateway doctor",
    )


def settings_of(path: Path) -> Settings:
    """Return the settings without secrets: those of the file, or where it is broken, those that the gateway
    which runs with it has loaded; that is told on stderr.

    Raises:
        ConfigurationError: the file is broken, and no gateway that was started with it can be asked.
    """
    try:
        return load_settings(path, environ=os.environ, with_secrets=False).settings
    except ConfigurationError as error:
        content = loaded_content(path, error)
        if content is None:
            raise
        return load_settings(path, environ=os.environ, with_secrets=False, content=content).settings


def loaded_content(path: Path, error: ConfigurationError) -> bytes | None:
    """Ask the gateway that was started with this file, which is broken now, what the file said then.

    None where it cannot be asked: the admin port is looked for where the file says, as far as it can be
    read, else at the default.
    """
    address = salvage_admin(path, environ=os.environ).address
    try:
        if not is_listening(address):
            return None
        _, served = get_json(address, "/api/config")
        if not _is_same(served.get("file"), path):
            return None
        refuse_squatter(*_reachable(address), directory=Path(str(served["spool"])))
        client = AdminClient(address=address, token=_salvaged_token(path, str(served["spool"])))
        content = str(client.get("/api/config/source")["content"]).encode()
    except GatewayError:
        return None
    first, more = error.problems[0], len(error.problems) - 1
    err(f"remark: {first}" + (f" (and {more} more)" if more else ""))
    err("remark: the file is broken as it stands; what follows is of the gateway that runs, as it loaded it")
    return content


def _salvaged_token(path: Path, spool: str) -> bytes:
    token = salvage_admin(path, environ=os.environ, with_secrets=True).token
    return token.reveal() if token is not None else read_token(Path(spool).parent / FILE_NAME)


def stranger_at(address: Address, settings: Settings) -> str:
    """Say whose gateway answers on the admin port, where it is not the one of these settings; else nothing.

    Raises as `get_json`.
    """
    _, served = get_json(address, "/api/config")
    spool = served.get("spool")
    if not isinstance(spool, str) or _is_same(spool, settings.spool.directory):
        return ""
    return (
        f"the gateway on the admin port {address} is another one: it serves {served.get('file')} and the"
        f" spool {spool}, not {settings.spool.directory}"
    )


def refuse_stranger(settings: Settings) -> None:
    """Refuse to ask a gateway that is not the one of these settings.

    Where a token is configured, it decides: such a gateway may be asked from another machine, where paths are
    others.

    Raises:
        UsageError: it is another one.
        PeerError: it was not answered.
    """
    if settings.admin.token is None and (stranger := stranger_at(settings.admin.address, settings)):
        raise UsageError(
            stranger,
            remedy="give each gateway an admin.address of its own, or name that one's file by --config",
        )


def _is_same(served: object, own: Path) -> bool:
    """Whether a path that a gateway tells is one of ours, by whatever name."""
    if not isinstance(served, str):
        return False
    try:
        return own.samefile(served)
    except OSError:
        return Path(served) == own.absolute()


def running_gateway(path: Path, settings: Settings) -> AdminClient | None:
    """Return a client to the gateway that runs, with the configured token or the one that it made at start.

    None where nothing listens on the admin port. `path` is the configuration, loaded as `settings` without
    secrets.

    Raises:
        ConfigurationError: the token cannot be read.
        UsageError: the admin port is not known, or another gateway answers there, or somebody else's program.
    """
    address = settings.admin.address
    if not is_listening(address):
        return None
    refuse_squatter(*_reachable(address), directory=settings.spool.directory)
    refuse_stranger(settings)
    if settings.admin.token is None:
        return AdminClient(address=address, token=read_token(settings.spool.directory.parent / FILE_NAME))
    token = salvage_admin(path, environ=os.environ, with_secrets=True).token
    if token is None:  # then what is wrong with it is told
        token = load_settings(path, environ=os.environ).settings.admin.token
    return AdminClient(address=address, token=token.reveal() if token is not None else b"")


def _reachable(address: Address) -> tuple[str, int]:
    return _LOOPBACK.get(address.host, address.host), address.port


def _read(status: int, body: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise PeerError(
            f"{where} answered {status}, and no JSON", remedy="see what listens there: it is no gateway"
        )
    if status != http.client.OK:
        detail = str(content.get("detail", ""))[:_DETAIL_CHARACTERS]
        raise PeerError(f"{where} answered {status}: {detail}", remedy=_REMEDIES.get(status, ""))
    return content
