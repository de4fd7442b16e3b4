"""The TLS context: OpenSSL's settings of the public port, made from files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from OpenSSL import SSL, crypto
from OpenSSL._util import lib  # X509_STORE_set_purpose has no public wrapper

from gateway.settings.model import Client, Tls
from gateway.tls.certificate import (
    Anchor,
    CertificateFileError,
    describe_key,
    read_certificates,
    read_private_key,
)
from gateway.tls.revocation import RevocationLists
from gateway.tls.staged import StagedTrials
from gateway.tls.trust import Trust, read_trust
from gateway.tls.verdict import VERIFY_DEPTH, AskStaged, ClientEntry, record_validation

ALPN_PROTOCOLS: Final = (b"h2", b"http/1.1")
"""In the server's order of preference."""

CIPHERS_TLS12: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Forward secrecy and authenticated encryption only, as RFC 9325 section 4.2 recommends; TLS 1.3 has no
others."""

SESSION_ID_CONTEXT: Final = b"gateway"
"""With client certificates OpenSSL fails a client that offers a session unless a context id is set."""

_OPTIONS: Final = (
    # A resumed session skips the verify callback, and with it anchors, lists and expiry: no tickets.
    SSL.OP_NO_TICKET
    # RFC 9325 section 3.3 and 3.5: no compression (CRIME), no renegotiation.
    | SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    # Clients that leave without close_notify are ordinary, and HTTP frames its messages: an end is an end.
    | SSL.OP_IGNORE_UNEXPECTED_EOF
)

_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class NoOverlapError(Exception):
    """The client offers protocols by ALPN, and none of them is HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerContext:
    """All that a handshake needs. A reload makes a new one; connections keep the one they began with."""

    ssl: SSL.Context
    entries: tuple[ClientEntry, ...]
    ask_staged: AskStaged | None
    """None: there are no staged anchors."""
    trust: Mapping[str, Trust]
    """By client entry, the files that all this was made of."""


def make_context(tls: Tls) -> ServerContext:
    """Make the context of the public port, with every store and list: all that a reload makes anew.

    Raises:
        CertificateFileError: a certificate, key, anchor or revocation list file cannot be used.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[tls.minimum_version])
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(SESSION_ID_CONTEXT)
    # 34 KiB less for each idle connection.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(CIPHERS_TLS12.encode())
    context.set_alpn_select_callback(_select_protocol)
    _use_certificate(context, tls)

    trust = {name: read_trust(client) for name, client in tls.clients.items()}
    _ask_for_certificates(context, [anchor for one in trust.values() for anchor in one.anchors])
    entries = [_entry(name, client, trust[name]) for name, client in tls.clients.items()]
    staged = [
        replace(entry, store=_store(trust[entry.name].staged), anchors=_digests(trust[entry.name].staged))
        for entry in entries
        if trust[entry.name].staged
    ]
    return ServerContext(
        ssl=context,
        entries=tuple(entries),
        ask_staged=StagedTrials(staged).ask if staged else None,
        trust=trust,
    )


def _entry(name: str, client: Client, trust: Trust) -> ClientEntry:
    lists = RevocationLists(trust.lists, strict=client.revocation_strict) if trust.lists else None
    return ClientEntry(
        name=name,
        names=frozenset(client.names),
        store=_store(trust.anchors),
        anchors=_digests(trust.anchors),
        revocation=lists,
    )


def _digests(anchors: Sequence[Anchor]) -> frozenset[str]:
    return frozenset(anchor.sha256 for anchor in anchors)


def _use_certificate(context: SSL.Context, tls: Tls) -> None:
    leaf, *rest = read_certificates(tls.certificate)
    key = read_private_key(tls.private_key)
    if key.public_key() != leaf.public_key():
        raise CertificateFileError(
            f"{tls.private_key} is not the private key of {tls.certificate}",
            remedy="name the certificate and the key that were issued together",
        )
    try:
        context.use_certificate(leaf)
        for certificate in rest:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)  # type: ignore[arg-type] # a kind that TLS cannot use is refused below
    except (SSL.Error, TypeError) as fault:
        raise CertificateFileError(
            f"OpenSSL refuses {tls.certificate} with its key ({describe_key(leaf.public_key())})",
            remedy="have it issued anew for an ECDSA P-256 key or an RSA key of 2048 bits",
        ) from fault


def _ask_for_certificates(context: SSL.Context, anchors: Sequence[Anchor]) -> None:
    """Request a client certificate of every connection; who presents none is let through to the verdict."""
    context.set_verify(SSL.VERIFY_PEER, record_validation)
    context.set_verify_depth(VERIFY_DEPTH)
    live = context.get_cert_store()
    if live is None:
        raise CertificateFileError("OpenSSL gave the context no store")
    # An anchor that is an intermediate would otherwise refuse everything, and what Meta's file holds is
    # Meta's.
    live.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    subjects = set()
    for anchor in anchors:
        live.add_cert(crypto.X509.from_cryptography(anchor.certificate))
        subject = anchor.certificate.subject.public_bytes()
        if subject not in subjects:
            subjects.add(subject)
            # RFC 8446 section 4.2.4: with it a client that holds several certificates picks the right one.
            context.add_client_ca(anchor.certificate)


def _store(anchors: Sequence[Anchor]) -> crypto.X509Store:
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    if lib.X509_STORE_set_purpose(store._store, lib.X509_PURPOSE_SSL_CLIENT) != 1:  # noqa: SLF001 # no public wrapper
        raise CertificateFileError("OpenSSL cannot set the purpose of a store")
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(anchor.certificate))
    return store


def _select_protocol(_: SSL.Connection, offered: list[bytes]) -> bytes:
    for protocol in ALPN_PROTOCOLS:
        if protocol in offered:
            return protocol
    # RFC 7301 section 3.2: a fatal no_application_protocol alert, which an exception makes pyOpenSSL send. To
    # go on as if it were HTTP is what cross-protocol attacks live on.
    raise NoOverlapError
