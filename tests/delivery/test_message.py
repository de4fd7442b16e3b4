"""What a target receives (contract, section 4)."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from standardwebhooks.webhooks import Webhook

from gateway.core.signature import sign
from gateway.delivery.message import (
    OutgoingRequest,
    UncuttableBodyError,
    UnjoinableBodiesError,
    body_of,
    described_headers,
    make_request,
    merged_body_of,
    rfc3339,
    signing_key,
)
from gateway.delivery.parcel import Parcel, parcels
from gateway.errors import GatewayError
from tests.delivery.rig import APP_SECRET, EPOCH_MS, a_lease

TWO = b'{"object":"o","entry":[{"id":"1","changes":[{"field":"a","value":1.50},{"field":"b","value":2}]}]}'


def build(
    body: bytes = b"{}", *, configured: dict[str, bytes] | None = None, webhook_key: bytes | None = None
) -> OutgoingRequest:
    return make_request(
        Parcel(members=(a_lease(body),)),
        body=body,
        app_secret=APP_SECRET,
        configured=configured or {},
        webhook_key=webhook_key,
        now_ms=EPOCH_MS + 9_999,
    )


def headers_of(request: OutgoingRequest) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in request.headers}


def test_the_headers_are_those_of_the_contract_and_no_others() -> None:
    identifier = a_lease(b"").notification_id
    assert headers_of(build(b"{}")) == {
        "Content-Type": "application/json",
        "X-Hub-Signature-256": sign(APP_SECRET, b"{}"),
        "Gateway-App": "main",
        "Gateway-Notification": identifier,
        "Gateway-Attempt": "3",
        "Gateway-Received-At": "2026-02-02T02:40:00.000Z",
        "Idempotency-Key": f"{identifier}-support",
        "User-Agent": "meta-webhook-gateway",
        "Accept-Encoding": "identity",
    }


def test_configured_headers_go_along_but_replace_none_of_ours() -> None:
    configured = {
        "Authorization": b"Bearer x",
        "user-agent": b"mine",
        "content-type": b"text/plain",
        "x-hub-signature-256": b"sha256=forged",
        "Content-Length": b"0",
        "Transfer-Encoding": b"chunked",
        "gateway-app": b"other",
    }
    ours = headers_of(build())
    assert headers_of(build(configured=configured)) == {
        **ours,
        "Authorization": "Bearer x",
        "User-Agent": "mine",
    }


def test_a_dead_letter_keeps_content_type_and_gateway_headers() -> None:
    attempted = described_headers(a_lease(b""), attempted=True)
    assert all(name == "Content-Type" or name.startswith("Gateway-") for name in attempted)
    assert attempted.keys() - described_headers(a_lease(b""), attempted=False).keys() == {"Gateway-Attempt"}


def test_the_body_is_cut_to_the_selection() -> None:
    assert body_of(a_lease(TWO)) == TWO
    assert body_of(a_lease(TWO, selection=(0,))) == TWO.replace(b',{"field":"b","value":2}', b"")
    assert json.loads(body_of(a_lease(TWO, selection=(1,))))["entry"][0]["changes"][0]["field"] == "b"


@pytest.mark.parametrize("raw", [TWO, b"", b"\x00", b"[" * 100_000, b'{"entry":[{"changes":[]}]}', b"5"])
def test_what_cannot_be_cut_says_so(raw: bytes) -> None:
    with pytest.raises(UncuttableBodyError):
        body_of(a_lease(raw, selection=(9,)))


def test_standard_webhooks_headers_verify_with_the_library() -> None:
    """The library looks at the clock: the time stamp is now's."""
    secret = b"whsec_" + base64.b64encode(b"a key of twenty-four byt")
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    request = make_request(
        Parcel(members=(a_lease(TWO),)),
        body=TWO,
        app_secret=APP_SECRET,
        configured={},
        webhook_key=signing_key(secret),
        now_ms=now_ms,
    )
    headers = headers_of(request)
    assert headers["webhook-id"] == headers["Idempotency-Key"]
    assert datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC) > datetime.now(UTC) - timedelta(
        minutes=1
    )
    assert Webhook(secret.decode()).verify(TWO, headers) == json.loads(TWO)


