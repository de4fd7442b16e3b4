"""Staged anchors admit nobody, and say whom they would admit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import crypto

from gateway.core.identity import Reason, Refusal
from gateway.settings.model import Tls
from gateway.simulator.pki import (
    META_CLIENT_NAME,
    SERVER_AUTH,
    DevelopmentPki,
    Issued,
    authority,
    chain_pem,
    client_leaf,
    common_name,
    revocation_list,
)
from gateway.telemetry.line_budget import BURST_LINES
from gateway.tls.context import ServerContext, make_context
from gateway.tls.staged import NOT_ASKED, StagedTrials
from gateway.tls.verdict import ChainRecord, decide
from tests.tls.rig import ANSWER, Maker

DAY = timedelta(days=1)
SHORT_RSA_BITS = 1024
NEW_ROOT = authority("Meta's next CA")


def staging(maker: Maker, *staged: Issued, lists: tuple[bytes, ...] = (), strict: bool = False) -> Tls:
    """Settings with Meta's root live, and others staged."""
    tls = maker.tls()
    path = maker.directory / "staged.pem"
    path.write_bytes(chain_pem(*staged))
    crls = [maker.directory / f"{number}.crl" for number, _ in enumerate(lists)]
    for crl, content in zip(crls, lists, strict=True):
        crl.write_bytes(content)
    meta = tls.clients["meta"].model_copy(
        update={
            "staged_anchors": (path,) if staged else (),
            "revocation_lists": tuple(crls),
            "revocation_strict": strict,
        }
    )
    return tls.model_copy(update={"clients": {"meta": meta}})


async def refusal_of(maker: Maker, context: ServerContext, *chain: Issued) -> dict[str, object]:
    """Knock, be refused, and return the line of the log."""
    async with maker.door(context, handshake="demand") as door:
        with structlog.testing.capture_logs() as logs:
            assert await maker.knock(door, chain) == b""
        (line,) = (line for line in logs if line["event"] == "handshake_refused")
        return dict(line)


async def test_metas_next_ca_is_refused_and_told_that_it_would_be_admitted(maker: Maker) -> None:
    line = await refusal_of(maker, make_context(staging(maker, NEW_ROOT)), client_leaf(NEW_ROOT))
    assert line["reason"] == "unknown_issuer"
    assert line["staged"] == f"would be admitted by meta {maker.sha256(NEW_ROOT)[:16]}"
    assert line["claims"] == "meta"


async def test_the_live_anchor_admits_as_ever(maker: Maker, pki: DevelopmentPki) -> None:
    async with maker.door(make_context(staging(maker, NEW_ROOT)), handshake="demand") as door:
        assert await maker.knock(door, (pki.meta_client, pki.meta_intermediate)) == ANSWER


async def test_a_staged_anchor_is_not_named_to_clients_nor_in_any_live_store(
    maker: Maker, pki: DevelopmentPki
) -> None:
    context = make_context(staging(maker, NEW_ROOT))
    (entry,) = context.entries
    assert entry.anchors == {maker.sha256(pki.meta_root)}
    leaf = crypto.X509.from_cryptography(client_leaf(NEW_ROOT).certificate)
    verdict = decide(
        record=ChainRecord(seen=True), leaf=leaf, sent=(), entries=context.entries, now=datetime.now(UTC)
    )
    assert isinstance(verdict, Refusal)


async def test_what_a_staged_anchor_would_refuse_is_told_with_its_reason(maker: Maker) -> None:
    cases = {
        "wrong_name": client_leaf(NEW_ROOT, subject=common_name("somebody.example")),
        "wrong_purpose": client_leaf(NEW_ROOT, extended_key_usage=(SERVER_AUTH,)),
        "expired": client_leaf(
            NEW_ROOT, not_before=datetime.now(UTC) - 9 * DAY, not_after=datetime.now(UTC) - DAY
        ),
        "unknown_issuer": client_leaf(authority("nobody's")),
    }
    context = make_context(staging(maker, NEW_ROOT))
    for reason, leaf in cases.items():
        line = await refusal_of(maker, context, leaf)
        assert str(line["staged"]).startswith(f"would be refused too ({reason}): "), reason


