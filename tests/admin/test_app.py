"""The admin port and the metrics port."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from functools import partial
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.trio import serve
from structlog.testing import capture_logs

from gateway.admin.health import Check
from gateway.errors import DeadLetterError, GatewayError, SpoolUnavailableError, UsageError
from gateway.spool.postgresql.troubles import LinkLostError
from gateway.telemetry.line_budget import BURST_LINES
from tests.admin.rig import BEARER, TOKEN, WELL, Desk

REPLAY, DISCARD = "/api/dead-letters/replay", "/api/dead-letters/discard"
ID = "0191f0a0c0de70008000000000000001-support"


@pytest.mark.parametrize("path", ["/metrics", "/api/status", "/api/ledger", "/healthz", "/nowhere"])
@pytest.mark.parametrize(
    ("site", "mode", "destination", "refused"),
    [
        ("cross-site", "no-cors", "image", True),
        ("same-site", "no-cors", "script", True),
        ("cross-site", "cors", "empty", True),
        ("cross-site", "navigate", "iframe", True),
        ("cross-site", "navigate", "document", False),
        ("same-origin", "cors", "empty", False),
        ("none", "navigate", "document", False),
    ],
)
async def test_nothing_is_fetched_for_other_sites_pages(
    desk: Desk, path: str, site: str, mode: str, destination: str, refused: bool
) -> None:
    headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": destination}
    async with desk.client() as client:
        answer = await client.get(path, headers=headers)
    assert (answer.status_code == 403) is refused


# -- health, readiness, metrics: on both ports


@pytest.mark.parametrize("metrics_port", [False, True])
async def test_healthz_says_that_the_process_answers(desk: Desk, metrics_port: bool) -> None:
    desk.checks["spool"] = Check(ok=False, detail="gone")
    async with desk.client(metrics_port=metrics_port) as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("metrics_port", [False, True])
async def test_readyz_is_200_while_every_check_is_well(desk: Desk, metrics_port: bool) -> None:
    async with desk.client(metrics_port=metrics_port) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {name: {"ok": True, "detail": ""} for name in WELL}


@pytest.mark.parametrize("name", WELL)
async def test_readyz_is_503_where_one_check_is_not_and_says_why(desk: Desk, name: str) -> None:
    desk.checks[name] = Check(ok=False, detail="because")
    async with desk.client() as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()[name] == {"ok": False, "detail": "because"}


@pytest.mark.parametrize("metrics_port", [False, True])
async def test_metrics_are_the_text_exposition_format(desk: Desk, metrics_port: bool) -> None:
    desk.metrics.duplicates_total.labels("main").inc()
    async with desk.client(metrics_port=metrics_port) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'meta_gateway_duplicates_total{app="main"} 1.0' in answer.text.splitlines()


async def test_the_metrics_port_has_nothing_else_and_asks_for_no_host(desk: Desk) -> None:
    async with desk.client(metrics_port=True, url="http://prometheus.example:1") as client:
        assert (await client.get("/metrics")).status_code == 200
        for path in ("/", "/api/status", "/docs", "/openapi.json", "/metrics/"):
            assert (await client.get(path, headers=BEARER)).status_code == 404
        for path in (REPLAY, DISCARD):
            assert (await client.post(path, headers=BEARER, json={"ids": []})).status_code == 404
    assert desk.asked == []


async def test_no_answer_allows_another_origin_or_tells_versions(desk: Desk) -> None:
    async with desk.client() as client:
        answer = await client.get("/healthz", headers={"origin": "http://evil.example"})
    assert set(answer.headers) == {
        "content-type", "content-length", "cache-control", "x-content-type-options",
    }  # fmt: skip


# -- Host: against a name that was rebound to loopback


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:9090", 200), ("LOCALHOST:1", 200), ("127.0.0.1:9090", 200),
        ("127.8.9.10", 200), ("[::1]", 200), ("[::1]:9090", 200), ("gateway.internal", 200),
        ("Gateway.Internal:81", 200), ("10.0.0.5:9090", 200),
        ("10.0.0.5:9091", 421), ("10.0.0.5", 421), ("evil.example", 421), ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:9090", 421), ("evil.example@localhost", 421), ("localhost:9090:1", 421),
        ("0.0.0.0:9090", 421), ("[::]", 421), ("", 421), ("localhost, evil.example", 421),
        ("2130706433", 421),
    ],
)  # fmt: skip
async def test_a_host_that_is_neither_loopback_nor_configured_is_421(
    desk: Desk, host: str, status: int
) -> None:
    async with desk.client() as client:
        for path in ("/healthz", "/metrics", "/api/status"):
            assert (await client.get(path, headers={"host": host})).status_code == status
        answer = await client.post(REPLAY, headers={"host": host, **BEARER}, json={"ids": []})
    assert answer.status_code == status


async def test_two_hosts_are_421(desk: Desk) -> None:
    async with desk.client() as client:
        twice = [("host", "localhost"), ("host", "localhost")]
        assert (await client.get("/healthz", headers=twice)).status_code == 421


# -- what commands ask


async def test_status_shows_counts_without_a_token(desk: Desk) -> None:
    async with desk.client() as client:
        answer = await client.get("/api/status")
    assert answer.json() == {"targets": {"support": {"pending": 3, "oldest_seconds": 1.5}}}


async def test_a_replay_gives_a_result_for_each_id(desk: Desk) -> None:
    async with desk.client() as client:
        answer = await client.post(REPLAY, headers=BEARER, json={"ids": [ID, "a"], "accept_edited": True})
    assert answer.status_code == 200
    assert answer.json() == {
        "results": {ID: {"result": "replayed", "detail": ""}, "a": {"result": "replayed", "detail": ""}}
    }
    assert desk.asked == [("replay", ([ID, "a"], True))]


async def test_edited_letters_are_not_accepted_unless_asked_for(desk: Desk) -> None:
    async with desk.client() as client:
        await client.post(REPLAY, headers=BEARER, json={"ids": [ID]})
    assert desk.asked == [("replay", ([ID], False))]


async def test_a_discard_gives_a_result_for_each_id(desk: Desk) -> None:
    async with desk.client() as client:
        answer = await client.post(DISCARD, headers=BEARER, json={"ids": [ID]})
    assert answer.json() == {"results": {ID: {"result": "not_found", "detail": "gone"}}}
    assert desk.asked == [("discard", [ID])]


@pytest.mark.parametrize("path", [REPLAY, DISCARD])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN.decode()}x",
        f"Bearer {TOKEN.decode()[:-1]}",
        f"Basic {TOKEN.decode()}",
        TOKEN.decode(),
    ],
)
async def test_every_post_needs_the_token(desk: Desk, path: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    with capture_logs() as lines:
        async with desk.client() as client:
            answer = await client.post(path, headers=headers, json={"ids": [ID]})
    assert (answer.status_code, answer.json()["error"]) == (401, "token")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert desk.asked == []
    assert [line["event"] for line in lines] == ["admin_token_refused"]
    assert TOKEN.decode()[:-1] not in repr(lines)


async def test_somebody_who_tries_tokens_cannot_fill_the_disk(desk: Desk) -> None:
    with capture_logs() as lines:
        async with desk.client() as client:
            for _ in range(100):
                await client.post(REPLAY)
    assert len(lines) <= 25


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
async def test_a_post_that_a_web_page_could_send_is_415(desk: Desk, content_type: str | None) -> None:
    headers = {**BEARER, **({} if content_type is None else {"content-type": content_type})}
    async with desk.client() as client:
        answer = await client.post(REPLAY, headers=headers, content=b'{"ids": []}')
        assert (answer.status_code, answer.json()["error"]) == (415, "content_type")
        headers["content-type"] = "application/json; charset=utf-8"
        assert (await client.post(REPLAY, headers=headers, content=b'{"ids": []}')).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"ids": "x"}', b'{"ids": [1]}', b'{"ids": [""]}',
        b'{"ids": ["../../etc/passwd"]}', b'{"ids": ["a/b"]}', b'{"ids": ["a\\n"]}', b'{"ids": ["a\\u0000"]}',
        b'{"ids": [], "accept_edited": "yes"}', b'{"ids": [], "unknown": 1}', b"[" * 10_000, b"\xff",
        b'{"ids": ["\xff"]}', b'{"ids": ["\xc3"]}', b'{"ids": ["\\ud800"]}', b'{"\xff": []}',
        b'{"ids": ["' + b"a" * 201 + b'"]}',
    ],
)  # fmt: skip
async def test_a_body_that_is_not_what_is_asked_for_is_400_and_says_why(desk: Desk, body: bytes) -> None:
    async with desk.client() as client:
        headers = {**BEARER, "content-type": "application/json"}
        answer = await client.post(REPLAY, headers=headers, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"] == "body"
    assert answer.json()["detail"]
    assert desk.asked == []


async def test_a_body_has_a_bound(desk: Desk) -> None:
    kibibytes = [{"type": "http.request", "body": b" " * 1024, "more_body": True}] * 2000
    assert await replay_in_parts(desk, kibibytes) == 413
    assert desk.asked == []


async def test_a_body_that_does_not_come_is_408(desk: Desk, autojump_clock: trio.testing.MockClock) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        await trio.sleep(60)

    async with desk.client() as client:
        headers = {**BEARER, "content-type": "application/json"}
        assert (await client.post(REPLAY, headers=headers, content=body())).status_code == 408


async def test_a_client_that_leaves_asks_for_nothing(desk: Desk) -> None:
    begun = {"type": "http.request", "body": b'{"ids": []', "more_body": True}
    assert await replay_in_parts(desk, [begun, {"type": "http.disconnect"}]) == 400
    assert desk.asked == []


async def replay_in_parts(desk: Desk, parts: Iterable[Mapping[str, Any]]) -> int:
    """Speak to the app as a server does; returns the status."""
    statuses: list[int] = []
    waiting = iter(parts)

    async def receive() -> Mapping[str, Any]:
        return next(waiting)

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = {**BEARER, "host": "localhost", "content-type": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": REPLAY,
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await desk.admin_app(scope, receive, send)
    (status,) = statuses
    return status


async def test_unknown_paths_and_methods_are_told_in_json(desk: Desk) -> None:
    async with desk.client() as client:
        for path in ("/", "/api", "/api/status/", "/metrics/", "/api/dead-letters/replay/x"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]) == (404, "unknown_path")
        answer = await client.get(REPLAY)
        assert (answer.status_code, answer.json()["error"]) == (405, "method")
        assert answer.headers["allow"] == "POST"
        assert (await client.post("/api/status", headers=BEARER)).status_code == 405


@pytest.mark.parametrize(
    ("fault", "status", "word"),
    [
        (UsageError("no such target"), 400, "usage"),
        (SpoolUnavailableError("disk full", remedy="make room"), 503, "unavailable"),
        (LinkLostError("the database does not answer"), 503, "unavailable"),
        (DeadLetterError("unreadable"), 500, "failed"),
    ],
)
async def test_an_action_that_fails_says_why_and_is_logged(
    desk: Desk, fault: GatewayError, status: int, word: str
) -> None:
    desk.fault = fault
    with capture_logs() as lines:
        async with desk.client() as client:
            answer = await client.post(REPLAY, headers=BEARER, json={"ids": [ID]})
    assert (answer.status_code, answer.json()) == (status, {"error": word, "detail": str(fault)})
    assert [line["event"] for line in lines] == ["admin_action_failed"]


async def test_failures_that_anybody_can_bring_about_do_not_fill_the_log(desk: Desk) -> None:
    desk.fault = SpoolUnavailableError("the database does not answer")
    with capture_logs() as lines:
        async with desk.client() as client:
            for _ in range(BURST_LINES + 10):
                assert (await client.get("/api/status")).status_code == 503
    assert len(lines) == BURST_LINES


async def test_a_fault_of_our_own_is_500_without_details(desk: Desk) -> None:
    desk.fault = ZeroDivisionError("the secret sauce")
    async with desk.client() as client:
        answer = await client.get("/api/status")
    assert answer.status_code == 500
    assert answer.json()["error"] == "failed"
    assert "sauce" not in answer.text


# -- real sockets, import time


async def test_over_a_real_socket_under_stock_hypercorn(desk: Desk) -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.graceful_timeout = 0.1
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        (bind,) = await nursery.start(partial(serve, desk.admin_app, config, mode="asgi"))
        async with httpx.AsyncClient(base_url=bind) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}
            assert (await client.head("/metrics")).status_code == 200
            answer = await client.post(REPLAY, headers=BEARER, json={"ids": [ID]})
            assert answer.json()["results"][ID]["result"] == "replayed"
            foreign = await client.get("/healthz", headers={"host": "evil.example"})
            assert foreign.status_code == 421
        nursery.cancel_scope.cancel()


def test_health_and_token_come_without_starlette() -> None:
    """The commands read the token: they must not pay for a web framework."""
    code = (
        "import sys; import gateway.admin.token, gateway.admin.health, gateway.admin.guard;"
        "sys.exit(sum(name.split('.')[0] in ('starlette', 'trio', 'msgspec') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_lost_target_is_discarded_with_the_token_and_within_bounds(desk: Desk) -> None:
    path = "/api/targets/discard"
    async with desk.client() as client:
        assert (await client.post(path, json={"target": "former"})).status_code == 401
        answer = await client.post(path, json={"target": "former", "limit": 7}, headers=BEARER)
        assert (answer.status_code, answer.json()) == (200, {"discarded": 7, "left": 0})
        for limit in (0, 1001, "many"):
            answer = await client.post(path, json={"target": "former", "limit": limit}, headers=BEARER)
            assert answer.status_code == 400
    assert desk.asked == [("discard_target", ("former", 7))]


async def test_what_was_delivered_is_replayed_with_the_token_and_within_bounds(desk: Desk) -> None:
    path, asked = "/api/replay", {"target": "support", "since_ms": 1, "until_ms": 2}
    async with desk.client() as client:
        assert (await client.post(path, json=asked)).status_code == 401
        answer = await client.post(path, json={**asked, "kind": "status", "after": [1, 2]}, headers=BEARER)
        assert (answer.status_code, answer.json()["counts"]) == (200, {"replayed": 3})
        for wrong in ({"kind": "letter"}, {"limit": 0}, {"limit": 1001}, {"since_ms": -1}, {"after": [1]}):
            answer = await client.post(path, json={**asked, **wrong}, headers=BEARER)
            assert answer.status_code == 400
    [(action, request)] = desk.asked
    assert (action, request.kind, request.after, request.limit) == ("replay_kept", "status", (1, 2), 100)


async def test_targets_are_paused_and_resumed_with_the_token(desk: Desk) -> None:
    async with desk.client() as client:
        assert (await client.post("/api/targets/pause", json={"target": "support"})).status_code == 401
        asked = {"target": "support", "seconds": 7200.0, "reason": "deploy"}
        answer = await client.post("/api/targets/pause", json=asked, headers=BEARER)
        assert (answer.status_code, answer.json()) == (200, {"state": "paused"})
        asked = {"target": "support", "rate_per_second": 0.5}
        answer = await client.post("/api/targets/resume", json=asked, headers=BEARER)
        assert (answer.status_code, answer.json()) == (200, {"state": "delivering"})
        for wrong in ({}, {"target": 1}, {"target": "support", "for": "2h"}):
            answer = await client.post("/api/targets/pause", json=wrong, headers=BEARER)
            assert (answer.status_code, answer.json()["error"]) == (400, "body")
    assert desk.asked == [("pause", ("support", 7200.0, "deploy")), ("resume", ("support", 0.5))]


# -- what comes in, and where it is


async def test_the_ledger_is_open_and_a_trace_needs_the_token(desk: Desk) -> None:
    async with desk.client() as client:
        answer = await client.get("/api/ledger")
        assert (answer.status_code, answer.json()["conditions"]) == (200, [])
        for headers in ({}, {"authorization": "Bearer wrong"}):
            answer = await client.get("/api/trace", params={"id": "wamid.A/B=="}, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "token")
        assert desk.asked == []
        answer = await client.get("/api/trace", params={"id": "wamid.A/B=="}, headers=BEARER)
        assert (answer.status_code, answer.json()["notifications"]) == (200, [])
        desk.fault = UsageError("that is neither an id nor a message id")
        assert (await client.get("/api/trace", headers=BEARER)).status_code == 400
    assert desk.asked == [("trace", "wamid.A/B==")]
