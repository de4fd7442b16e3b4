"""What the edge tells of itself: at the admin port, in the gauges, and in the log."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.serialization import Encoding
from structlog.testing import capture_logs

from gateway.core.identity import Identity, LeafSummary, Refusal
from gateway.core.identity import Reason as Why
from gateway.process.edge import LOOK_EVERY_SECONDS, Edge
from gateway.process.generation import Generation, build_generation
from gateway.settings.load import load_settings
from gateway.simulator.pki import Issued, authority, make_pki, revocation_list
from gateway.telemetry.journal import Journal
from gateway.telemetry.last_seen import LastSeen
from gateway.telemetry.metrics import Metrics
from gateway.tls.refusals import RefusalLedger
from tests.stories.rig import APP_SECRET, Config, Rig
from tests.tls.test_refusals import Clock, Lines

DAY = timedelta(days=1)
DAY_MS = 86_400_000
KEY = bytes(range(32))
LEAF = LeafSummary(subject="CN=x", issuer="CN=y", serial="01", sha256="ab", not_after_ms=0)


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


class Site:
    """A configuration on disk, and an edge that reads it."""

    def __init__(self, directory: Path, **meta: Any) -> None:
        self.rig = Rig(directory=directory, pki=make_pki(directory / "certs"))
        self.offset_ms = 0
        self.generation = self.load(**meta)
        self.journal = Journal(last_seen=LastSeen(key=KEY))
        self.path = directory / "last-seen.json"
        self.edge = self.make()

    def load(self, *, client_certificate: str = "required", **meta: object) -> Generation:
        def change(config: Config) -> None:
            config["tls"]["clients"]["meta"] |= meta
            config["apps"]["main"]["client_certificate"] = client_certificate

        self.rig.write(targets={"support": "http://127.0.0.1:9/"}, change=change)
        self.generation = build_generation(load_settings(self.rig.config, environ=os.environ))
        return self.generation

    def make(self) -> Edge:
        return Edge(
            self.journal,
            generation=lambda: self.generation,
            last_seen_path=self.path,
            now_ms=lambda: now_ms() + self.offset_ms,
        )

    def admit(self, *, at_ms: int, ends_ms: int | None = None) -> str:
        """Have Meta's root admit a client; return the root's SHA-256."""
        (anchor,) = self.generation.context.trust["meta"].anchors
        leaf = LeafSummary(
            subject="CN=x",
            issuer="CN=y",
            serial="01",
            sha256="ab",
            not_after_ms=ends_ms or now_ms() + 90 * DAY_MS,
        )
        identity = Identity(clients=frozenset({"meta"}), name="x", leaf=leaf, anchor_sha256=anchor.sha256)
        self.journal.last_seen.admit(identity, at_ms)
        self.journal.last_seen.leave(identity, at_ms)
        return anchor.sha256

    def report(self) -> Any:
        """Return what the admin port would answer."""
        return json.loads(json.dumps(self.edge.report()))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def staged_site(tmp_path: Path, issued: Issued) -> Site:
    (tmp_path / "next.pem").write_bytes(issued.pem)
    return Site(tmp_path, staged_anchors=["next.pem"])


def test_an_edge_that_has_seen_nobody(site: Site) -> None:
    report = site.report()
    (anchor,) = report["anchors"]
    assert (anchor["client"], anchor["staged"], anchor["last_seen_at"]) == ("meta", False, None)
    assert "CN=" in anchor["subject"]
    assert report["secrets"] == [{"app": "main", "index": 0, "last_used_at": None}]
    assert [one["name"] for one in report["certificates"]] == ["server", anchor["sha256"][:16]]
    assert report["certificates"][0]["days_left"] == 396
    assert report["apps"] == {
        "main": {"client_certificate": "required", "recent": {"notifications": 0, "without_accepted": 0}}
    }
    assert report["revocation_lists"] == report["refusals"] == []


def test_an_edge_that_has_seen_meta(site: Site) -> None:
    sha256 = site.admit(at_ms=1_795_000_000_000)
    site.journal.last_seen.secrets["main", APP_SECRET] = 1_795_000_001_000
    site.journal.recent["main"].add(accepted=True)
    site.journal.recent["main"].add(accepted=False)
    report = site.report()
    assert report["anchors"][0]["last_seen_at"] == "2026-11-18T11:06:40.000Z"
    assert report["secrets"][0]["last_used_at"] == "2026-11-18T11:06:41.000Z"
    assert report["certificates"][-1]["name"] == "client:meta"
    assert report["certificates"][-1]["days_left"] in (89, 90)
    assert report["apps"]["main"]["recent"] == {"notifications": 2, "without_accepted": 1}
    metrics = Metrics()
    site.edge.set_gauges(metrics)
    sample = metrics.registry.get_sample_value
    assert sample(
        "meta_gateway_trust_anchor_last_seen_timestamp_seconds", {"anchor": sha256[:16]}
    ) == pytest.approx(1_795_000_000)
    assert sample(
        "meta_gateway_signature_secret_last_used_timestamp_seconds", {"app": "main", "secret": "0"}
    ) == pytest.approx(1_795_000_001)
    for name in ("server", sha256[:16], "client:meta"):
        assert sample("meta_gateway_certificate_expiry_timestamp_seconds", {"certificate": name}), name
    assert APP_SECRET.decode() not in json.dumps(report) + metrics.render().decode()


def test_a_refusal_is_shown_with_whom_it_claims_to_be_and_what_a_staged_anchor_says(site: Site) -> None:
    ledger = RefusalLedger(
        metrics=Metrics(),
        log=Lines(),
        clock=Clock(),
        ledger=site.journal.ledger,
        now_ms=lambda: 1_795_000_000_000,
    )
    ledger.refused(Refusal(reason=Why.PROTOCOL, detail="http request"), address="192.0.2.1", port=1)
    refusal = Refusal(
        reason=Why.UNKNOWN_ISSUER, detail="X509 error 20", leaf=LEAF, claims="meta",
        staged="would be admitted by meta 0123456789abcdef", would_admit="meta 0123456789abcdef",
    )  # fmt: skip
    ledger.refused(refusal, address="192.0.2.2", port=2)
    newest, oldest = site.report()["refusals"]
    assert newest == {
        "at": "2026-11-18T11:06:40.000Z", "kind": "connection", "address": "192.0.2.2",
        "reason": "unknown_issuer", "detail": "X509 error 20", "subject": "CN=x", "issuer": "CN=y",
        "serial": "01", "sha256": "ab", "claims": "meta", "claims_meta": True,
        "staged": "meta 0123456789abcdef",
        "staged_says": "would be admitted by meta 0123456789abcdef", "connection": "closed", "app": None,
        "status": None, "proved": False,
    }  # fmt: skip
    assert (oldest["reason"], oldest["claims_meta"], oldest["subject"]) == ("protocol", False, None)


def test_staged_anchors_and_lists_are_shown(tmp_path: Path) -> None:
    issued = authority("Next")
    site = staged_site(tmp_path, issued)
    crl = revocation_list(
        issued, this_update=datetime.now(UTC) - 9 * DAY, next_update=datetime.now(UTC) - DAY
    )
    (tmp_path / "next.crl").write_bytes(crl.public_bytes(Encoding.PEM))
    site.load(staged_anchors=["next.pem"], revocation_lists=["next.crl"], revocation_strict=True)
    report = site.report()
    assert [one["staged"] for one in report["anchors"]] == [False, True]
    (one,) = report["revocation_lists"]
    assert (one["client"], one["revoked"], one["known_issuer"], one["strict"]) == ("meta", 0, True, True)
    assert one["outdated"].startswith("expired on ")
    assert one["this_update"] < one["next_update"]


def test_a_reload_changes_what_is_configured_and_nothing_that_is_remembered(site: Site) -> None:
    sha256 = site.admit(at_ms=1_795_000_000_000)
    site.journal.last_seen.secrets["main", APP_SECRET] = 1
    (site.rig.directory / "next.pem").write_bytes(authority("Next").pem)
    site.load(client_certificate="report", trust_anchors=[str(site.rig.pki.meta_ca), "next.pem"])
    report = site.report()
    assert [one["last_seen_at"] is not None for one in report["anchors"]] == [True, False]
    assert report["anchors"][0]["sha256"] == sha256
    assert report["apps"]["main"]["client_certificate"] == "report"
    # An anchor that is gone leaves no series behind.
    site.load(trust_anchors=["next.pem"])
    metrics = Metrics()
    site.edge.set_gauges(metrics)
    assert sha256[:16] not in metrics.render().decode()


async def test_dates_are_reminded_of_at_the_start_and_as_they_come(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    soon = authority("Ending soon", not_after=datetime.now(UTC) + 20 * DAY)
    site = staged_site(tmp_path, soon)
    site.admit(at_ms=1, ends_ms=now_ms() + 5 * DAY_MS // 2)
    site.edge.restore()  # nothing to store: a thread at work would let the clock jump
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.edge.watch)
            await trio.sleep(LOOK_EVERY_SECONDS * 5)
            assert len(lines) == 2, "once each"
            site.offset_ms = 7 * DAY_MS
            await trio.sleep(LOOK_EVERY_SECONDS * 5)
            nursery.cancel_scope.cancel()
    assert [(line["event"], line["role"], line.get("days_left")) for line in lines] == [
        ("certificate_expires_soon", "staged", 19),
        ("certificate_expires_soon", "client", 2),
        ("certificate_expires_soon", "staged", 12),
        ("certificate_expired", "client", None),
    ]
    assert "Ending soon" in lines[0]["subject"]


async def test_an_outdated_list_is_told_of_at_the_start_and_daily(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    site = Site(tmp_path)
    root = authority("With a list")
    crl = revocation_list(root, this_update=datetime.now(UTC) - 9 * DAY, next_update=datetime.now(UTC) - DAY)
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "root.crl").write_bytes(crl.public_bytes(Encoding.DER))
    site.load(trust_anchors=["root.pem"], revocation_lists=["root.crl"])
    site.edge.restore()
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.edge.watch)
            for day in range(3):
                site.offset_ms = day * DAY_MS
                await trio.sleep(LOOK_EVERY_SECONDS * 3)
            nursery.cancel_scope.cancel()
    assert [line["event"] for line in lines] == ["revocation_list_outdated"] * 3
    assert {line["log_level"] for line in lines} == {"error"}


async def test_times_are_stored_now_and_again_and_at_the_end(site: Site) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.edge.watch)
        await trio.testing.wait_all_tasks_blocked()
        sha256 = site.admit(at_ms=5)
        nursery.cancel_scope.cancel()
    site.journal = Journal(last_seen=LastSeen(key=KEY))
    again = site.make()
    again.restore()
    assert site.journal.last_seen.anchor("meta", sha256) == 5
    before = site.path.stat().st_mtime_ns
    async with trio.open_nursery() as nursery:
        nursery.start_soon(again.watch)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert site.path.stat().st_mtime_ns == before, "what has not changed is not written"


async def test_a_file_of_times_that_cannot_be_used_is_told_and_ends_nothing(site: Site) -> None:
    site.path.write_bytes(b"{")
    site.path.chmod(0o600)
    with capture_logs() as lines:
        site.edge.restore()
    assert [line["event"] for line in lines] == ["last_seen_unusable"]
    site.path.unlink()
    site.path.mkdir()
    site.admit(at_ms=5)
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.edge.watch)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert {line["event"] for line in lines} == {"last_seen_unusable"}