async def test_a_staged_anchors_revocation_list_is_asked_too(maker: Maker) -> None:
    leaf = client_leaf(NEW_ROOT)
    crl = revocation_list(NEW_ROOT, leaf).public_bytes(Encoding.DER)
    line = await refusal_of(maker, make_context(staging(maker, NEW_ROOT, lists=(crl,))), leaf)
    assert str(line["staged"]).startswith("would be refused too (revoked)")


async def test_a_revoked_client_is_refused_by_that_name_and_no_staged_anchor_is_asked(
    maker: Maker, pki: DevelopmentPki
) -> None:
    crl = revocation_list(pki.meta_intermediate, pki.meta_client).public_bytes(Encoding.PEM)
    context = make_context(staging(maker, NEW_ROOT, lists=(crl,)))
    line = await refusal_of(maker, context, pki.meta_client, pki.meta_intermediate)
    assert line["reason"] == "revoked"
    assert str(line["detail"]).startswith("X509 error 23 (certificate revoked) at the leaf: it stands in /")
    assert line["staged"] is None


async def test_a_key_too_short_stays_too_short_under_a_staged_anchor(maker: Maker) -> None:
    """Strength is seen in the handshake alone, so the trial takes it over from there."""
    leaf = client_leaf(NEW_ROOT, key=rsa.generate_private_key(65537, SHORT_RSA_BITS))
    line = await refusal_of(maker, make_context(staging(maker, NEW_ROOT)), leaf)
    assert str(line["staged"]).startswith("would be refused too (bad_chain)")


def test_an_anchor_that_is_live_too_is_not_staged(maker: Maker, pki: DevelopmentPki) -> None:
    assert make_context(staging(maker, pki.meta_root)).ask_staged is None


def test_a_flood_of_bad_chains_is_tried_within_an_allowance_and_metas_name_has_its_own(
    maker: Maker,
) -> None:
    context = make_context(staging(maker, NEW_ROOT))
    seconds = 0.0
    trials = StagedTrials(context.entries, clock=lambda: seconds)
    stranger = crypto.X509.from_cryptography(client_leaf(None, subject=common_name("bot")).certificate)
    meta = crypto.X509.from_cryptography(client_leaf(NEW_ROOT).certificate)

    def ask(leaf: crypto.X509) -> str | None:
        record = ChainRecord(seen=True, errors=[(20, 0)])
        refusal = decide(record=record, leaf=leaf, sent=(), entries=context.entries, now=datetime.now(UTC))
        assert isinstance(refusal, Refusal)
        return trials.ask(refusal, record, leaf, ()).staged

    said = [ask(stranger) for _ in range(BURST_LINES * 5)]
    assert said.count(NOT_ASKED) == BURST_LINES * 4
    assert ask(meta) != NOT_ASKED
    seconds += 60
    assert ask(stranger) != NOT_ASKED


def test_refusals_that_no_anchor_could_mend_are_not_tried(maker: Maker) -> None:
    context = make_context(staging(maker, NEW_ROOT))
    leaf = crypto.X509.from_cryptography(client_leaf(NEW_ROOT).certificate)
    record = ChainRecord(seen=True, errors=[(20, 0)])
    refusal = decide(record=record, leaf=leaf, sent=(), entries=context.entries, now=datetime.now(UTC))
    assert isinstance(refusal, Refusal)
    assert context.ask_staged is not None
    for reason in (Reason.WRONG_NAME, Reason.REVOKED, Reason.PROTOCOL):
        assert context.ask_staged(replace(refusal, reason=reason), record, leaf, ()).staged is None


async def test_under_demand_and_strict_an_expired_list_refuses_and_else_admits(
    maker: Maker, pki: DevelopmentPki, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    crl = revocation_list(pki.meta_intermediate, this_update=now - 9 * DAY, next_update=now - DAY)
    old = (crl.public_bytes(Encoding.PEM),)
    chain = (pki.meta_client, pki.meta_intermediate)
    async with maker.door(make_context(staging(maker, lists=old)), handshake="demand") as door:
        assert await maker.knock(door, chain) == ANSWER
    line = await refusal_of(maker, make_context(staging(maker, lists=old, strict=True)), *chain)
    assert line["reason"] == "bad_chain"
    assert "X509 error 12 (CRL has expired)" in str(line["detail"])
    assert META_CLIENT_NAME in str(line["subject"])
