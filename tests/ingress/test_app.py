"""The acknowledgement path, spoken to as plain ASGI."""

import json
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.identity import Peer, Reason
from gateway.core.routing import UNROUTED, Route
from gateway.core.signature import sign
from gateway.errors import GatewayError, SpoolBrokenError, SpoolUnavailableError
from gateway.ingress.app import (
    IngressApp,
    IngressLimits,
    UnservedScopeError,
    build_ingress_app,
    ingress_limits,
)
from gateway.ingress.asgi import Message
from gateway.ingress.body import BODY_BYTES_PER_SECOND
from gateway.ingress.unrouted import CopyBudget
from gateway.settings.limits import Limits
from gateway.settings.model import Listen
from gateway.spool.contract import Room
from tests.ingress.rig import (
    MAX_BODY_BYTES,
    MESSAGE,
    META,
    NOW_MS,
    OLD_SECRET,
    SECRET,
    VERIFY_TOKEN,
    Answer,
    Chunk,
    Edge,
    WatchedSpool,
    meta_peer,
    unproved_peer,
)

PAYLOADS = Path(__file__).parent.parent / "data" / "payloads"
QUERY = b"hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
GZIP = (b"content-encoding", b"gzip")
FULL = Room(free_bytes=1, total_bytes=2, enough=False, writable=True, detail="1 MiB free")
READ_ONLY = Room(free_bytes=10**9, total_bytes=10**9, enough=True, writable=False, detail="read-only")
HUGE = (b"content-length", b"99999999")


# -- a notification


async def test_a_signed_notification_is_stored_and_answered_200_with_an_empty_body(edge: Edge) -> None:
    answer = await edge.post()
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers == {b"content-length": b"0"}
    (stored,) = edge.spool.stored
    assert stored.body.raw == MESSAGE
    assert stored.body.app == "main"
    assert stored.received_at_ms == NOW_MS
    assert [(one.target, one.id) for one in stored.deliveries] == [
        ("support", f"{stored.id}-support"),
        ("audit", f"{stored.id}-audit"),
    ]


async def test_no_200_before_the_spool_has_it(edge: Edge) -> None:
    edge.spool.gate = trio.Event()
    answers: list[Answer] = []

    async def post() -> None:
        answers.append(await edge.post())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(post)
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        edge.spool.gate.set()
    assert [answer.status for answer in answers] == [200]


async def test_a_duplicate_is_200_and_stored_once(edge: Edge) -> None:
    assert [(await edge.post()).status for _ in range(3)] == [200, 200, 200]
    assert len(edge.spool.stored) == 1
    assert edge.sample("duplicates_total", app="main") == 2
    assert (
        edge.sample("notifications_total", app="main", object="whatsapp_business_account", field="messages")
        == 1
    )


async def test_the_same_bytes_for_another_app_are_another_notification(edge: Edge) -> None:
    await edge.post()
    await edge.post(path=b"/webhooks/lax")
    assert [stored.body.app for stored in edge.spool.stored] == ["main", "lax"]


async def test_any_of_the_apps_secrets_may_have_signed(edge: Edge) -> None:
    assert (await edge.post(secret=OLD_SECRET)).status == 200
    assert edge.journal.last_seen.secret("main", OLD_SECRET) == NOW_MS
    assert edge.journal.last_seen.secret("main", SECRET) is None


async def test_a_body_may_come_in_any_pieces(edge: Edge) -> None:
    pieces: list[Chunk] = [MESSAGE[at : at + 7] for at in range(0, len(MESSAGE), 7)]
    assert (await edge.post(chunks=[b"", *pieces, b""])).status == 200
    assert edge.spool.stored[0].body.raw == MESSAGE


