"""What one client entry rests on: its anchors, its staged anchors, its revocation lists, read from their
files."""

from dataclasses import dataclass

from cryptography import x509

from gateway.settings.model import Client
from gateway.tls.certificate import Anchor, CertificateFileError, read_anchors
from gateway.tls.revocation import RevocationList
from gateway.tls.revocation_files import read_revocation_lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The files of one client entry."""

    anchors: tuple[Anchor, ...]
    staged: tuple[Anchor, ...]
    """They admit nobody. One that is an anchor as well is left out."""
    lists: tuple[RevocationList, ...]


def read_trust(client: Client) -> Trust:
    """Read them all.

    Raises:
        CertificateFileError: a file cannot be used.
    """
    anchors = read_anchors(client.trust_anchors)
    staged = read_anchors(client.staged_anchors) if client.staged_anchors else ()
    live = {anchor.sha256 for anchor in anchors}
    issuers = [anchor.certificate for anchor in (*anchors, *staged)]
    return Trust(
        anchors=anchors,
        staged=tuple(anchor for anchor in staged if anchor.sha256 not in live),
        lists=read_revocation_lists(client.revocation_lists, issuers=issuers),
    )


def known_issuers(client: Client) -> tuple[x509.Certificate, ...]:
    """Return the CAs that a revocation list may be of, as far as their files can be read."""
    known = []
    for path in (*client.trust_anchors, *client.staged_anchors):
        try:
            known += [anchor.certificate for anchor in read_anchors((path,))]
        except CertificateFileError:
            continue  # whoever reads the anchors for their own sake says it
    return tuple(known)
