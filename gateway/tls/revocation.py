"""Is a verified chain revoked? Judged here, over the chain that OpenSSL has verified. Pure.

Not by OpenSSL's own CRL_CHECK, whose answer has only all or nothing: an issuer without a list is an error
there (3), a list that has expired is another (12), and each must be forgiven by hand, by code and depth, in a
callback that sees one error a certificate. Here the rules are a few lines that say what they do:

- A certificate whose serial stands in a list of its issuer is revoked, whatever the dates of the list.
- A list that is out of date still counts; only `strict` refuses what it says nothing of.
- An issuer without a list is not checked. Of the anchor itself nothing is asked (RFC 5280 section 6.1).
- A list counts for the issuer whose key has signed it. One that bears an issuer's name and key identifier
  and was not signed with its key refuses the chain: then nobody knows what has been revoked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

REVOKED: Final = 23
"""X509_V_ERR_CERT_REVOKED: OpenSSL's numbers, so that one table names the reasons of both."""
LIST_BADLY_SIGNED: Final = 8
"""X509_V_ERR_CRL_SIGNATURE_FAILURE."""
LIST_NOT_YET_VALID: Final = 11
LIST_EXPIRED: Final = 12

REMEMBERED_ISSUERS: Final = 64
"""An issuer is a CA under one of our anchors; more of one name and in use at once are not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a chain is refused."""

    code: int
    """X509_V_ERR_*."""
    depth: int
    """0 is the leaf."""
    note: str = ""
    """What OpenSSL's words for the code leave out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RevocationList:
    """One complete list of one issuer."""

    path: Path
    issuer: x509.Name
    issuer_key: bytes | None
    """The authority key identifier: tells two CAs of one name apart."""
    this_update: datetime
    next_update: datetime | None
    """None: the list does not say when the next is due, and never expires."""
    serials: frozenset[int] = field(repr=False)
    crl: x509.CertificateRevocationList = field(repr=False)
    known_issuer: bool
    """The signature was verified when the list was read; else its issuer is not in the configuration, and it
    is verified when a chain first shows that issuer."""
    signers: dict[x509.Certificate, bool] = field(default_factory=dict, repr=False)
    """Of the issuers that were asked about: whether it bears their signature."""

    def is_signed_by(self, issuer: x509.Certificate) -> bool:
        """Verify the signature, once an issuer."""
        known = self.signers.get(issuer)
        if known is None:
            if len(self.signers) >= REMEMBERED_ISSUERS:
                self.signers.clear()
            known = self.signers[issuer] = is_signed(self.crl, issuer)
        return known

    def is_for(self, issuer: x509.Certificate) -> bool:
        """Say whether it claims to be this issuer's."""
        return is_for(self.issuer, self.issuer_key, issuer)

    def out_of_date(self, now: datetime) -> int:
        """Return X509_V_ERR_CRL_NOT_YET_VALID or X509_V_ERR_CRL_HAS_EXPIRED; 0: it is current."""
        if now < self.this_update:
            return LIST_NOT_YET_VALID
        return LIST_EXPIRED if self.next_update is not None and self.next_update <= now else 0


class RevocationLists:
    """All lists of one client entry."""

    def __init__(self, lists: Iterable[RevocationList], *, strict: bool) -> None:
        """`strict`: what an outdated list says nothing of is refused."""
        self.all = tuple(lists)
        self.strict = strict
        by_issuer: dict[x509.Name, list[RevocationList]] = {}
        for one in self.all:
            by_issuer.setdefault(one.issuer, []).append(one)
        self._by_issuer: Mapping[x509.Name, Sequence[RevocationList]] = by_issuer

    def find_fault(self, chain: Sequence[x509.Certificate], *, now: datetime) -> Fault | None:
        """Judge a verified chain, leaf first and anchor last; None: nothing is revoked."""
        for depth, (certificate, issuer) in enumerate(pairwise(chain)):
            lists = [one for one in self._by_issuer.get(certificate.issuer, ()) if one.is_for(issuer)]
            fault = self._judge(certificate, issuer, lists, depth, now)
            if fault is not None:
                return fault
        return None

    def _judge(
        self,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
        lists: Sequence[RevocationList],
        depth: int,
        now: datetime,
    ) -> Fault | None:
        signed = [one for one in lists if one.is_signed_by(issuer)]
        # 1. Revoked is revoked, by an old list too.
        for one in signed:
            if certificate.serial_number in one.serials:
                return Fault(code=REVOKED, depth=depth, note=f"it stands in {one.path}")
        # 2. Lists that speak of this issuer, and none of them its own.
        if lists and not signed:
            return Fault(code=LIST_BADLY_SIGNED, depth=depth, note=f"{lists[0].path} is not from its issuer")
        # 3. Strict: an outdated list may not know what has been revoked since.
        for one in signed if self.strict else ():
            if code := one.out_of_date(now):
                return Fault(code=code, depth=depth, note=f"{one.path}, and revocation_strict is on")
        return None


def is_signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    """Verify a list's signature by a CA that may sign lists (RFC 5280 section 6.3.3 f and g)."""
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.crl_sign:
        return False
    try:
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type] # other kinds: TypeError
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def outdated(one: RevocationList, now: datetime) -> str:
    """Say for people how a list is out of date; empty: it is current."""
    match one.out_of_date(now):
        case 0:
            return ""
        case code if code == LIST_EXPIRED and one.next_update is not None:
            return f"expired on {one.next_update:%Y-%m-%d %H:%M} UTC"
        case _:
            return f"is not valid before {one.this_update:%Y-%m-%d %H:%M} UTC"


def is_for(name: x509.Name, key: bytes | None, issuer: x509.Certificate) -> bool:
    """Say whether a list of this name and key identifier claims to be of an issuer: the keys are compared as
    far as both say theirs."""
    return name == issuer.subject and (key is None or _key_identifier(issuer) in (None, key))


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    """Return the subject key identifier of a CA, where it has one."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None
