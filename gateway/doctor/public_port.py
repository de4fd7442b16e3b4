"""Judge: what Meta would see of the public port. Pure."""

from collections.abc import Iterator

from gateway.doctor.advice import FULL_CHAIN
from gateway.doctor.finding import Area, Finding, Level, say_names
from gateway.doctor.observed import Observations, Outside
from gateway.doctor.trust import judge_term
from gateway.tls.certificate import Description
from gateway.tls.look import Look
from gateway.tls.names import covers

ASKED_IN_VAIN = 400
"""What an app's path answers to a GET without parameters (contract of the public port)."""


def judge_outside(seen: Observations) -> Iterator[Finding]:
    """Every address that was looked at."""
    if seen.offline:
        return
    if seen.plan.public_host is None and not seen.plan.loopback_only:
        yield Finding(
            code="public_url_missing",
            level=Level.NOTE,
            area=Area.OUTSIDE,
            what="listen.public_url is not stated: only this machine's own port was looked at",
            remedy="write https://HOST as Meta reaches it; the look goes over each of its addresses then",
        )
    if seen.plan.proxied:
        yield Finding(
            code="own_port_proxied",
            level=Level.NOTE,
            area=Area.OUTSIDE,
            what="this machine's own port was not looked at: it listens to load balancers alone",
            why="listen.proxy_protocol demands a header that only the networks of proxy_from may send",
        )
    for outside in seen.outside:
        if outside.look is None:
            yield from _judge_silence(outside, seen)
        else:
            yield from _judge_look(outside, outside.look, seen)


def _judge_silence(outside: Outside, seen: Observations) -> Iterator[Finding]:
    if not outside.public and seen.running is None and outside.fault != "failed":
        return  # said already: no gateway runs
    where = f"{'public address' if outside.public else 'own port'} {outside.address}"
    finding = Finding(
        code="outside_silent",
        level=Level.PROBLEM,
        area=Area.OUTSIDE,
        what=f"{where}: {outside.detail}",
        remedy="see that the gateway runs, and that the port leads to it (ss -ltn, firewall)",
    )
    if not outside.public or outside.ours or outside.fault == "failed":
        yield finding
        return
    # Through NAT a machine often cannot reach its own public address, while the world can.
    level = Level.NOTE if outside.fault == "unreachable" else Level.WARNING
    yield Finding(
        code="outside_not_seen",
        level=level,
        area=Area.OUTSIDE,
        what=f"{where} cannot be seen from here: {outside.detail}",
        why="this machine has no way to that kind of address"
        if outside.fault == "unreachable"
        else "it is not this machine's own: behind NAT that says nothing of how Meta fares",
        remedy="look from another network: openssl s_client -connect HOST:PORT, or verify the callback",
    )


def _judge_look(outside: Outside, look: Look, seen: Observations) -> Iterator[Finding]:
    where = f"{'public address' if outside.public else 'own port'} {outside.address}"
    if not look.chain:
        return
    leaf = look.chain[0]
    findings = [
        *_judge_identity(where, outside, leaf, seen),
        *_judge_chain(where, look, seen),
        *_judge_client(where, outside, look, seen),
    ]
    level, left = judge_term(leaf, seen.now)
    bad = any(finding.level is Level.PROBLEM for finding in findings)
    trusted = "chain complete" if not look.chain_faults else "chain not trusted"
    yield Finding(
        code="outside",
        level=Level.OK if not bad else Level.NOTE,
        area=Area.OUTSIDE,
        what=f"{where}: {look.protocol}, {trusted}, {left}",
        facts=(("shows", leaf.subject), ("without certificate", _said_to_strangers(look, seen))),
    )
    if level is not Level.OK and leaf.sha256 not in {one.sha256 for one in seen.material.chain}:
        yield Finding(
            code="outside_term", level=level, area=Area.OUTSIDE, what=f"{where}: the certificate: {left}"
        )
    yield from findings


