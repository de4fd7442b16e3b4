"""What a specimen of the zoo is, the authorities that it is issued by, and what it must meet at each door."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from conformance.surgery import Raw
from gateway.core.identity import Reason
from gateway.simulator.pki import (
    DevelopmentPki,
    Issued,
    authority,
    chain_pem,
    client_leaf,
    development_pki,
    revocation_list,
    subject_name,
)

DAY: Final = timedelta(days=1)
PARTNER_NAME: Final = "partner.example"
Presented = Sequence[Issued | Raw]
"""Leaf first; the key is the leaf's. Empty: the client presents nothing."""


@dataclass(frozen=True)
class Ground:
    """The authorities, some of them trusted."""

    pki: DevelopmentPki = field(default_factory=development_pki)

    @cached_property
    def partner(self) -> Issued:
        """Anchor of another entry, whose only name is `PARTNER_NAME`."""
        return authority("Partner CA")

    @cached_property
    def nobody(self) -> Issued:
        """A root that nobody trusts."""
        return authority("Nobody's root")

    @cached_property
    def lone_intermediate(self) -> Issued:
        """An anchor of Meta's entry, issued by a root that is none."""
        return authority("Meta-like lone issuing CA", issuer=self.nobody)

    @cached_property
    def past(self) -> Issued:
        """An anchor of Meta's entry that has expired."""
        now = datetime.now(UTC)
        return authority("Meta-like root of the past", not_before=now - 900 * DAY, not_after=now - DAY)

    @cached_property
    def revoked(self) -> Issued:
        """Meta's certificate, and then not any more."""
        return client_leaf(self.pki.meta_intermediate)

    @cached_property
    def revoked_authority(self) -> Issued:
        """An issuing CA of Meta's that was revoked."""
        return authority("Meta-like issuing CA that lost its key", issuer=self.pki.meta_root)

    @cached_property
    def revoked_by_an_old_list(self) -> Issued:
        """Revoked, and no newer list has come since."""
        return client_leaf(self.lone_intermediate)

    @cached_property
    def revocation_lists(self) -> bytes:
        """PEM; the last has expired."""
        now = datetime.now(UTC)
        old = revocation_list(
            self.lone_intermediate,
            self.revoked_by_an_old_list,
            this_update=now - 9 * DAY,
            next_update=now - DAY,
        )
        lists = (
            revocation_list(self.pki.meta_root, self.revoked_authority),
            revocation_list(self.pki.meta_intermediate, self.revoked),
            old,
        )
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in lists)

    @cached_property
    def metas_anchors(self) -> bytes:
        """PEM."""
        return chain_pem(self.pki.meta_root, self.lone_intermediate, self.past)

    def chain(self, leaf: Issued | Raw) -> Presented:
        """Present a leaf of the issuing CA as Meta does."""
        return (leaf, self.pki.meta_intermediate)

    def leaf(self, subject: x509.Name | None = None, **knobs: object) -> Presented:
        """Issue as Meta's issuing CA does, but for the knobs of `client_leaf`."""
        return self.chain(client_leaf(self.pki.meta_intermediate, subject=subject, **knobs))  # type: ignore[arg-type] # knobs

    def named(self, *attributes: tuple[x509.ObjectIdentifier, str], **knobs: object) -> Presented:
        """Issue for this subject."""
        return self.leaf(subject_name(*attributes), **knobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """One kind of client."""

    name: str
    verdict: Reason | None
    """Why it is not Meta; None: it is."""
    why: str
    """The clause or the rule."""
    present: Callable[[Ground], Presented]
    unable: Mapping[str, str] = field(default_factory=dict)
    """Client program -> why it cannot present this one: told as skipped, as long as it is so."""


class DoorKind(StrEnum):
    """How a gateway is configured."""

    ASK = "ask"
    """`tls.handshake: ask`, `client_certificate: required`: the defaults."""
    DEMAND = "demand"
    """`tls.handshake: demand`."""
    REPORT = "report"
    """`client_certificate: report`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What a client met at a door that it came to with a signed notification."""

    status: int | None
    """Of the answer; None: closed without one."""
    result: str
    """Labels of `meta_gateway_handshakes_total`."""
    reason: str

    def __str__(self) -> str:
        """`200 (none)`, `closed (expired)`."""
        return f"{self.status or 'closed'} ({self.reason})"


def fate(verdict: Reason | None, door: DoorKind) -> Fate:
    """Tell what must happen (contract, section 3, "Certificates")."""
    if verdict is None:
        return Fate(status=200, result="accepted", reason="none")
    closed_under_ask = verdict not in (Reason.NO_CERTIFICATE, Reason.WRONG_NAME)
    status = {
        DoorKind.ASK: None if closed_under_ask else 403,
        DoorKind.DEMAND: None,
        DoorKind.REPORT: None if verdict is Reason.PROTOCOL else 200,
    }[door]
    welcome = verdict is Reason.NO_CERTIFICATE and door is not DoorKind.DEMAND
    return Fate(status=status, result="accepted" if welcome else "refused", reason=verdict.value)
