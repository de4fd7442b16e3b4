"""What is worth a look among certificates and keys, and keeps nothing from working: no reason to refuse a
start."""

from collections.abc import Iterator, Sequence
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
from gateway.tls.revocation import RevocationList, outdated
from gateway.tls.revocation_files import read_revocation_lists
from gateway.tls.trust import known_issuers

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
        where = ("tls", "clients", name)
        remarks += _remark_client((*where, "trust_anchors"), client, chain, moment)
        remarks += _remark_staged((*where, "staged_anchors"), client, moment)
        remarks += _remark_lists((*where, "revocation_lists"), client, moment)
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
    anchors = list(_read_anchors(client.trust_anchors))
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


def _remark_staged(where: tuple[str | int, ...], client: Client, now: datetime) -> Iterator[MaterialProblem]:
    live = {anchor.sha256 for _, anchor in _read_anchors(client.trust_anchors)}
    for position, anchor in _read_anchors(client.staged_anchors):
        subject = anchor.certificate.subject.rfc4514_string()
        if anchor.sha256 in live:
            yield MaterialProblem(
                key_path=(*where, position),
                message=f"the anchor {subject} stands in trust_anchors too, and admits",
                remedy="take it out here; once it is trusted there is nothing left to try",
            )
        elif anchor.certificate.not_valid_after_utc < now:
            yield MaterialProblem(
                key_path=(*where, position),
                message=f"the staged anchor {subject} in {anchor.path} has expired",
                remedy="take it out, or get the CA that is in use now",
            )


def _remark_lists(where: tuple[str | int, ...], client: Client, now: datetime) -> Iterator[MaterialProblem]:
    issuers = known_issuers(client)
    for position, path in enumerate(client.revocation_lists):
        try:
            lists = read_revocation_lists((path,), issuers=issuers)
        except CertificateFileError:
            continue  # a problem, not a remark: examine_tls says it
        for one in lists:
            yield from _remark_list((*where, position), one, now, strict=client.revocation_strict)


def _remark_list(
    where: tuple[str | int, ...], one: RevocationList, now: datetime, *, strict: bool
) -> Iterator[MaterialProblem]:
    if not one.known_issuer:
        yield MaterialProblem(
            key_path=where,
            message=f"{one.path} is of {one.issuer.rfc4514_string()}, which is none of the anchors: its"
            " signature is verified when a chain first shows that CA",
            remedy="nothing to do if that is an intermediate of the sender's; else name the right list",
        )
    if state := outdated(one, now):
        yield MaterialProblem(
            key_path=where,
            message=f"the revocation list {one.path} {state};"
            f" {'the clients of its CA are refused' if strict else 'it goes on counting as it is'}",
            remedy="fetch the CA's current list, and see what should have fetched it",
        )


def _read_anchors(paths: Sequence[Path]) -> Iterator[tuple[int, Anchor]]:
    for position, path in enumerate(paths):
        try:
            for anchor in read_anchors((path,)):
                yield position, anchor
        except CertificateFileError:
            continue  # a problem, not a remark: examine_tls says it