def test_bodies_that_are_not_text_are_signed_too() -> None:
    assert headers_of(build(b"\xff\x00", webhook_key=b"key"))["webhook-signature"].startswith("v1,")


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (b"whsec_" + base64.b64encode(b"abc"), b"abc"),
        (b"whsec_YWI", b"ab"),
        (b"raw bytes \xff", b"raw bytes \xff"),
    ],
)
def test_signing_secrets_come_in_two_forms(secret: bytes, key: bytes) -> None:
    assert signing_key(secret) == key


@pytest.mark.parametrize("secret", [b"", b"whsec_", b"whsec_!!!", b"whsec_A"])
def test_a_signing_secret_without_a_key_is_told_without_quoting_it(secret: bytes) -> None:
    with pytest.raises(GatewayError) as raised:
        signing_key(secret)
    assert "!!!" not in str(raised.value)


@given(st.integers(min_value=0, max_value=253402300799999))
def test_times_are_rfc_3339_with_milliseconds(unix_ms: int) -> None:
    text = rfc3339(unix_ms)
    assert len(text) == 24
    assert datetime.fromisoformat(text) == datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=unix_ms)


# -- merged


def a_group(members: int, *raws: bytes) -> Parcel:
    leases = [a_lease(raws[place] if raws else TWO) for place in range(members)]
    return Parcel(
        members=tuple(
            replace(
                lease,
                token=place,
                notification_id=f"{place:032x}",
                delivery_id=f"{place:032x}-support",
                received_at_ms=EPOCH_MS + place * 1000,
                group=f"{0:032x}-support+{members - 1}",
            )
            for place, lease in enumerate(leases)
        )
    )


@pytest.mark.parametrize(("members", "listed"), [(2, 2), (50, 50), (100, 50)])
def test_a_merged_post_names_its_members(members: int, listed: int) -> None:
    parcel = a_group(members)
    body = merged_body_of(parcel)
    headers = headers_of(
        make_request(
            parcel,
            body=body,
            app_secret=APP_SECRET,
            configured={"gateway-notification-count": b"0"},
            webhook_key=b"key",
            now_ms=EPOCH_MS,
        )
    )
    assert headers["Gateway-Notification"].split(", ") == [f"{place:032x}" for place in range(listed)]
    assert headers["Gateway-Notification-Count"] == str(members)
    assert "gateway-notification-count" not in headers
    assert headers["Gateway-Received-At"] == "2026-02-02T02:40:00.000Z", "of the oldest"
    assert headers["Idempotency-Key"] == headers["webhook-id"] == f"{0:032x}-support+{members - 1}"
    assert headers["X-Hub-Signature-256"] == sign(APP_SECRET, body)


def test_members_are_cut_before_they_are_joined() -> None:
    parcel = a_group(2)
    cut_first = Parcel(members=(replace(parcel.first, selection=(1,)), parcel.members[1]))
    assert json.loads(merged_body_of(cut_first)) == {
        "object": "o",
        "entry": [
            {"id": "1", "changes": [{"field": "b", "value": 2}]},
            {"id": "1", "changes": [{"field": "a", "value": 1.5}, {"field": "b", "value": 2}]},
        ],
    }


def test_a_parcel_of_one_is_the_delivery_itself() -> None:
    parcel = Parcel(members=(a_lease(TWO + b" "),))
    assert merged_body_of(parcel) == TWO + b" "
    assert parcel.key == parcel.first.delivery_id


@pytest.mark.parametrize("raw", [b"{}", b"not JSON", TWO.replace(b'"o"', b'"p"')])
def test_bodies_that_make_no_envelope_are_told_apart_from_one_that_cannot_be_cut(raw: bytes) -> None:
    with pytest.raises(UnjoinableBodiesError):
        merged_body_of(a_group(2, TWO, raw))


def test_what_the_spool_leased_is_put_together_by_group() -> None:
    group, alone = a_group(3), replace(a_lease(TWO), token=7)
    other = replace(a_lease(TWO), token=8)
    assert parcels([*group.members, alone, other]) == (
        group,
        Parcel(members=(alone,)),
        Parcel(members=(other,)),
    )
