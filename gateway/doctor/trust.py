"""Judge: the gateway's own certificate, and the anchors that its clients are judged by. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography.x509 import Name
from cryptography.x509.oid import NameOID

from gateway.doctor.advice import ANCHOR_ADVICE, CLIENT_EXPIRY, EXPIRY, FULL_CHAIN, GET_META_CA
from gateway.doctor.finding import Area, Finding, Level, plural, say_ago, say_names
from gateway.doctor.observed import EDGE, AnchorFile, ListFile, Observations
from gateway.doctor.reading import mappings, number, text, time
from gateway.tls.certificate import Description
from gateway.tls.names import covers
from gateway.tls.remarks import MANY_ANCHORS

_CLIENT: Final = "client:"
"""So the running gateway names the certificate of a client entry (`certificate_expiry_timestamp_seconds`)."""


def judge_certificate(seen: Observations) -> Iterator[Finding]:
    """The chain that the gateway presents: days left, names."""
    chain = seen.material.chain
    if not chain:
        return  # `check` says why
    own = chain[0]
    level, left = judge_term(own, seen.now)
    yield Finding(
        code="server_certificate",
        level=level,
        area=Area.CERTIFICATE,
        what=f"{short_name(own)}: {left}",
        why="" if level is Level.OK else "without a valid one Meta delivers nothing",
        remedy="" if level is Level.OK else "renew it; see whether the renewal ran (certbot renew --dry-run)",
        facts=(
            ("subject", own.subject),
            ("names", say_names(own.names)),
            ("issuer", own.issuer),
            ("key", own.key),
            ("SHA-256", own.sha256_colons),
        ),
    )
    for intermediate in chain[1:]:
        level, left = judge_term(intermediate, seen.now)
        yield Finding(
            code="server_intermediate",
            level=level,
            area=Area.CERTIFICATE,
            what=f"issued by {short_name(intermediate)}: {left}",
            remedy="" if level is Level.OK else FULL_CHAIN,
        )
    host = seen.plan.public_host
    if host is not None and not covers(own.names, host):
        yield Finding(
            code="server_name",
            level=Level.PROBLEM,
            area=Area.CERTIFICATE,
            what=f"the certificate is not for {host}, the host of listen.public_url",
            why=f"it is for {say_names(own.names)}: Meta refuses the connection",
            remedy=f"get a certificate for {host}, or correct listen.public_url",
        )


def judge_anchors(seen: Observations) -> Iterator[Finding]:
    """Every anchor that is loaded, staged ones too, and what is known of Meta's."""
    edge = seen.running.content(EDGE) if seen.running is not None else None
    last_seen = _last_seen(edge) if edge is not None else None
    for client in dict.fromkeys(anchor.client for anchor in seen.material.anchors):
        of_it = [one for one in seen.material.anchors if one.client == client]
        live = [one for one in of_it if not one.staged]
        if len(live) > MANY_ANCHORS:
            yield _bundle(client, live)
            continue
        for anchor in of_it:
            yield _judge_anchor(anchor, last_seen, seen)
        if client in seen.plan.meta_clients:
            yield from _advise(client, live)
        if last_seen is not None:
            yield from _judge_unused(client, live, last_seen)
    yield from map(_judge_list, seen.material.lists)
    if edge is not None:
        yield from _judge_clients_certificates(edge)


def out_of_term(certificate: Description, now: datetime) -> bool:
    """Say whether a certificate is not valid now."""
    return not certificate.not_before <= now < certificate.not_after


def judge_term(certificate: Description, now: datetime) -> tuple[Level, str]:
    """Judge how long a certificate is valid yet, and say it."""
    if now < certificate.not_before:
        return Level.PROBLEM, f"not valid before {certificate.not_before:%Y-%m-%d %H:%M} UTC"
    until = f"until {certificate.not_after:%Y-%m-%d}"
    if now >= certificate.not_after:
        return Level.PROBLEM, f"expired on {certificate.not_after:%Y-%m-%d}"
    left, term = certificate.not_after - now, certificate.not_after - certificate.not_before
    said = f"{left.days} days left" if left.days != 1 else "1 day left"
    for days, share, level in EXPIRY:
        if left < min(timedelta(days=days), term * share):
            return level, f"{said}, {until}"
    return Level.OK, f"{said}, {until}"


def _judge_anchor(
    anchor: AnchorFile, last_seen: Mapping[tuple[str, str], datetime | None] | None, seen: Observations
) -> Finding:
    level, left = judge_term(anchor.description, seen.now)
    remedy = "" if level is Level.OK else "add its successor beside it, or under staged_anchors first"
    if level is not Level.OK and (anchor.staged or _has_successor(anchor, seen)):
        # A rotation: nobody is locked out when it goes.
        level, remedy = Level.NOTE, "take it out when it has admitted nobody for weeks"
    facts = [
        ("subject", anchor.description.subject),
        ("SHA-256", anchor.description.sha256_colons),
        ("file", str(anchor.path)),
    ]
    key = (anchor.client, anchor.description.sha256)
    if anchor.staged:
        facts.append(("admits", "nobody: it is staged"))
    elif last_seen is not None:
        if key not in last_seen:
            facts.append(("admitted", "not loaded: the running gateway has other anchors"))
        else:
            at = last_seen[key]
            facts.append(("admitted", say_ago(at, seen.now) if at else "nobody on record"))
    return Finding(
        code="anchor",
        level=level,
        area=Area.ANCHORS,
        what=f"{anchor.client}: {short_name(anchor.description)}: {left}",
        remedy=remedy,
        facts=tuple(facts),
    )


