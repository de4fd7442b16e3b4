"""What `check` has to say of the certificate, key and anchor files, before anybody connects.

Loading the wrong root, and taking the server's own chain for the clients' trust, is what people do most: so
every message says which of the two it speaks of.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from gateway.settings.address import ACTIVATED
from gateway.settings.model import Client, Tls
from gateway.settings.values import Address
from gateway.tls.certificate import (
    CertificateFileError,
    anchor_files,
    describe,
    read_anchors,
    read_certificates,
    read_private_key,
    utc_now,
)
from gateway.tls.context import make_context
from gateway.tls.own_ca import Confusion, confusion
from gateway.tls.revocation_files import read_revocation_lists
from gateway.tls.trust import known_issuers

ASK_META: Final = "for Meta, take the CA file that its page on webhooks and mTLS hands out"
"""What to do where the clients' trust is in doubt."""

_OWN: Final = "the gateway's own certificate"
_NEW_ANCHOR: Final = f"get the CA that is in use now; {ASK_META}"
_CONFUSED: Final = {
    Confusion.PUBLIC: (
        "a public CA, from which anybody may have a certificate, and Meta's clients have none",
        f"trust_anchors is for the CA that issues the clients' certificates; {ASK_META}",
    ),
    Confusion.DEVELOPMENT: (
        "no client has its certificate from it",
        f"name meta-ca.pem, the CA of the development clients; {ASK_META}",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialProblem:
    """One complaint about a file that the configuration names."""

    key_path: tuple[str | int, ...]
    """Where the file is named: `("tls", "clients", "meta", "trust_anchors", 0)`."""
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """The gateway's own certificate, as far as it could be read."""

    chain: tuple[x509.Certificate, ...] = ()
    key: PrivateKeyTypes | None = None


def examine_tls(
    tls: Tls, *, address: Address, now: datetime | None = None, with_key: bool = True
) -> list[MaterialProblem]:
    """Return everything that keeps the door from working, or opens it too wide.

    Args:
        tls: The settings; files are read, nothing is connected to.
        address: The public port, `listen.address`: a development CA is for loopback alone.
        now: What expiry is measured against; the clock, where not given.
        with_key: False leaves the private key alone, for machines that do not have it.
    """
    moment = now or utc_now()
    server, problems = _read_server(tls, with_key=with_key)
    problems += _examine_server(tls, server, address, moment)
    for name, client in tls.clients.items():
        problems += _examine_client(name, client, server, address, moment)
        problems += _examine_staged(name, client, server, address)
        problems += _examine_lists(name, client)
    if not problems and with_key:
        # What OpenSSL itself refuses: a key too short, a kind of key that TLS cannot use.
        try:
            make_context(tls)
        except CertificateFileError as error:
            problems.append(_problem(error, "tls", "certificate"))
    return problems


def _read_server(tls: Tls, *, with_key: bool) -> tuple[_Server, list[MaterialProblem]]:
    problems = []
    chain: tuple[x509.Certificate, ...] = ()
    key = None
    try:
        chain = read_certificates(tls.certificate)
    except CertificateFileError as error:
        problems.append(_problem(error, "tls", "certificate"))
    if with_key:
        try:
            key = read_private_key(tls.private_key)
        except CertificateFileError as error:
            problems.append(_problem(error, "tls", "private_key"))
    return _Server(chain=chain, key=key), problems


def _examine_server(tls: Tls, server: _Server, address: Address, now: datetime) -> Iterator[MaterialProblem]:
    if not server.chain:
        return
    own = describe(server.chain[0])
    if server.key is not None and server.key.public_key() != server.chain[0].public_key():
        yield _explain_mismatch(tls, server)
        return
    where = ("tls", "certificate")
    if own.is_ca:
        yield MaterialProblem(
            key_path=where,
            message=f"{tls.certificate} begins with a CA ({own.subject}), not the gateway's own certificate",
            remedy="put the gateway's own certificate first, then its intermediates",
        )
    elif own.purposes and "serverAuth" not in own.purposes:
        yield MaterialProblem(
            key_path=where,
            message=f"{tls.certificate} is no server certificate (it is for {', '.join(own.purposes)})",
            remedy="name the gateway's own server certificate here; a client's CA belongs in trust_anchors",
        )
    yield from _examine_dates(where, _OWN, server.chain[0], now, remedy="renew it")
    if own.development and _is_public(address):
        yield _development(where, _OWN, own.subject, address)


def _examine_client(
    name: str, client: Client, server: _Server, address: Address, now: datetime
) -> Iterator[MaterialProblem]:
    entry = ("tls", "clients", name, "trust_anchors")
    what = f"the trust anchor of {name}"
    dated: list[list[MaterialProblem]] = []
    for position, path in enumerate(client.trust_anchors):
        where = (*entry, position)
        try:
            anchors = read_anchors((path,))
        except CertificateFileError as error:
            yield _own_certificate(where, path, server) or _problem(error, *where)
            continue
        for anchor in anchors:
            description = describe(anchor.certificate)
            if description.development and _is_public(address):
                yield _development(where, what, description.subject, address)
            elif why := _CONFUSED.get(confusion(client, anchor.certificate, server.chain)):
                yield MaterialProblem(
                    key_path=where,
                    message=f"{anchor.path} holds the CA that issued the gateway's own certificate"
                    f" ({description.subject}): {why[0]}",
                    remedy=why[1],
                )
            dates = _examine_dates(
                where, what, anchor.certificate, now, remedy=_NEW_ANCHOR, which=f" ({description.subject})"
            )
            dated.append(list(dates))
    # One that has expired beside one that has not is a rotation, and the gateway must still start with it.
    if all(dated):
        for problems in dated:
            yield from problems


def _examine_staged(
    name: str, client: Client, server: _Server, address: Address
) -> Iterator[MaterialProblem]:
    """Staged anchors must be fit to become anchors; their dates are no problem yet."""
    what = f"the staged anchor of {name}"
    for position, path in enumerate(client.staged_anchors):
        where = ("tls", "clients", name, "staged_anchors", position)
        try:
            anchors = read_anchors((path,))
        except CertificateFileError as error:
            yield _own_certificate(where, path, server) or _problem(error, *where)
            continue
        for anchor in anchors:
            description = describe(anchor.certificate)
            if description.development and _is_public(address):
                yield _development(where, what, description.subject, address)


def _examine_lists(name: str, client: Client) -> Iterator[MaterialProblem]:
    issuers = known_issuers(client)
    for position, path in enumerate(client.revocation_lists):
        try:
            read_revocation_lists((path,), issuers=issuers)
        except CertificateFileError as error:
            yield _problem(error, "tls", "clients", name, "revocation_lists", position)


def _own_certificate(where: tuple[str | int, ...], path: Path, server: _Server) -> MaterialProblem | None:
    """Recognise the commonest mistake: the gateway's own chain where the clients' CA belongs."""
    try:
        certificates = [one for file in anchor_files((path,)) for one in read_certificates(file)]
    except CertificateFileError:
        return None
    if not server.chain or server.chain[0] not in certificates:
        return None
    return MaterialProblem(
        key_path=where,
        message=f"{path} holds the gateway's own certificate, which lets no client in",
        remedy=f"trust_anchors is for the CA that issues the clients' certificates; {ASK_META}",
    )


def _explain_mismatch(tls: Tls, server: _Server) -> MaterialProblem:
    key = server.key.public_key() if server.key else None
    at = next((place for place, one in enumerate(server.chain) if one.public_key() == key), None)
    if at is not None:
        return MaterialProblem(
            key_path=("tls", "certificate"),
            message=f"certificate {at + 1} in {tls.certificate} is the one that {tls.private_key} belongs to",
            remedy="put it first, then its intermediates in order",
        )
    return MaterialProblem(
        key_path=("tls", "private_key"),
        message=f"{tls.private_key} is not the private key of {tls.certificate}",
        remedy="name the certificate and the key that were issued together",
    )


def _examine_dates(
    where: tuple[str | int, ...],
    what: str,
    certificate: x509.Certificate,
    now: datetime,
    *,
    remedy: str,
    which: str = "",
) -> Iterator[MaterialProblem]:
    if certificate.not_valid_after_utc < now:
        yield MaterialProblem(
            key_path=where,
            message=f"{what} expired on {certificate.not_valid_after_utc:%Y-%m-%d}{which}",
            remedy=remedy,
        )
    elif certificate.not_valid_before_utc > now:
        yield MaterialProblem(
            key_path=where,
            message=f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
            f"{which}",
            remedy="set the clock of this machine, or wait",
        )


def _development(where: tuple[str | int, ...], what: str, subject: str, address: Address) -> MaterialProblem:
    # What systemd will pass on is not known here.
    place = "systemd may listen on" if str(address) == ACTIVATED else f"{address.host} is"
    return MaterialProblem(
        key_path=where,
        message=f"{what} is from a development CA ({subject}), and {place} a public address",
        remedy="get real certificates (gateway init --production), or set listen.address to 127.0.0.1",
    )


def _is_public(address: Address) -> bool:
    """A wildcard is public; so is a name, unless it is localhost."""
    if address.host.lower() == "localhost":
        return False
    try:
        return not ipaddress.ip_address(address.host).is_loopback
    except ValueError:
        return True


def _problem(error: CertificateFileError, *key_path: str | int) -> MaterialProblem:
    return MaterialProblem(key_path=key_path, message=error.message, remedy=error.remedy)
