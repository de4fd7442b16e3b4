"""Probe: the certificate files that the configuration names."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from cryptography.x509.oid import NameOID

from gateway.doctor.observed import AnchorFile, ListFile, Material
from gateway.settings.model import Client, Tls
from gateway.tls.certificate import (
    Anchor,
    CertificateFileError,
    Description,
    describe,
    read_anchors,
    read_certificates,
)
from gateway.tls.revocation import outdated
from gateway.tls.revocation_files import read_revocation_lists
from gateway.tls.trust import known_issuers


def read_material(tls: Tls, now: datetime) -> Material:
    """Read the gateway's own chain and every trust anchor; never raises. Private keys are left alone."""
    chain: tuple[Description, ...] = ()
    with suppress(CertificateFileError):  # `check`, whose problems are findings too, says why
        chain = tuple(map(describe, read_certificates(tls.certificate)))
    anchors: list[AnchorFile] = []
    for name, client in tls.clients.items():
        live = ((path, False) for path in client.trust_anchors)
        staged = ((path, True) for path in client.staged_anchors)
        for path, is_staged in (*live, *staged):
            try:
                anchors += [_anchor(name, one, staged=is_staged) for one in read_anchors((path,))]
            except CertificateFileError:
                continue
    lists = tuple(one for name, client in tls.clients.items() for one in _lists(name, client, now))
    return Material(certificate_path=tls.certificate, chain=chain, anchors=tuple(anchors), lists=lists)


def _lists(name: str, client: Client, now: datetime) -> Iterator[ListFile]:
    try:
        found = read_revocation_lists(client.revocation_lists, issuers=known_issuers(client))
    except CertificateFileError:
        return
    for one in found:
        yield ListFile(
            client=name,
            path=one.path,
            issuer=one.issuer.rfc4514_string(),
            revoked=len(one.serials),
            next_update=one.next_update,
            outdated=outdated(one, now),
            strict=client.revocation_strict,
        )


def _anchor(client: str, anchor: Anchor, *, staged: bool) -> AnchorFile:
    organizations = anchor.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return AnchorFile(
        client=client,
        path=anchor.path,
        description=describe(anchor.certificate),
        organizations=tuple(str(one.value) for one in organizations),
        staged=staged,
    )
