"""Probe: the certificate files that the configuration names."""

from cryptography.x509.oid import NameOID

from gateway.doctor.observed import AnchorFile, Material
from gateway.settings.model import Tls
from gateway.tls.certificate import (
    Anchor,
    CertificateFileError,
    Description,
    describe,
    read_anchors,
    read_certificates,
)


def read_material(tls: Tls) -> Material:
    """Read the gateway's own chain and every trust anchor; never raises. Private keys are left alone."""
    faults: list[tuple[str, str]] = []
    chain: tuple[Description, ...] = ()
    try:
        chain = tuple(map(describe, read_certificates(tls.certificate)))
    except CertificateFileError as error:
        faults.append((error.message, error.remedy))
    anchors: list[AnchorFile] = []
    for name, client in tls.clients.items():
        live = ((path, False) for path in client.trust_anchors)
        staged = ((path, True) for path in client.staged_anchors)
        for path, is_staged in (*live, *staged):
            try:
                anchors += [_anchor(name, one, staged=is_staged) for one in read_anchors((path,))]
            except CertificateFileError as error:
                faults.append((error.message, error.remedy))
    return Material(
        certificate_path=tls.certificate, chain=chain, anchors=tuple(anchors), faults=tuple(faults)
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