def _has_successor(anchor: AnchorFile, seen: Observations) -> bool:
    """Say whether another live anchor of the same client is good for longer."""
    return any(
        judge_term(one.description, seen.now)[0] is Level.OK
        for one in seen.material.anchors
        if one.client == anchor.client and not one.staged
    )


def _bundle(client: str, live: Sequence[AnchorFile]) -> Finding:
    return Finding(
        code="anchors_bundle",
        level=Level.WARNING,
        area=Area.ANCHORS,
        what=f"{client}: {len(live)} anchors, as in a bundle of public CAs",
        why="anybody may get a client certificate under one of them; the name alone keeps strangers out then",
        remedy=GET_META_CA.format(client=client),
        facts=(("file", str(live[0].path)),),
    )


def _judge_list(one: ListFile) -> Finding:
    until = f"the next is due on {one.next_update:%Y-%m-%d}" if one.next_update else "no date for the next"
    what = f"{one.client}: revocation list, {plural(one.revoked, 'certificate')} revoked, {until}"
    facts = (("issuer", one.issuer), ("file", str(one.path)))
    if not one.outdated:
        return Finding(code="revocation_list", level=Level.OK, area=Area.ANCHORS, what=what, facts=facts)
    return Finding(
        code="revocation_list",
        level=Level.PROBLEM if one.strict else Level.WARNING,
        area=Area.ANCHORS,
        what=f"{one.client}: the revocation list {one.outdated}",
        why="revocation_strict is on: the clients of its CA are refused"
        if one.strict
        else "it goes on counting as it is, and nothing newer is known",
        remedy="fetch the CA's current list, and see what should have fetched it",
        facts=facts,
    )


def _judge_clients_certificates(edge: Mapping[str, object]) -> Iterator[Finding]:
    """The last certificate that each entry has admitted: Meta renews its own, and may be late."""
    for one in mappings(edge, "certificates"):
        name = text(one, "name")
        until = time(one, "not_after")
        if not name.startswith(_CLIENT) or until is None:
            continue
        days = int(number(one, "days_left"))
        level = next((level for most, level in CLIENT_EXPIRY if days < most), Level.OK)
        yield Finding(
            code="client_certificate",
            level=level,
            area=Area.ANCHORS,
            what=f"{name.removeprefix(_CLIENT)}: the client certificate last admitted has {days} days left,"
            f" until {until:%Y-%m-%d}",
            remedy=""
            if level is Level.OK
            else "its owner renews it; see that the CA of the next one is among the anchors, or staged",
        )


def _last_seen(edge: Mapping[str, object]) -> dict[tuple[str, str], datetime | None]:
    return {
        (text(one, "client"), text(one, "sha256").lower().replace(":", "")): time(one, "last_seen_at")
        for one in mappings(edge, "anchors")
    }


def _judge_unused(
    client: str, live: Sequence[AnchorFile], last_seen: Mapping[tuple[str, str], datetime | None]
) -> Iterator[Finding]:
    admitted = [last_seen.get((client, anchor.description.sha256)) for anchor in live]
    if any(admitted) and not all(admitted):
        idle = [
            short_name(anchor.description) for anchor, at in zip(live, admitted, strict=True) if at is None
        ]
        yield Finding(
            code="anchor_unused",
            level=Level.NOTE,
            area=Area.ANCHORS,
            what=f"{client}: has admitted nobody on record, while others have: {', '.join(idle)}",
            why="an old anchor that nobody needs lets in whoever its CA certifies",
            remedy="take it out once that has been so for weeks, unless it is the next one",
        )


def _advise(client: str, live: Sequence[AnchorFile]) -> Iterator[Finding]:
    for advice in ANCHOR_ADVICE:
        of_it = [one for one in live if _is_of(one, advice.organization)]
        if not of_it:
            continue
        code, level, what, why, remedy = advice.only if len(of_it) == len(live) else advice.beside
        yield Finding(
            code=code,
            level=level,
            area=Area.ANCHORS,
            what=what.format(client=client),
            why=why,
            remedy=remedy.format(client=client),
        )


def _is_of(anchor: AnchorFile, organization: str) -> bool:
    return any(one.lower().startswith(organization) for one in anchor.organizations)


def short_name(certificate: Description) -> str:
    """Return the common name of a certificate, or whatever else its subject holds."""
    try:
        names = Name.from_rfc4514_string(certificate.subject).get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        names = []
    return str(names[0].value) if names else certificate.subject or "(no subject)"
