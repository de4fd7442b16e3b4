"""What is worth a look among certificates and keys, and keeps nothing from working: no reason to refuse a
start."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509

from gateway.settings.model import Client, Tls
from gateway.tls.certificate import (
    Anchor,
    CertificateFileError,
    describe,
    holds_private_key,
    read_anchors,
    read_certificates,
    utc_now,
)
from gateway.tls.material import ASK_META, MaterialProblem
from gateway.tls.own_ca import Confusion, confusion

EXPIRES_SOON: Final = timedelta(days=14)
"""Let's Encrypt renews thirty days before the end: with a fortnight left, renewal has failed twice."""


MANY_ANCHORS: Final = 8
"""A sender has one root, two while it changes, a company a few; public bundles have more than a hundred."""


def remarks_tls(tls: Tls, *, now: datetime | None = None, with_key: bool = True) -> list[MaterialProblem]:
    """Return what is worth a look and keeps nothing from working; never raises.

    Args:
        tls: The settings; files are read.
        now: What expiry is measured against; the clock, where not given.
        with_key: False leaves the private key alone.
    """
    moment = now or utc_now()
    remarks: list[MaterialProblem] = []
    try:
        chain = read_certificates(tls.certificate)
    except CertificateFileError:
        chain = ()  # a problem, not a remark: examine_tls says it
    if chain:
        remarks += _remark_server(tls, chain, moment)
    for name, client in tls.clients.items():
        remarks += _remark_client(("tls", "clients", name, "trust_anchors"), client, chain, moment)
    if with_key:
        remarks += remark_open_key(tls.private_key, ("tls", "private_key"))
    return remarks


def remark_open_key(path: Path, where: tuple[str | int, ...]) -> Iterator[MaterialProblem]:
    """Remark on a private key that every user of the machine may read; a file without key is a problem."""
    if is_open_to_all(path) and holds_private_key(path):
        yield open_to_all(path, where)


def is_open_to_all(path: Path) -> bool:
    """Say whether every user of the machine may do something with a file; False where it cannot be seen."""
    try:
        return bool(path.stat().st_mode & 0o007)
    except OSError:
        return False


def open_to_all(path: Path, where: tuple[str | int, ...]) -> MaterialProblem:
    """Say so of a file that holds a secret."""
    return MaterialProblem(
        key_path=where, message=f"{path} is open to every user of this machine", remedy=f"chmod o= {path}"
    )


def _remark_server(tls: Tls, chain: tuple[x509.Certificate, ...], now: datetime) -> Iterator[MaterialProblem]:
    own = describe(chain[0])
    where = ("tls", "certificate")
    if now <= own.not_after < now + EXPIRES_SOON:
        yield MaterialProblem(
            key_path=where,
            message=f"the gateway's own certificate expires in {own.days_left(now)} days",
            remedy="renew it",
        )
    if len(chain) == 1 and not own.self_issued and not own.development:
        yield MaterialProblem(
            key_path=where,
            message=f"{tls.certificate} holds no intermediate: the issuer is {own.issuer}",
            remedy="name the full chain (fullchain.pem), unless that issuer is itself a root",
        )
    elif any(later.subject != earlier.issuer for earlier, later in pairwise(chain)):
        yield MaterialProblem(
            key_path=where,
            message=f"the certificates in {tls.certificate} do not stand in order",
            remedy="each one is followed by its issuer (RFC 8446 section 4.4.2)",
        )


def _remark_client(
    where: tuple[str | int, ...], client: Client, server: tuple[x509.Certificate, ...], now: datetime
) -> Iterator[MaterialProblem]:
    anchors = list(_read_anchors(client))
    if len(anchors) > MANY_ANCHORS:
        yield MaterialProblem(
            key_path=where,
            message=f"{len(anchors)} trust anchors look like a bundle of public CAs: anybody can get a"
            " certificate under one of them",
            remedy=f"name the file of the one CA; {ASK_META}",
        )
        return
    # Where none is valid, examine_tls calls it a problem: that is enough.
    some_valid = any(
        anchor.certificate.not_valid_before_utc <= now <= anchor.certificate.not_valid_after_utc
        for _, anchor in anchors
    )
    for position, anchor in anchors:
        if confusion(client, anchor.certificate, server) is Confusion.PERHAPS:
            yield MaterialProblem(
                key_path=(*where, position),
                message=f"{anchor.path} is also the CA of the gateway's own certificate",
                remedy=f"take it out here unless clients have their certificates from it; {ASK_META}",
            )
        yield from _remark_term((*where, position), anchor, now, expired_too=some_valid)


def _remark_term(
    where: tuple[str | int, ...], anchor: Anchor, now: datetime, *, expired_too: bool
) -> Iterator[MaterialProblem]:
    left = anchor.certificate.not_valid_after_utc - now
    if left < EXPIRES_SOON and (expired_too or left >= timedelta(0)):
        state = "has expired" if left < timedelta(0) else f"expires in {left.days} days"
        subject = anchor.certificate.subject.rfc4514_string()
        yield MaterialProblem(
            key_path=where,
            message=f"the anchor {subject} in {anchor.path} {state}",
            remedy=f"add its successor beside it; {ASK_META}",
        )


def _read_anchors(client: Client) -> Iterator[tuple[int, Anchor]]:
    for position, path in enumerate(client.trust_anchors):
        try:
            for anchor in read_anchors((path,)):
                yield position, anchor
        except CertificateFileError:
            continue  # a problem, not a remark: examine_tls says it
