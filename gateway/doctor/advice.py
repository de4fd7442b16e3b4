"""What is known of Meta's side, as data: facts that change without our doing, each with its date.

Source: Meta's pages on webhooks and mTLS ("Graph API webhooks, getting started"). A new fact is a new row.
"""

from dataclasses import dataclass
from typing import Final

from gateway.core.identity import Reason
from gateway.core.proxy_header import NOT_EXPECTED, NOT_FROM_BALANCER, NOT_SENT, OTHER_VERSION
from gateway.doctor.finding import Level

META_CA_FILE: Final = "meta-outbound-api-ca-2025-12.pem"
"""The trust anchor that Meta hands out."""

GET_META_CA: Final = (
    f"download {META_CA_FILE} from Meta's page on Graph API webhooks (getting started, mTLS), look at it"
    " (gateway certs show FILE), and name it under tls.clients.{client}.trust_anchors"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorAdvice:
    """What to say where an entry for Meta's clients has an anchor of an organization."""

    organization: str
    """How the organization of its subject begins, in lower case."""
    only: tuple[str, Level, str, str, str]
    """Where all live anchors are of it: code, level, what, why, remedy. `{client}` is the entry."""
    beside: tuple[str, Level, str, str, str]
    """Where others are beside it."""


_DIGICERT_WHY: Final = (
    "Meta's client certificate has been signed by its own CA since 2026-03-31; the last one under DigiCert"
    " expired on 2026-04-15. With these anchors Meta is locked out"
)

ANCHOR_ADVICE: Final = (
    AnchorAdvice(
        organization="digicert",
        only=(
            "anchors_digicert_only",
            Level.PROBLEM,
            "{client}: your anchors hold DigiCert roots only",
            _DIGICERT_WHY,
            GET_META_CA,
        ),
        beside=(
            "anchor_digicert_obsolete",
            Level.NOTE,
            "{client}: a DigiCert root stands beside the other anchors",
            "Meta's client certificates have not come from DigiCert since 2026-03-31, while anybody may buy"
            " a certificate there",
            "take it out of tls.clients.{client}.trust_anchors, unless a sender other than Meta needs it",
        ),
    ),
)


REFUSAL_ADVICE: Final = {
    Reason.UNKNOWN_ISSUER: "compare the issuer with Meta's CA file: if it is Meta's, the anchor is missing"
    " (Meta's file goes under trust_anchors); if not, somebody plays Meta, and was refused",
    Reason.EXPIRED: "if the clock of this machine is right, there is nothing to do here: Meta's certificate"
    " is renewed by Meta",
    Reason.NOT_YET_VALID: "see whether the clock of this machine is behind",
    Reason.WRONG_PURPOSE: "a certificate that is not for clients; nothing is to be changed here",
    Reason.WRONG_NAME: "the chain is good, the name is none of tls.clients.NAME.names: add it only if"
    " Meta's page says so",
    Reason.REVOKED: "its issuer has withdrawn it; nothing is to be changed here",
    Reason.BAD_CHAIN: "see the detail of the refusal in the log (event handshake_refused)",
}
"""By reason: what to do where a certificate that calls itself Meta's was refused."""

PROVED_ADVICE: Final = {
    401: "the signature does not fit: compare apps.NAME.app_secrets with App settings > Basic of that very"
    " app in Meta's dashboard; while it is rotated, name both",
    403: "the verify token does not fit: compare apps.NAME.verify_token with what the dashboard was given",
}
"""By status: what to do where Meta itself was refused."""

PROXY_ADVICE: Final = {
    NOT_SENT: "switch the PROXY protocol on at the load balancer, or set listen.proxy_protocol: none",
    OTHER_VERSION: "set listen.proxy_protocol: any, or to the version that the load balancer sends",
    NOT_FROM_BALANCER: "if that address is the load balancer's, name it in listen.proxy_from; if not,"
    " somebody knocks past it: let the firewall admit the load balancer alone",
    NOT_EXPECTED: "set listen.proxy_protocol and listen.proxy_from, or switch the PROXY protocol off at the"
    " load balancer",
}
"""By the detail of a refusal: what to do where load balancer and configuration do not fit each other."""

MALFORMED_PROXY: Final = "see what stands between load balancer and gateway, and what it sends (v1 or v2)"

SWITCH_ON_MTLS: Final = (
    "in Meta's App Dashboard, for each app and object: Webhooks > \"Attach a client certificate to Webhook"
    ' requests"'
)

FULL_CHAIN: Final = (
    "name the full chain in tls.certificate (certbot's fullchain.pem, not cert.pem): Meta refuses what does"
    " not lead to a public CA"
)

EXPIRY: Final = ((3, 1 / 30, Level.PROBLEM), (14, 1 / 6, Level.WARNING), (30, 1 / 3, Level.NOTE))
"""Days left, or share of the whole term where that is less (certificates for a week): from there on, the
level. Let's Encrypt renews with a third left."""

CLIENT_EXPIRY: Final = ((3, Level.WARNING), (14, Level.NOTE))
"""Days left of a client's certificate. It is not ours to renew, so it is no problem of ours either."""

FILE_SYSTEMS: Final = {
    "nfs": (Level.PROBLEM, "a network file system: locks and fsync are not to be relied on there"),
    "nfs4": (Level.PROBLEM, "a network file system: locks and fsync are not to be relied on there"),
    "cifs": (Level.PROBLEM, "a network file system: locks and fsync are not to be relied on there"),
    "smb3": (Level.PROBLEM, "a network file system: locks and fsync are not to be relied on there"),
    "fuse.sshfs": (Level.PROBLEM, "a network file system: locks and fsync are not to be relied on there"),
    "tmpfs": (Level.PROBLEM, "memory: everything in it is lost when the machine stops"),
    "ramfs": (Level.PROBLEM, "memory: everything in it is lost when the machine stops"),
    "overlay": (Level.WARNING, "a container's own layer: everything in it goes with the container"),
}
"""By the kernel's name: where a spool should not live, and why."""

FSYNC: Final = ((0.25, Level.PROBLEM), (0.1, Level.WARNING))
"""Seconds of the median: from there on, the level. Meta wants a median answer within 250 ms, and each
acknowledgement waits for one such write."""

SLOW_LOOKUP_SECONDS: Final = 1.0
"""A name server that takes longer is about to fail, or the first of several does not answer."""

OLDEST_WARNING_SECONDS: Final = 600.0
"""A delivery that has waited so long has failed at least four times on the default schedule."""

LATE_CLOCK_SECONDS: Final = 1.0
"""Of the kernel's own bound on its error."""

RECENT_SECONDS: Final = 86_400.0
"""A refusal that is older is history: Meta has come back many times since."""

ADMITTED_LATELY_SECONDS: Final = 600.0
"""Between a refusal and the nearest connection that was admitted: Meta does not stay away for longer where
anything happens at all, so beyond it one stands for before and the other for after a change."""

FEW_NOTIFICATIONS: Final = 100
"""With fewer on record, "safe to require" is said with a caution."""
