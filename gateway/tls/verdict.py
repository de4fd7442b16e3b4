"""The verdict on a client certificate: after the handshake, and before any byte of HTTP is read.

OpenSSL's verify callback cannot decide well: when it says no, the alert is the same whatever the reason, and
the leaf is lost. So the callback records and lets the handshake go on (possession of the key is proved by
OpenSSL all the same), and `decide` judges what was recorded. It fails closed: without a record there is no
verdict, and without a verdict no connection.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from gateway.core.identity import (
    Identity,
    LeafSummary,
    Reason,
    Refusal,
    match_name,
    reason_for_x509_error,
)
from gateway.tls.revocation import Fault, RevocationLists

VERIFY_DEPTH: Final = 3
"""Authorities that may stand between leaf and anchor: Meta's depth is one today and not promised (contract,
3)."""

MAX_RECORDED_ERRORS: Final = 32
"""A chain of the greatest depth with several faults a certificate fits; a hostile one does not fill
memory."""

REMEMBERED_LEAVES: Final = 64
"""Meta comes with the same leaf a thousand times; to parse it costs as much as the rest of the verdict."""
REMEMBERED_BYTES: Final = 8192
"""Ordinary leaves have some 700 bytes; a stranger cannot have us remember more than half a megabyte."""

MAX_LEAF_BYTES: Final = 16 * 1024
"""OpenSSL takes 100 KiB of certificates, and a subject of thousands of attributes costs 30 ms to parse, in
which nobody is answered. Twenty times Meta's leaf, and a handful of milliseconds at the worst."""

MAX_NAME_CHARACTERS: Final = 300
"""A subject is the stranger's text and may have kilobytes; this much of it goes to the log. A
serial has 40 digits (RFC 5280 section 4.1.2.2), or as many as a stranger likes."""

# What cryptography thinks of a stranger's certificate would go to stderr, past every budget: a line for each
# text, and the texts hold lengths that the stranger chooses. It is attributed to this module. Not by
# `catch_warnings` around each reading: that changes the filters of all threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"gateway\.tls\.verdict$")


class VerdictMissingError(Exception):
    """A certificate was presented and its validation was not seen. Ours, a bug: the connection is closed."""


class LeafTooLargeError(Exception):
    """Of MAX_LEAF_BYTES: the stranger's fault."""


@dataclass(slots=True)
class ChainRecord:
    """What OpenSSL said of one connection's chain while the handshake went on."""

    seen: bool = False
    """The callback ran: validation took place."""
    errors: list[tuple[int, int]] = field(default_factory=list)
    """X509_V_ERR_* and the depth where it stood (0 is the leaf), in the order of validation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientEntry:
    """One entry of `tls.clients`, ready to judge: its own anchors in a store of its own."""

    name: str
    names: frozenset[str]
    store: crypto.X509Store
    anchors: frozenset[str]
    """SHA-256 of its anchors, hexadecimal."""
    revocation: RevocationLists | None = None
    """None: it has no revocation lists."""


AskStaged = Callable[[Refusal, ChainRecord, crypto.X509, Sequence[crypto.X509]], Refusal]
"""Adds to a refusal what the staged anchors say of leaf and chain (`tls.staged`)."""


def record_validation(connection: SSL.Connection, _: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """OpenSSL's verify callback: note what was found, and go on."""
    record: ChainRecord = connection.get_app_data()
    record.seen = True
    if not ok and len(record.errors) < MAX_RECORDED_ERRORS:
        record.errors.append((error, depth))
    return True


def judge(
    connection: SSL.Connection, entries: Sequence[ClientEntry], ask_staged: AskStaged | None = None
) -> Identity | Refusal:
    """Decide about a connection whose handshake is complete; `ask_staged` adds to a refusal, and changes no
    verdict."""
    record: ChainRecord = connection.get_app_data()
    leaf = connection.get_peer_certificate()
    # With one entry, its store and that of the handshake hold the same: its chain is the entry's.
    chain = connection.get_verified_chain() if leaf is not None and len(entries) == 1 else None
    # On the server's side OpenSSL leaves the leaf out of the chain that was sent.
    sent = connection.get_peer_cert_chain() or ()
    verdict = decide(record=record, leaf=leaf, sent=sent, entries=entries, now=datetime.now(UTC), chain=chain)
    if ask_staged is None or leaf is None or isinstance(verdict, Identity):
        return verdict
    return ask_staged(verdict, record, leaf, sent)


