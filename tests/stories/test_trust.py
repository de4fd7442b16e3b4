"""Whose certificate counts: a CA on trial, revoked clients, lists that have expired."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.errors import PeerError
from gateway.simulator.client import MetaClient
from gateway.simulator.pki import Issued, authority, chain_pem, client_leaf, revocation_list
from tests.stories.rig import APP_SECRET, PATH, Config, Rig, message, unique_id
from tests.stories.test_reload import serving

DAY = timedelta(days=1)
NOWHERE = {"support": "http://127.0.0.1:9/"}


def client_of(rig: Rig, directory: Path, *chain: Issued) -> MetaClient:
    """Return Meta's side of a connection with another certificate."""
    directory.mkdir(exist_ok=True)
    certificate, key = directory / "client.pem", directory / "client.key"
    certificate.write_bytes(chain_pem(*chain))
    key.write_bytes(chain[0].key_pem)
    return MetaClient(
        rig.public_url, secret=APP_SECRET, ca=rig.pki.server_ca, certificate=certificate, private_key=key
    )


def refusals(rig: Rig) -> list[dict[str, Any]]:
    """Return the refused handshakes of the log."""
    events = [json.loads(line) for line in rig.log.splitlines() if line.startswith("{")]
    return [event for event in events if event["event"] == "handshake_refused"]


async def edge(rig: Rig) -> Any:
    """Ask the admin port what the edge knows."""
    return (await rig.admin_get("/api/edge")).raise_for_status().json()


def meta_entry(**keys: object) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        config["tls"]["clients"]["meta"] |= keys

    return change


async def test_metas_next_ca_is_refused_while_staged_and_the_log_says_that_it_would_be_admitted(
    rig: Rig, tmp_path: Path
) -> None:
    next_ca = authority("Meta-like outbound root CA, next")
    leaf = client_leaf(next_ca)
    (tmp_path / "next.pem").write_bytes(next_ca.pem)
    rig.write(targets=NOWHERE, change=meta_entry(staged_anchors=["next.pem"]))
    async with rig.running():
        async with client_of(rig, tmp_path / "next", leaf) as meta:
            with pytest.raises(PeerError):
                await meta.post(PATH, message(unique_id()))
        assert (await rig.post(message(unique_id()))).status == 200
        (kept,) = (await edge(rig))["refusals"]
    (refusal,) = refusals(rig)
    assert refusal["reason"] == "unknown_issuer"
    assert refusal["claims"] == "meta"
    assert refusal["staged"] == f"would be admitted by {kept['staged']}"
    assert (kept["reason"], kept["claims_meta"], kept["connection"]) == ("unknown_issuer", True, "closed")
    assert kept["serial"] == f"{leaf.certificate.serial_number:x}"
    # The operator moves the file from one key to the other, and Meta is let in.
    rig.write(targets=NOWHERE, change=meta_entry(trust_anchors=[str(rig.pki.meta_ca), "next.pem"]))
    async with rig.running(), client_of(rig, tmp_path / "next", leaf) as meta:
        assert (await meta.post(PATH, message(unique_id()))).status == 200


async def test_a_revoked_client_is_refused_by_that_name(rig: Rig, tmp_path: Path) -> None:
    root = authority("A CA with a list")
    revoked, sound = client_leaf(root), client_leaf(root)
    (tmp_path / "root.pem").write_bytes(root.pem)
    (tmp_path / "root.crl").write_bytes(revocation_list(root, revoked).public_bytes(Encoding.DER))
    rig.write(targets=NOWHERE, change=meta_entry(trust_anchors=["root.pem"], revocation_lists=["root.crl"]))
    async with rig.running():
        async with client_of(rig, tmp_path / "revoked", revoked) as meta:
            with pytest.raises(PeerError):
                await meta.post(PATH, message(unique_id()))
        async with client_of(rig, tmp_path / "sound", sound) as meta:
            assert (await meta.post(PATH, message(unique_id()))).status == 200
        assert await rig.metric('meta_gateway_handshakes_total{reason="revoked",result="refused"}') == 1
    assert [refusal["reason"] for refusal in refusals(rig)] == ["revoked"]


async def test_an_expired_list_goes_on_admitting_meta_loudly_and_strict_refuses(
    rig: Rig, tmp_path: Path
) -> None:
    root, now = authority("A CA whose list is old"), datetime.now(UTC)
    leaf = client_leaf(root)
    (tmp_path / "root.pem").write_bytes(root.pem)
    old = revocation_list(root, this_update=now - 9 * DAY, next_update=now - DAY)
    (tmp_path / "root.crl").write_bytes(old.public_bytes(Encoding.PEM))
    entry = {"trust_anchors": ["root.pem"], "revocation_lists": ["root.crl"]}
    rig.write(targets=NOWHERE, change=meta_entry(**entry))
    checked = await rig.command("check")
    assert b"expired on" in checked.stdout + checked.stderr
    async with rig.running(), client_of(rig, tmp_path / "leaf", leaf) as meta:
        assert (await meta.post(PATH, message(unique_id()))).status == 200
    assert "expired on" in rig.log
    rig.write(targets=NOWHERE, change=meta_entry(**entry, revocation_strict=True))
    async with rig.running(), client_of(rig, tmp_path / "leaf", leaf) as meta:
        with pytest.raises(PeerError):
            await meta.post(PATH, message(unique_id()))
    assert "CRL has expired" in refusals(rig)[-1]["detail"]