@given(body=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=8))
@settings(max_examples=60, deadline=None)
async def test_whatever_is_signed_is_stored_byte_by_byte(body: bytes, cuts: list[int]) -> None:
    edge = Edge()
    ends = [*sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks: list[Chunk] = [body[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert (await edge.post(body, chunks=chunks)).status == 200
    assert edge.spool.stored[0].body.raw == body


# -- bad input that is signed: Meta must not retry it for seven days


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not json", id="not JSON"),
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="nested 10 000 deep"),
        pytest.param(b'{"object":"x","a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", id="nested in an object"),
        pytest.param(b'{"object":"\x00","entry":"\xff\xfe"}', id="NUL and invalid UTF-8"),
        pytest.param(b'{"object":"page","object":"user","entry":[],"entry":{}}', id="duplicate keys"),
        pytest.param(b'{"object":' + b"7" * 5000 + b"}", id="a number of 5000 digits"),
        pytest.param(MESSAGE.replace(b"messages", b"news_from_tomorrow"), id="a field nobody knows"),
    ],
)
async def test_a_signed_body_is_200_whatever_it_holds(edge: Edge, body: bytes) -> None:
    edge = Edge(routes=[Route(to=("support",), field=("messages",))])
    assert (await edge.post(body)).status == 200
    (stored,) = edge.spool.stored
    assert stored.body.raw == body
    assert [one.target for one in stored.deliveries] == [UNROUTED]


async def test_beyond_a_rate_what_no_route_takes_is_counted_and_the_rest_of_it_delivered(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    autojump_clock: trio.testing.MockClock,
) -> None:
    monkeypatch.setattr("gateway.ingress.app.CopyBudget", partial(CopyBudget, per_second=1, burst=2))
    edge = Edge(routes=[Route(to=("support",), field=("messages",))])
    other = MESSAGE.replace(b"messages", b"news_from_tomorrow")
    mixed = b"[" + MESSAGE + b"," + other + b"]"
    for number in range(5):
        assert (await edge.post(other + b" " * number)).status == 200
    assert (await edge.post(mixed)).status == 200
    stored = [[one.target for one in stored.deliveries] for stored in edge.spool.stored]
    assert stored == [[UNROUTED], [UNROUTED], [], [], [], ["support"]]
    await trio.sleep(1.5)
    assert (await edge.post(mixed + b" ")).status == 200
    assert [one.target for one in edge.spool.stored[-1].deliveries] == ["support", UNROUTED]
    value = edge.metrics.registry.get_sample_value
    for copy, number in (("kept", 3), ("counted", 4)):
        assert value("meta_gateway_unrouted_total", {"app": "main", "copy": copy}) == number
    assert "".join(capsys.readouterr()).count("unrouted_only_counted") == 1


async def test_a_body_of_exactly_max_body_is_taken(edge: Edge) -> None:
    padding = b" " * (MAX_BODY_BYTES - len(MESSAGE))
    assert (await edge.post(MESSAGE + padding)).status == 200
    assert [one.target for one in edge.spool.stored[0].deliveries] == ["support", "audit"]


async def test_a_thousand_updates_are_counted_one_by_one(edge: Edge) -> None:
    body = (PAYLOADS / "whatsapp_business_account" / "batch.1000_updates_one_entry.json").read_bytes()
    changes = sum(len(entry["changes"]) for entry in json.loads(body)["entry"])
    assert (await edge.post(body)).status == 200
    counted = [
        sample.value
        for metric in edge.metrics.notifications_total.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    ]
    assert sum(counted) == changes


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(path.read_bytes(), id=str(path.relative_to(PAYLOADS)))
        for path in sorted(PAYLOADS.glob("*/*.json"))
        if path.parent.name != "_graph_api"
    ],
)
async def test_every_sample_of_metas_goes_through(edge: Edge, body: bytes) -> None:
    assert (await edge.post(body)).status == 200
    assert edge.spool.stored[0].deliveries


# -- refusals, each with its answer


async def test_an_unknown_path_is_404(edge: Edge) -> None:
    for path in (
        b"/",
        b"/webhooks/main/",
        b"/webhooks/MAIN",
        b"//webhooks/main",
        b"/webhooks/m%61in",
        b"*",
        b"",
    ):
        assert (await edge.post(path=path)).status == 404
        assert (await edge.call("GET", path, query=QUERY + VERIFY_TOKEN)).status == 404
    assert edge.sample("requests_total", app="none", status="404") == 14
    assert edge.spool.stored == []


