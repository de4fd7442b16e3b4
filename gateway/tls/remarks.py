"""What is worth a look among certificates and keys, and keeps nothing from working: no reason to refuse a
start."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from cryptography import x509

from gateway.settings.model import Client, Tls
from gateway.tls.certificate import (
    Anchor,
    CertificateFileError,
    describe,
    read_anchors,
    read_certificates,
    utc_now,
)
from gateway.tls.material import ASK_META, MaterialProblem

EXPIRES_SOON: Final = timedelta(days=14)
"""Let's Encrypt renews thirty days before the end: with a fortnight left, renewal has failed twice."""


def remarks_tls(tls: Tls, *, now: datetime | None = None) -> list[MaterialProblem]:
    """Return what is worth a look and keeps nothing from working; never raises."""
    moment = now or utc_now()
    remarks: list[MaterialProblem] = []
    try:
        chain = read_certificates(tls.certificate)
    except CertificateFileError:
        chain = ()  # a problem, not a remark: examine_tls says it
    if chain:
        remarks += _remark_server(tls, chain, moment)
    for name, client in tls.clients.items():
        for position, anchor in _read_anchors(client):
            key_path = ("tls", "clients", name, "trust_anchors", position)
            remarks += _remark_anchor(key_path, anchor, chain, moment)
    return remarks


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
    try:
        exposed = tls.private_key.stat().st_mode & 0o007
    except OSError:
        return
    if exposed:
        yield MaterialProblem(
            key_path=("tls", "private_key"),
            message=f"{tls.private_key} is open to every user of this machine",
            remedy=f"chmod o= {tls.private_key}",
        )


def _remark_anchor(
    where: tuple[str | int, ...], anchor: Anchor, server: tuple[x509.Certificate, ...], now: datetime
) -> Iterator[MaterialProblem]:
    if anchor.certificate in server:
        yield MaterialProblem(
            key_path=where,
            message=f"{anchor.path} is also the CA of the gateway's own certificate",
            remedy=f"take it out here unless clients have their certificates from it; {ASK_META}",
        )
    left = anchor.certificate.not_valid_after_utc - now
    if left < EXPIRES_SOON:
        state = "has expired" if left < timedelta(0) else f"expires in {left.days} days"
        yield MaterialProblem(
            key_path=where,
            message=f"the anchor in {anchor.path} {state}",
            remedy=f"add its successor beside it; {ASK_META}",
        )


def _read_anchors(client: Client) -> Iterator[tuple[int, Anchor]]:
    for position, path in enumerate(client.trust_anchors):
        try:
            for anchor in read_anchors((path,)):
                yield position, anchor
        except CertificateFileError:
            continue  # a problem, not a remark: examine_tls says it