async def test_a_list_that_cannot_be_used_keeps_the_gateway_from_starting(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "root.crl").write_bytes(b"<html>404 Not Found</html>")
    rig.write(targets=NOWHERE, change=meta_entry(revocation_lists=["root.crl"]))
    checked = await rig.command("check", check=False)
    assert checked.returncode == 2
    assert b"revocation_lists[0]" in checked.stdout + checked.stderr


async def test_under_report_the_edge_says_what_required_would_do(rig: Rig, tmp_path: Path) -> None:
    def migrate(config: Config) -> None:
        config["apps"]["main"]["client_certificate"] = "report"

    rig.write(targets=NOWHERE, change=migrate)
    async with rig.running():
        assert (await rig.post(message(unique_id()))).status == 200
        assert (await edge(rig))["apps"]["main"] == {
            "client_certificate": "report",
            "recent": {"notifications": 1, "without_accepted": 0},
        }
        async with rig.meta(certificate=False) as nobody:
            assert (await nobody.post(PATH, message(unique_id()))).status == 200
        stranger = client_leaf(authority("nobody's CA"))
        async with client_of(rig, tmp_path / "stranger", stranger) as nobody:
            assert (await nobody.post(PATH, message(unique_id()))).status == 200
            assert (await nobody.post(PATH, message(unique_id()), signature="")).status == 401
        known = await edge(rig)
        doctor = await rig.command("doctor", check=False)
    assert b"not safe to require: 2 of the last 3 notifications" in doctor.stdout
    assert known["apps"]["main"]["recent"] == {"notifications": 3, "without_accepted": 2}
    told = [(one["kind"], one["reason"], one["status"], one["connection"]) for one in known["refusals"]]
    assert told == [
        ("request", "signature", 401, "answered 401"),
        ("connection", "unknown_issuer", None, "goes on without identity"),
        ("request", "unknown_issuer", 200, "answered 200"),
        ("connection", "unknown_issuer", None, "goes on without identity"),
        ("request", "no_certificate", 200, "answered 200"),
    ]


async def test_who_was_last_seen_is_known_after_a_restart(rig: Rig) -> None:
    rig.write(targets=NOWHERE)
    async with rig.running():
        assert (await rig.post(message(unique_id()))).status == 200
        before = await edge(rig)
        assert await rig.metric("meta_gateway_trust_anchor_last_seen_timestamp_seconds") > 1_700_000_000
    async with rig.running():
        after = await edge(rig)
        used = 'meta_gateway_signature_secret_last_used_timestamp_seconds{app="main",secret="0"}'
        assert await rig.metric(used) > 1_700_000_000
        assert await rig.metric(
            'meta_gateway_certificate_expiry_timestamp_seconds{certificate="client:meta"}'
        )
    assert before["secrets"] == after["secrets"]
    # The connection may have ended after it was asked about, and an anchor is in use until then.
    assert after["anchors"][0]["last_seen_at"] >= before["anchors"][0]["last_seen_at"]
    assert APP_SECRET.decode() not in str(after)


async def test_a_load_balancers_look_at_the_port_counts_as_nothing(rig: Rig) -> None:
    rig.write(targets=NOWHERE)
    async with rig.running():
        for _ in range(20):
            await (await trio.open_tcp_stream("127.0.0.1", rig.port)).aclose()
        assert (await rig.post(message(unique_id()))).status == 200
        assert (await edge(rig))["refusals"] == []
        metrics = (await rig.admin_get("/metrics")).text
    refused = [line for line in metrics.splitlines() if 'result="refused"' in line]
    assert refused
    assert {line.rsplit(" ", 1)[1] for line in refused} == {"0.0"}
    assert refusals(rig) == []


async def test_a_new_list_shuts_the_revoked_out_at_once_and_a_broken_one_changes_nothing(
    rig: Rig, tmp_path: Path
) -> None:
    root = authority("A CA with a list")
    leaf = client_leaf(root)
    (tmp_path / "root.pem").write_bytes(root.pem)
    crl = tmp_path / "root.crl"
    crl.write_bytes(revocation_list(root).public_bytes(Encoding.PEM))
    rig.write(targets=NOWHERE, change=meta_entry(trust_anchors=["root.pem"], revocation_lists=["root.crl"]))
    async with serving(rig) as desk, client_of(rig, tmp_path / "leaf", leaf) as meta:
        assert (await meta.post(PATH, message(unique_id()))).status == 200
        revoking = revocation_list(root, leaf).public_bytes(Encoding.PEM)
        _replace(crl, revoking)
        taken = await desk.next_reload(None)
        assert taken["success"] is True
        # On the connection that was open, too.
        with pytest.raises(PeerError):
            await meta.post(PATH, message(unique_id()))
        _replace(crl, revoking[:-80])
        broken = await desk.next_reload(taken)
        assert broken["success"] is False
        assert "root.crl" in broken["problems"][0]["message"]
        async with client_of(rig, tmp_path / "leaf", leaf) as again:
            with pytest.raises(PeerError):
                await again.post(PATH, message(unique_id()))
        known = await edge(rig)
    # What is remembered has outlived both.
    assert known["anchors"][0]["last_seen_at"] is not None
    assert {one["reason"] for one in known["refusals"]} >= {"revoked"}


def _replace(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)