def decide(
    *,
    record: ChainRecord,
    leaf: crypto.X509 | None,
    sent: Sequence[crypto.X509],
    entries: Sequence[ClientEntry],
    now: datetime,
    chain: Sequence[crypto.X509] | None = None,
) -> Identity | Refusal:
    """Decide who the client is.

    Args:
        record: What the verify callback saw.
        leaf: The certificate whose key the client has proved to hold; None: it presented none.
        sent: The other certificates that the client sent; not trusted.
        entries: Who may come.
        now: What the dates of revocation lists are measured against.
        chain: What the handshake verified, leaf first, where its anchors are those of the only entry.

    Raises:
        VerdictMissingError: validation was not seen, so nothing may be decided.
    """
    # 1. A certificate is presented.
    if leaf is None:
        return Refusal(reason=Reason.NO_CERTIFICATE, detail="the client presented no certificate")
    # 2. Its validation was seen. An empty record means "no errors" only then.
    if not record.seen:
        raise VerdictMissingError("a client certificate was presented, and its validation was not recorded")
    # 3. It can be read: what is logged and compared below is what OpenSSL has validated.
    try:
        summary, common_names, dns_names = _read(leaf)
    except Exception as fault:  # noqa: BLE001 # whatever it is, OpenSSL could read it, and the stranger wrote it
        return Refusal(reason=Reason.BAD_CHAIN, detail=f"the leaf cannot be read ({type(fault).__name__})")
    names = {
        entry.name: name
        for entry in entries
        if (name := match_name(common_names, dns_names, entry.names)) is not None
    }
    claims = next(iter(names), None)
    # 4. OpenSSL found no fault: chain, dates, purpose, depth, strength of keys and digests.
    if record.errors:
        return _refuse(_first_recorded(record), summary, claims)
    # 5. The client entry's own anchors verify the chain (the store of the handshake holds everybody's), and
    #    its own lists do not revoke it.
    verified: dict[str, str] = {}
    faults: list[Fault] = []
    for entry in entries:
        outcome = _verify(entry, leaf, sent, chain, now)
        if isinstance(outcome, Fault):
            faults.append(outcome)
        else:
            verified[entry.name] = outcome
    if not verified:
        return _refuse(_most_telling(faults), summary, claims)
    # 6. One of that entry's names equals the leaf's, exactly.
    matched = {entry: name for entry, name in names.items() if entry in verified}
    if not matched:
        return Refusal(
            reason=Reason.WRONG_NAME,
            detail=f"a good chain, but its name is not one of those that {', '.join(verified)} may bear",
            leaf=summary,
            claims=claims,
        )
    first = next(iter(matched))
    return Identity(
        clients=frozenset(matched),
        name=matched[first],
        leaf=summary,
        anchor_sha256=verified[first],
        other_anchors=tuple((entry, verified[entry]) for entry in matched if entry != first),
    )


def summarise(certificate: x509.Certificate) -> LeafSummary:
    """Say what a leaf says of itself, cut to a length that a log can bear."""
    return LeafSummary(
        subject=certificate.subject.rfc4514_string()[:MAX_NAME_CHARACTERS],
        issuer=certificate.issuer.rfc4514_string()[:MAX_NAME_CHARACTERS],
        serial=f"{certificate.serial_number:x}"[:MAX_NAME_CHARACTERS],
        sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        not_after_ms=int(certificate.not_valid_after_utc.timestamp() * 1000),
    )


def _first_recorded(record: ChainRecord) -> Fault:
    # The first says it: OpenSSL builds the chain before it looks at purposes, and at those before dates; what
    # follows is often its consequence (a chain that is too deep has no anchor either).
    code, depth = record.errors[0]
    return Fault(code=code, depth=depth)