async def test_a_server_that_does_not_tell_the_raw_path_finds_no_app(edge: Edge) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing to read for")

    scope = {"type": "http", "method": "GET", "path": "/webhooks/main", "query_string": b"", "headers": []}
    await edge.app(scope, receive, send)
    assert sent[0]["status"] == 404


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 500])
async def test_another_method_is_405_and_told_which(edge: Edge, method: str) -> None:
    answer = await edge.call(method, b"/webhooks/main", peer=META)
    assert answer.status == 405
    assert answer.headers[b"allow"] == b"GET, POST"
    assert (answer.body == b"") == (method == "HEAD")


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(None, id="a server without TLS"),
        pytest.param(unproved_peer(), id="no certificate"),
        pytest.param(unproved_peer(Reason.WRONG_NAME), id="a wrong name"),
        pytest.param(meta_peer("somebody_else"), id="the client of another app"),
    ],
)
async def test_without_an_accepted_client_certificate_403_where_one_is_required(
    edge: Edge, peer: Peer | None
) -> None:
    assert (await edge.post(peer=peer)).status == 403
    assert edge.received == 0
    assert (await edge.post(peer=peer, path=b"/webhooks/lax")).status == 200
    assert (await edge.post(b"{}", peer=meta_peer("somebody_else", "meta"))).status == 200


async def test_an_encoded_body_is_415(edge: Edge) -> None:
    for value in (b"gzip", b"identity", b""):
        answer = await edge.post(headers=[(b"content-encoding", value)])
        assert answer.status == 415
        assert answer.headers[b"accept-encoding"] == b"identity"
    assert edge.received == 0


@pytest.mark.parametrize("room", [FULL, READ_ONLY], ids=["full", "read-only"])
async def test_without_room_503_before_the_body_is_read(edge: Edge, room: Room) -> None:
    edge.spool.room_now = room
    answer = await edge.post()
    assert answer.status == 503
    assert int(answer.headers[b"retry-after"]) > 0
    assert edge.received == 0
    edge.spool.room_now = Room(free_bytes=1, total_bytes=1, enough=True, writable=True, detail="")
    assert (await edge.post()).status == 200


async def test_a_body_that_says_that_it_is_too_large_is_413_unread(edge: Edge) -> None:
    assert (await edge.post(b"x" * (MAX_BODY_BYTES + 1))).status == 413
    length = (b"content-length", b"9" * 5000)
    assert (await edge.post(chunks=[MESSAGE], headers=[length])).status == 413
    assert edge.received == 0


async def test_a_body_that_turns_out_too_large_is_413_at_the_first_byte_too_many(edge: Edge) -> None:
    mebibyte = b"x" * 1024**2
    answer = await edge.post(chunks=[mebibyte, mebibyte, mebibyte, b"", b"x", mebibyte, b""])
    assert answer.status == 413
    assert edge.received == 5
    assert edge.spool.stored == []


async def test_a_body_that_is_not_here_in_time_is_408(
    edge: Edge, autojump_clock: trio.testing.MockClock
) -> None:
    async def twenty_seconds() -> None:
        await trio.sleep(20)

    half = len(MESSAGE) // 2
    started = trio.current_time()
    answer = await edge.post(chunks=[MESSAGE[:half], twenty_seconds, MESSAGE[half:], twenty_seconds, b""])
    assert answer.status == 408
    granted = len(MESSAGE) / BODY_BYTES_PER_SECOND
    assert trio.current_time() - started == pytest.approx(30 + granted)
    assert (await edge.post(chunks=[MESSAGE[:half], twenty_seconds, MESSAGE[half:]])).status == 200


def test_the_limits_follow_from_the_settings() -> None:
    assert ingress_limits(Listen(max_body_bytes=7)) == IngressLimits(max_body_bytes=7)
    listen = Listen(max_body_bytes=7, limits=Limits(body_seconds=2, body_rate_bytes=2048))
    limits = ingress_limits(listen)
    assert (limits.body_seconds, limits.body_bytes_per_second) == (2, 2048)


@pytest.mark.parametrize(
    "signature",
    [
        [],
        [b""],
        [sign(b"guessed", MESSAGE).encode()],
        [sign(SECRET, MESSAGE + b" ").encode()],
        [sign(SECRET, MESSAGE).encode(), sign(SECRET, MESSAGE).encode()],
        [sign(SECRET, MESSAGE).upper().encode()],
        [sign(SECRET, MESSAGE).encode()[7:]],
        [sign(SECRET, MESSAGE).encode() + b"\xff"],
    ],
    ids=["absent", "empty", "forged", "other bytes", "double", "upper case", "no prefix", "trailing byte"],
)
async def test_a_bad_signature_is_401_and_nothing_is_stored(edge: Edge, signature: list[bytes]) -> None:
    answer = await edge.post(signature=signature)
    assert (answer.status, answer.body) == (401, b"signature\n")
    assert edge.spool.stored == []
    assert edge.sample("client_certificates_total", app="main", presented="accepted") == 0


