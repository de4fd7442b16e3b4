"""`gateway status`: what is the matter, and how every target is, at a glance."""

import sys
import threading
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli.output import json_text, options, out, out_json
from gateway.clock import unix_ms
from gateway.errors import GatewayError, PeerError, UsageError

if TYPE_CHECKING:
    from gateway.settings.model import Settings
    from gateway.settings.values import Address

FINGERPRINT_LENGTH: Final = 16
"""Of a SHA-256 in hexadecimal: by so much of it an anchor is named, here as in log and metrics."""
WATCH_SECONDS: Final = 2.0
"""Between two looks: as often as a person reads a table anew, and nothing to the gateway."""


def command(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it anew every 2 seconds, until Ctrl-C.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it for scripts; with --watch, one line each time.")
    ] = False,
) -> None:
    """Say what is the matter (Meta silent, gateway refusing, target failing), then how every target is: what
    waits and for how long, its breaker, the next attempt and give-up, dead letters; then certificates with
    days left.

    The running gateway is asked through its admin port. Where none runs, that is said, and what the spool and
    the files show. Where several gateways share a database it is of all of them, and who does not answer is
    named.
    """
    from gateway.cli.admin_client import settings_of

    settings = settings_of(options.config)
    if not watch:
        _show(look(settings), as_json=as_json)
        return
    if as_json:
        for seen in _looks(settings):
            out(json_text(seen))
            sys.stdout.flush()
    elif not sys.stdout.isatty():
        raise UsageError(
            "--watch draws on a terminal, and this is none", remedy="add --json: a line each time"
        )
    else:
        from gateway.cli.status.report import draw

        draw(_looks(settings))


def _show(seen: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        out_json(seen)
    elif sys.stdout.isatty():
        from gateway.cli.status.report import show

        show(seen)
    else:
        from gateway.cli.status.report import lines

        for line in lines(seen):
            out(line)


def _looks(settings: "Settings") -> Iterator[dict[str, Any]]:
    """Look again and again. The spool of a stopped gateway is looked at once: its lock must not stand in the
    way of a start."""
    seen = look(settings)
    while True:
        yield seen
        threading.Event().wait(WATCH_SECONDS)
        try:
            now = look(settings, alone=False)
        except PeerError:  # it stopped just then, or is about to answer again
            now = _nothing()
        # What the spool held, and certificates, are as they were; since when it is stopped is not known.
        seen = now if now["running"] else {**seen, **_STOPPED, "at": now["at"]}


def look(settings: "Settings", *, alone: bool = True) -> dict[str, Any]:
    """Ask the running gateway; where none runs, look at its files, if `alone`.

    `{"running", "at", "ready": {CHECK: DETAIL} | null, "remarks": {CHECK: DETAIL}, "conditions", "targets",
    "workers", "gateways", "certificates"}`; conditions as in `/api/ledger`, targets, workers and gateways as
    in `/api/status`, `ready` the checks that fail, `remarks` what those that do not fail have to say;
    certificates as in `/api/edge`, with `role` (`server`, `anchor`, `staged`, `client`), `client`, `subject`.

    Raises:
        PeerError: something listens on the admin port, and does not answer as a gateway does.
        UsageError: another gateway answers there.
    """
    from gateway.cli.admin_client import is_listening, refuse_stranger

    address = settings.admin.address
    if is_listening(address):
        refuse_stranger(settings)
        return _ask(address)
    found = _nothing()
    if alone:
        found["targets"], found["gateways"] = _targets_alone(settings)
        found["certificates"] = list(_certificates_alone(settings))
    return found


_STOPPED: Final[Mapping[str, Any]] = {
    "running": False,
    "ready": None,
    "remarks": {},
    "conditions": [],
    "workers": [],
    "gateways": [],
}


def _nothing() -> dict[str, Any]:
    return {**_STOPPED, "at": _now(), "targets": {}, "certificates": []}


def _now() -> str:
    from gateway.delivery.message import rfc3339

    return rfc3339(unix_ms())


_DETAIL_CHARACTERS: Final = 500
"""Of what the admin port says is wrong: some lines."""


def _ask(address: "Address") -> dict[str, Any]:
    from gateway.cli.admin_client import get_json

    def get(path: str, key: str) -> dict[str, Any]:
        status, content = get_json(address, path)
        if status != HTTPStatus.OK and (detail := str(content.get("detail", ""))[:_DETAIL_CHARACTERS]):
            # What it says itself is the matter: that its database does not answer, say.
            raise PeerError(f"the gateway runs, and cannot tell how things are: {detail}")
        if status != HTTPStatus.OK or key not in content:
            raise PeerError(
                f"the admin port answered {status} to {path}",
                remedy="see what listens there: it is no gateway, an older one, or not well; gateway doctor",
            )
        return content

    status, ledger, edge = (
        get("/api/status", "targets"),
        get("/api/ledger", "conditions"),
        get("/api/edge", "certificates"),
    )
    _, checks = get_json(address, "/readyz")
    anchors = {anchor["sha256"][:FINGERPRINT_LENGTH]: anchor for anchor in edge.get("anchors", [])}
    return {
        "running": True,
        "at": ledger["at"],
        "ready": {name: check["detail"] for name, check in checks.items() if not check.get("ok", True)},
        "remarks": {
            name: check["detail"]
            for name, check in checks.items()
            if check.get("ok", True) and check.get("detail")
        },
        "conditions": ledger["conditions"],
        "targets": status["targets"],
        "workers": status.get("workers", []),
        "gateways": status.get("gateways", []),
        "certificates": [
            {**one, **_whose(one["name"], anchors.get(one["name"], {}))} for one in edge["certificates"]
        ],
    }


def _whose(name: str, anchor: Mapping[str, Any]) -> dict[str, Any]:
    """Say whose a certificate of `/api/edge` is. Its name is `server`, `client:NAME` or a fingerprint."""
    if anchor:
        role = "staged" if anchor["staged"] else "anchor"
        return {"role": role, "client": anchor["client"], "subject": anchor["subject"]}
    role, _, client = name.partition(":")
    return {"role": role, "client": client or None, "subject": ""}


def _targets_alone(settings: "Settings") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from gateway.cli.targets.commands import look_without_gateway

    if not settings.spool.directory.exists():
        return {}, []
    return look_without_gateway(settings)


def _certificates_alone(settings: "Settings") -> Iterator[dict[str, Any]]:
    """Read the certificates of the configuration; what cannot be read is left out: gateway check says why."""
    from gateway.core.expiry import DAY_MS
    from gateway.delivery.message import rfc3339
    from gateway.tls.certificate import describe, read_certificates

    named: list[tuple[str, str | None, Path]] = [("server", None, settings.tls.certificate)]
    named += [
        (role, client, path)
        for client, entry in settings.tls.clients.items()
        for role, paths in (("anchor", entry.trust_anchors), ("staged", entry.staged_anchors))
        for path in paths
        if path.is_file()
    ]
    for role, client, path in named:
        try:
            certificate = read_certificates(path)[0]
        except GatewayError:
            continue
        described = describe(certificate)
        ends_ms = int(certificate.not_valid_after_utc.timestamp() * 1000)
        yield {
            "name": role if client is None else described.sha256[:FINGERPRINT_LENGTH],
            "not_after": rfc3339(ends_ms),
            "days_left": (ends_ms - unix_ms()) // DAY_MS,
            "role": role,
            "client": client,
            "subject": described.subject,
        }