def _most_telling(faults: Sequence[Fault]) -> Fault:
    """Choose among what the entries said: that a chain is another entry's says the least."""
    foreign = Reason.UNKNOWN_ISSUER
    telling = (fault for fault in faults if reason_for_x509_error(fault.code) is not foreign)
    return next(telling, faults[0] if faults else Fault(code=0, depth=0))


def _refuse(fault: Fault, summary: LeafSummary, claims: str | None) -> Refusal:
    note = f": {fault.note}" if fault.note else ""
    return Refusal(
        reason=reason_for_x509_error(fault.code),
        detail=_explain(fault.code, fault.depth) + note,
        leaf=summary,
        claims=claims,
    )


def _explain(code: int, depth: int) -> str:
    """Say it with OpenSSL's number, which does not differ between versions, and its text, which may."""
    whose = "the leaf" if depth == 0 else f"the certificate at depth {depth}"
    text = Binding.ffi.string(Binding.lib.X509_verify_cert_error_string(code)).decode("ascii", "replace")
    return f"X509 error {code} ({text}) at {whose}"


def _verify(
    entry: ClientEntry,
    leaf: crypto.X509,
    sent: Sequence[crypto.X509],
    chain: Sequence[crypto.X509] | None,
    now: datetime,
) -> str | Fault:
    """Return the SHA-256 of the anchor that ends the chain, or why the entry does not take it."""
    # A chain that does not end in one of the entry's anchors is not believed, wherever it comes from.
    if not chain or _sha256(chain[-1]) not in entry.anchors:
        try:
            chain = crypto.X509StoreContext(entry.store, leaf, sent).get_verified_chain()
        except crypto.X509StoreContextError as error:
            return Fault(code=int(error.errors[0]) or _UNSPECIFIED, depth=int(error.errors[1]))
        # The depth of a store on its own cannot be set through pyOpenSSL: leaf, authorities between, anchor.
        if len(chain) > VERIFY_DEPTH + 2:
            return Fault(code=_CHAIN_TOO_LONG, depth=VERIFY_DEPTH + 2)
    if entry.revocation is not None:
        readable = [_parse_verified(_der(certificate)) for certificate in chain]
        if (fault := entry.revocation.find_fault(readable, now=now)) is not None:
            return fault
    return _sha256(chain[-1])


def _sha256(certificate: crypto.X509) -> str:
    # Less than half of what `X509.digest` costs, which puts colons between the bytes.
    return hashlib.sha256(_der(certificate)).hexdigest()


_UNSPECIFIED: Final = 1
"""X509_V_ERR_UNSPECIFIED."""
_CHAIN_TOO_LONG: Final = 22
"""X509_V_ERR_CERT_CHAIN_TOO_LONG."""


def _read(leaf: crypto.X509) -> tuple[LeafSummary, list[str], list[str]]:
    """Return what a leaf says of itself, its common names and its dNSNames."""
    der = _der(leaf)
    if len(der) > MAX_LEAF_BYTES:
        raise LeafTooLargeError
    return _parse_remembered(der) if len(der) <= REMEMBERED_BYTES else _parse(der)


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


_parse_verified = lru_cache(REMEMBERED_LEAVES)(x509.load_der_x509_certificate)
"""Of verified chains alone: what is in them was issued by one of our anchors."""


def _parse(der: bytes) -> tuple[LeafSummary, list[str], list[str]]:
    certificate = x509.load_der_x509_certificate(der)
    return summarise(certificate), *_names(certificate)


_parse_remembered = lru_cache(REMEMBERED_LEAVES)(_parse)
"""The same bytes say the same: nothing of the verdict is in it."""


def _names(certificate: x509.Certificate) -> tuple[list[str], list[str]]:
    """Return the common names and, where there is none, the dNSNames of a leaf."""
    common_names = [
        attribute.value if isinstance(attribute.value, str) else ""
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]
    if common_names:
        return common_names, []
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return [], []
    return [], alternatives.value.get_values_for_type(x509.DNSName)