@pytest.mark.parametrize("fault", [SpoolUnavailableError("disk full"), SpoolBrokenError("EIO")])
async def test_what_could_not_be_stored_is_503(edge: Edge, fault: GatewayError) -> None:
    edge.spool.fault = fault
    answer = await edge.post()
    assert answer.status == 503
    assert answer.body == b"unavailable\n"
    assert b"retry-after" in answer.headers
    edge.spool.fault = None
    assert (await edge.post()).status == 200


async def test_a_client_that_leaves_stores_nothing_and_is_counted(edge: Edge) -> None:
    for chunks in ([None], [MESSAGE[:10], None], [MESSAGE, b"", None]):
        assert (await edge.post(chunks=chunks)).status == 0
    assert edge.sample("requests_total", app="main", status="499") == 3
    assert edge.spool.stored == []


async def test_the_order_of_the_checks_is_the_contracts() -> None:
    """Each request has every fault from some point on; the first fault is the one that is told."""
    edge = Edge()
    edge.spool.room_now = FULL
    lax, main = b"/webhooks/lax", b"/webhooks/main"
    wrong = [sign(b"guessed", MESSAGE).encode()]

    async def status(path: bytes, peer: Peer | None, *headers: tuple[bytes, bytes]) -> int:
        return (
            await edge.post(path=path, peer=peer, headers=headers, signature=wrong, chunks=[MESSAGE])
        ).status

    assert (await edge.call("PUT", b"/nowhere", headers=[GZIP, HUGE])).status == 404
    assert (await edge.call("PUT", main, headers=[GZIP, HUGE])).status == 405
    assert await status(main, None, GZIP, HUGE) == 403
    assert await status(main, META, GZIP, HUGE) == 415
    assert await status(lax, None, GZIP, HUGE) == 415
    assert await status(main, META, HUGE) == 503
    edge.spool.room_now = Edge().spool.room_now
    edge.spool.fault = SpoolUnavailableError("disk full")
    assert await status(main, META, HUGE) == 413
    assert await status(main, META) == 401
    assert (await edge.post()).status == 503


# -- the verification GET


@pytest.mark.parametrize(
    "peer", [None, unproved_peer(), META], ids=["no TLS", "no certificate", "certificate"]
)
async def test_the_challenge_is_answered_with_and_without_a_certificate(
    edge: Edge, peer: Peer | None
) -> None:
    answer = await edge.call("GET", b"/webhooks/main", query=QUERY + VERIFY_TOKEN, peer=peer)
    assert (answer.status, answer.body) == (200, b"1158201444")
    assert answer.headers[b"content-type"] == b"text/plain"
    assert answer.headers[b"x-content-type-options"] == b"nosniff"


async def test_a_challenge_needs_no_room(edge: Edge) -> None:
    edge.spool.room_now = FULL
    assert (await edge.call("GET", b"/webhooks/main", query=QUERY + VERIFY_TOKEN)).status == 200


async def test_a_wrong_verify_token_is_403_and_missing_parameters_400(edge: Edge) -> None:
    wrong = await edge.call("GET", b"/webhooks/main", query=QUERY + b"guessed")
    assert wrong.status == 403
    assert b"1158201444" not in wrong.body
    assert (await edge.call("GET", b"/webhooks/main")).status == 400


async def test_markup_in_a_challenge_stays_text(edge: Edge) -> None:
    query = b"hub.mode=subscribe&hub.challenge=%3Cscript%3E&hub.verify_token=" + VERIFY_TOKEN
    answer = await edge.call("GET", b"/webhooks/main", query=query)
    if answer.status == 200:
        assert answer.headers[b"content-type"] == b"text/plain"
        assert answer.headers[b"x-content-type-options"] == b"nosniff"


# -- no answer tells about us


async def test_error_answers_are_one_word_of_plain_text(edge: Edge) -> None:
    answers = [
        await edge.post(path=b"/nowhere"),
        await edge.call("PUT", b"/webhooks/main"),
        await edge.post(peer=None),
        await edge.post(headers=[GZIP]),
        await edge.post(signature=[]),
        await edge.call("GET", b"/webhooks/main"),
    ]
    for answer in answers:
        assert answer.body.decode().removesuffix("\n").isidentifier()
        assert answer.headers[b"content-type"] == b"text/plain"
        assert answer.headers[b"x-content-type-options"] == b"nosniff"
        assert int(answer.headers[b"content-length"]) == len(answer.body)
        assert set(answer.headers) <= {
            b"content-type", b"x-content-type-options", b"content-length", b"allow", b"accept-encoding",
        }  # fmt: skip