def _judge_identity(where: str, outside: Outside, leaf: Description, seen: Observations) -> Iterator[Finding]:
    host = seen.plan.public_host
    if outside.public and host is not None and not covers(leaf.names, host):
        yield Finding(
            code="outside_name",
            level=Level.PROBLEM,
            area=Area.OUTSIDE,
            what=f"{where}: the certificate is not for {host}",
            why=f"it is for {say_names(leaf.names)}: Meta refuses the connection",
            remedy=f"get a certificate for {host}, or correct listen.public_url",
        )
    own = seen.material.chain
    if own and leaf.sha256 != own[0].sha256:
        yield Finding(
            code="outside_another_certificate",
            level=Level.WARNING,
            area=Area.OUTSIDE,
            what=f"{where}: shows another certificate than {seen.material.certificate_path.name} holds",
            why=f"{leaf.subject}, until {leaf.not_after:%Y-%m-%d}: something in front ends TLS, or another"
            " machine answers"
            if outside.public
            else f"it shows one that is valid until {leaf.not_after:%Y-%m-%d}: the file was changed since it"
            " was loaded, or another program listens there",
            remedy="let TLS pass untouched to the gateway" if outside.public else "reload, or restart it",
        )


def _judge_chain(where: str, look: Look, seen: Observations) -> Iterator[Finding]:
    if not look.chain_faults:
        return
    leaf = look.chain[0]
    if leaf.development and seen.plan.loopback_only and seen.plan.public_host is None:
        yield Finding(
            code="outside_development",
            level=Level.NOTE,
            area=Area.OUTSIDE,
            what=f"{where}: the certificate is from a development CA",
            why="fine on this machine alone; Meta refuses it",
        )
        return
    alone = len(look.chain) == 1 and not leaf.self_issued
    yield Finding(
        code="outside_chain",
        level=Level.PROBLEM,
        area=Area.OUTSIDE,
        what=f"{where}: the chain leads to no CA that this machine trusts ({look.chain_faults[0]})",
        why=f"the leaf alone is sent; its issuer is {leaf.issuer}"
        if alone
        else "judged with this machine's trust store, in the place of Meta's",
        remedy=FULL_CHAIN,
    )


def _judge_client(where: str, outside: Outside, look: Look, seen: Observations) -> Iterator[Finding]:
    """Is a client certificate asked for, and what becomes of a client that has none?"""
    if not look.asks_for:
        yield Finding(
            code="outside_asks_nothing",
            level=Level.PROBLEM,
            area=Area.OUTSIDE,
            what=f"{where}: no client certificate is asked for",
            why="something in front ends TLS, or this is not the gateway: Meta's certificate is never seen",
            remedy="let TLS pass untouched to the gateway (an L4 load balancer, not L7)",
        )
    elif look.status is None and seen.plan.handshake == "ask":
        yield Finding(
            code="outside_turned_away",
            level=Level.PROBLEM,
            area=Area.OUTSIDE,
            what=f"{where}: a client without certificate got no answer ({look.ending})",
            why="tls.handshake is `ask`: Meta's verification GET comes without one",
            remedy="see the log (event handshake_refused); after a change of tls.handshake, reload",
        )
    elif look.status is not None and look.status != ASKED_IN_VAIN and outside.public:
        yield Finding(
            code="outside_another_answer",
            level=Level.WARNING,
            area=Area.OUTSIDE,
            what=f"{where}: an app's path answered {look.status}, not {ASKED_IN_VAIN}",
            why="a GET without parameters was sent: the gateway that runs has other paths, or something else"
            " answers",
            remedy="see that public_url leads to this gateway, and that it has loaded this configuration",
        )


def _said_to_strangers(look: Look, seen: Observations) -> str:
    if look.status is None:
        return f"turned away ({look.ending})"
    required = [name for name, policy in seen.plan.apps.items() if policy == "required"]
    if not required:
        return "may verify the callback, and post with a right signature (report)"
    if len(required) == len(seen.plan.apps):
        return "may verify the callback; a POST gets 403"
    return f"may verify the callback; a POST to {', '.join(required)} gets 403"
