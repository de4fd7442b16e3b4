"""The edge of a running gateway as its operator sees it: whom it trusts, since when, until when, and whom it
has turned away.

What is remembered is the journal's, and outlives reloads; what is configured is the generation's, which a
reload replaces. Here they meet: for `GET /api/edge`, for the gauges, and for the reminders in the log.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import trio

from gateway.core.expiry import DAY_MS, Reminders, Term
from gateway.delivery.message import rfc3339
from gateway.process.generation import Generation
from gateway.settings.model import META_CLIENT
from gateway.telemetry.journal import Journal
from gateway.telemetry.ledger import Entry
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.state_file import StateFileError, write_state
from gateway.tls.revocation import outdated

LOOK_EVERY_SECONDS: Final = 60.0
"""How often dates are looked at and times are stored: what a crash may lose of them."""

LISTS_EVERY_MS: Final = DAY_MS
"""How often the log says that a revocation list is out of date."""

log = get_logger("edge")


class Edge:
    """One a process."""

    def __init__(
        self,
        journal: Journal,
        *,
        generation: Callable[[], Generation],
        last_seen_path: Path,
        now_ms: Callable[[], int],
    ) -> None:
        """`generation` is asked every time: a reload changes what it returns."""
        self._journal = journal
        self._generation = generation
        self._path = last_seen_path
        self._now_ms = now_ms
        self._reminders = Reminders()
        self._lists_told: dict[Path, int] = {}
        self._written = b""

    def restore(self, *, others: Iterable[Path] = ()) -> None:
        """Take in what a former life of the process has stored, and what `others` have."""
        for path in (self._path, *others):
            try:
                self._journal.last_seen.load(path)
            except StateFileError as error:
                log.warning("last_seen_unusable", error=str(error))
        self._written = self._journal.last_seen.content()

    async def watch(self) -> None:
        """Remind of dates, at once and as time goes by; store times, now and again and when it is ended."""
        try:
            while True:
                self._remind()
                await self._store()
                await trio.sleep(LOOK_EVERY_SECONDS)
        finally:
            # What is a few hundred bytes is worth the moment: the last minute is what a deployment asks for.
            with trio.CancelScope(shield=True):
                await self._store()

    async def _store(self) -> None:
        self._journal.last_seen.touch(self._now_ms())
        content = self._journal.last_seen.content()
        if content == self._written:
            return
        try:
            await trio.to_thread.run_sync(write_state, self._path, content)
        except StateFileError as error:
            log.warning("last_seen_unusable", error=str(error))
        else:
            self._written = content

    def _remind(self) -> None:
        now_ms = self._now_ms()
        for reminder in self._reminders.due(self.terms(), now_ms=now_ms):
            term = reminder.term
            if reminder.ended:
                log.warning(
                    "certificate_expired",
                    certificate=term.name,
                    role=term.role,
                    subject=term.subject,
                    not_after=rfc3339(term.not_after_ms),
                )
            else:
                log.warning(
                    "certificate_expires_soon",
                    certificate=term.name,
                    role=term.role,
                    subject=term.subject,
                    not_after=rfc3339(term.not_after_ms),
                    days_left=reminder.days_left,
                )
        self._remind_of_lists(now_ms)

    def _remind_of_lists(self, now_ms: int) -> None:
        told, self._lists_told = self._lists_told, {}
        for one in self._revocation_lists(now_ms):
            if not one["outdated"]:
                continue
            path = Path(one["path"])
            at_ms = told.get(path)
            if at_ms is None or now_ms - at_ms >= LISTS_EVERY_MS:
                at_ms = now_ms
                log.error(
                    "revocation_list_outdated",
                    client=one["client"],
                    path=one["path"],
                    issuer=one["issuer"],
                    state=one["outdated"],
                    strict=one["strict"],
                )
            self._lists_told[path] = at_ms

    def terms(self) -> tuple[Term, ...]:
        """Return every certificate that ends: configured, staged, and last seen of each client."""
        configured = [
            Term(name=one.name, role=one.role, subject=one.subject, not_after_ms=one.not_after_ms)
            for one in self._generation().terms
        ]
        entries = self._generation().settings.tls.clients
        seen = [
            Term(name=f"client:{name}", role="client", subject="", not_after_ms=client.not_after_ms)
            for name, client in self._journal.last_seen.clients()
            if name in entries
        ]
        return (*configured, *seen)

    def set_gauges(self, metrics: Metrics) -> None:
        """Bring the gauges up to date: on a scrape, so that nothing of it costs a request."""
        self._journal.last_seen.touch(self._now_ms())
        metrics.certificate_expiry_timestamp_seconds.clear()
        for term in self.terms():
            metrics.certificate_expiry_timestamp_seconds.labels(term.name).set(term.not_after_ms / 1000)
        metrics.trust_anchor_last_seen_timestamp_seconds.clear()
        for sha256, at_ms in self._anchors_seen().items():
            metrics.trust_anchor_last_seen_timestamp_seconds.labels(sha256[:16]).set(at_ms / 1000)
        metrics.signature_secret_last_used_timestamp_seconds.clear()
        for app, index, used_ms in self._secrets():
            if used_ms is not None:
                gauge = metrics.signature_secret_last_used_timestamp_seconds.labels(app, str(index))
                gauge.set(used_ms / 1000)

    def report(self) -> Mapping[str, object]:
        """Return what `GET /api/edge` answers, fit for JSON; see `admin.reports.EdgeReport`."""
        now_ms = self._now_ms()
        self._journal.last_seen.touch(now_ms)
        apps = self._generation().settings.apps
        recent = self._journal.recent
        return {
            "anchors": list(self._anchors()),
            "secrets": [
                {"app": app, "index": index, "last_used_at": _moment(used_ms)}
                for app, index, used_ms in self._secrets()
            ],
            "certificates": [
                {
                    "name": term.name,
                    "not_after": rfc3339(term.not_after_ms),
                    "days_left": (term.not_after_ms - now_ms) // DAY_MS,
                }
                for term in self.terms()
            ],
            "revocation_lists": list(self._revocation_lists(now_ms)),
            "apps": {
                name: {
                    "client_certificate": app.client_certificate,
                    "recent": {
                        "notifications": recent[name].notifications if name in recent else 0,
                        "without_accepted": recent[name].without_accepted if name in recent else 0,
                    },
                }
                for name, app in apps.items()
            },
            "refusals": [_refusal(entry) for entry in self._journal.ledger.newest_first()],
        }

    def _anchors(self) -> Iterator[Mapping[str, object]]:
        for client, trust in self._generation().context.trust.items():
            for anchor in (*trust.anchors, *trust.staged):
                certificate = anchor.certificate
                yield {
                    "client": client,
                    "sha256": anchor.sha256,
                    "subject": certificate.subject.rfc4514_string(),
                    "not_after": rfc3339(int(certificate.not_valid_after_utc.timestamp() * 1000)),
                    "last_seen_at": _moment(self._journal.last_seen.anchor(client, anchor.sha256)),
                    "staged": anchor in trust.staged,
                }

    def _anchors_seen(self) -> Mapping[str, int]:
        """When each anchor was last seen, for whatever entry: the metric knows no entries."""
        seen: dict[str, int] = {}
        for client, trust in self._generation().context.trust.items():
            for anchor in trust.anchors:
                at_ms = self._journal.last_seen.anchor(client, anchor.sha256)
                if at_ms is not None:
                    seen[anchor.sha256] = max(at_ms, seen.get(anchor.sha256, 0))
        return seen

    def _secrets(self) -> Iterator[tuple[str, int, int | None]]:
        for name, app in self._generation().apps.items():
            for index, secret in enumerate(app.secrets):
                yield name, index, self._journal.last_seen.secret(name, secret)

    def _revocation_lists(self, now_ms: int) -> Iterator[dict[str, Any]]:
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        settings = self._generation().settings.tls.clients
        for client, trust in self._generation().context.trust.items():
            for one in trust.lists:
                yield {
                    "client": client,
                    "path": str(one.path),
                    "issuer": one.issuer.rfc4514_string(),
                    "this_update": rfc3339(int(one.this_update.timestamp() * 1000)),
                    "next_update": rfc3339(int(one.next_update.timestamp() * 1000))
                    if one.next_update is not None
                    else None,
                    "revoked": len(one.serials),
                    "outdated": outdated(one, now),
                    "known_issuer": one.known_issuer,
                    "strict": settings[client].revocation_strict,
                }


def _moment(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def _refusal(entry: Entry) -> Mapping[str, object]:
    leaf = entry.leaf
    return {
        "at": rfc3339(entry.at_ms),
        "kind": entry.kind,
        "address": entry.address,
        "reason": entry.reason,
        "detail": entry.detail,
        "subject": leaf.subject if leaf else None,
        "issuer": leaf.issuer if leaf else None,
        "serial": leaf.serial if leaf else None,
        "sha256": leaf.sha256 if leaf else None,
        "claims": entry.claims,
        "claims_meta": entry.claims == META_CLIENT,
        "staged": entry.would_admit,
        "staged_says": entry.staged,
        "connection": entry.connection,
        "app": entry.app,
        "status": entry.status,
        "proved": entry.proved,
    }