# -- memory, cancellation, scopes


async def test_bodies_under_way_have_a_common_bound_and_what_is_unproved_a_quarter_of_it() -> None:
    edge = Edge(max_held_bytes=4000)
    blocked = trio.Event()
    answers: dict[str, Answer] = {}

    async def hold(name: str, path: bytes, peer: Peer | None, size: int) -> None:
        answers[name] = await edge.post(path=path, peer=peer, chunks=[b"x" * size, blocked.wait, b"y"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold, "stranger", b"/webhooks/lax", None, 900)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hold, "one stranger more", b"/webhooks/lax", None, 101)
        nursery.start_soon(hold, "Meta", b"/webhooks/main", META, 3000)
        await trio.testing.wait_all_tasks_blocked()
        assert answers["one stranger more"].status == 503
        assert (await edge.post()).status == 503
        assert "Meta" not in answers
        blocked.set()
    assert {name: answer.status for name, answer in answers.items()} == {
        "stranger": 401, "one stranger more": 503, "Meta": 401,
    }  # fmt: skip
    assert (await edge.post()).status == 200, "what was held has been given back"


async def test_a_cancelled_request_does_not_tear_the_write(edge: Edge) -> None:
    edge.spool.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(edge.post)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        edge.spool.gate.set()
    assert len(edge.spool.stored) == 1
    assert edge.sample("requests_total", app="main", status="200") == 1


async def test_a_request_cancelled_while_its_body_comes_gives_its_memory_back() -> None:
    edge = Edge(max_held_bytes=len(MESSAGE) + 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: edge.post(chunks=[b"x" * 20, trio.sleep_forever, b""]))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (await edge.post()).status == 200


async def test_the_lifespan_is_agreed_to(edge: Edge) -> None:
    waiting: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await edge.app({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


@pytest.mark.parametrize("type_", ["websocket", "webtransport"])
async def test_any_other_scope_is_refused(edge: Edge, type_: str) -> None:
    async def receive() -> Message:
        raise AssertionError("not asked for")

    async def send(_: Message) -> None:
        raise AssertionError("not answered")

    with pytest.raises(UnservedScopeError, match=type_):
        await edge.app({"type": type_}, receive, send)


def test_two_apps_on_one_path_are_refused() -> None:
    one = IngressApp(
        name="one",
        path=b"/x",
        secrets=(b"s",),
        verify_token=b"t",
        clients=frozenset(),
        certificate_required=True,
    )
    edge = Edge()
    with pytest.raises(ValueError, match="path"):
        build_ingress_app(
            apps={"one": one, "two": one},
            routing=lambda: None,  # type: ignore[arg-type, return-value] # never asked
            spool=WatchedSpool(),
            metrics=edge.metrics,
            now_ms=lambda: 0,
            new_id=lambda: "",
            limits=IngressLimits(max_body_bytes=1),
        )


def test_secrets_are_in_no_repr() -> None:
    one = IngressApp(
        name="one",
        path=b"/x",
        secrets=(SECRET,),
        verify_token=VERIFY_TOKEN,
        clients=frozenset(),
        certificate_required=True,
    )
    assert "secret" not in repr(one)
    assert "token" not in repr(one)


# -- other settings


async def test_other_settings_hold_from_the_next_request_on(edge: Edge) -> None:
    """One that has begun is verified with the secrets that its app had."""

    async def adopt() -> None:
        app = IngressApp(
            name="main",
            path=b"/elsewhere",
            secrets=(b"another",),
            verify_token=VERIFY_TOKEN,
            clients=frozenset({"meta"}),
            certificate_required=True,
        )
        edge.app.adopt(apps={"main": app}, limits=IngressLimits(max_body_bytes=10), log_notifications="all")

    assert (await edge.post(chunks=(MESSAGE[:10], adopt, MESSAGE[10:]))).status == 200
    assert (await edge.post()).status == 404
    assert (await edge.post(path=b"/elsewhere")).status == 413
