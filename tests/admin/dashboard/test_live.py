"""Server-sent events: bounded in number and life, and nobody is told the same twice."""

import json
from typing import Any

import pytest
import trio
import trio.testing

from gateway.admin.dashboard import board, live
from gateway.admin.dashboard.live import MAX_LISTENERS
from tests.admin.dashboard.rig import Stage


class Listener:
    """A browser that listens: speaks to the app as a server does."""

    def __init__(self, stage: Stage, method: str = "GET") -> None:
        self.app = stage.admin_app
        self.method = method
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.said: list[str] = []
        self.ended = False
        self.gone = trio.Event()
        self._asked = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        scope = {
            "type": "http", "method": self.method, "path": "/events", "raw_path": b"/events",
            "query_string": b"", "headers": [(b"host", b"localhost")], "server": ("127.0.0.1", 1),
        }  # fmt: skip

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status, self.headers = message["status"], dict(message["headers"])
                task_status.started()
            else:
                self.said += [message["body"].decode()] if message.get("body") else []
                self.ended = not message.get("more_body", False)

        await self.app(scope, self._receive, send)

    async def _receive(self) -> Any:
        if self._asked:
            await self.gone.wait()
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def heard(self, number: int) -> None:
        """Return when so many events have come."""
        with trio.fail_after(20):
            while len(self.events) < number:  # noqa: ASYNC110 (an event would be the server's part)
                await trio.sleep(0.01)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(text.removeprefix("data: ")) for text in self.said if text.startswith("data: ")]


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything go faster: pages are rendered in threads, which no clock of a test waits for."""
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(live, "LIFE_SECONDS", 0.6)
    monkeypatch.setattr(board, "FRESH_SECONDS", 0.0)


@pytest.mark.usefixtures("hasty")
async def test_the_first_event_has_all_and_the_next_what_has_changed(stage: Stage) -> None:
    listener = Listener(stage)
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.run)
        await listener.heard(1)
        stage.targets["billing"] = {"state": "open"}
        await listener.heard(3)
        listener.gone.set()
    assert listener.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert listener.headers[b"cache-control"] == b"no-store"
    assert listener.said[0] == "retry: 3000\n\n"
    first, *later = listener.events
    assert {"verdict", "targets", "letters", "changes"} <= first["sections"].keys()
    changed = [event["sections"]["targets"] for event in later if "targets" in event["sections"]]
    assert len(changed) == 1, "told once"
    assert "billing" in changed[0]
    assert all("changes" not in event["sections"] for event in later)


@pytest.mark.usefixtures("hasty")
async def test_a_listener_is_let_go_after_its_life(stage: Stage) -> None:
    listener = Listener(stage)
    with trio.fail_after(20):
        await listener.run()
    assert listener.ended
    assert listener.events


async def test_one_listener_too_many_is_told_to_come_back(stage: Stage) -> None:
    async with trio.open_nursery() as nursery:
        listeners = [Listener(stage) for _ in range(MAX_LISTENERS)]
        for one in listeners:
            await nursery.start(one.run)
        late = Listener(stage)
        await late.run()
        assert (late.status, late.headers[b"retry-after"]) == (503, b"10")
        listeners[0].gone.set()
        with trio.fail_after(20):
            while stage.dashboard._listeners.full:  # noqa: ASYNC110 (a page that is being made is finished)
                await trio.sleep(0.01)
        again = Listener(stage)
        await nursery.start(again.run)
        assert again.status == 200, "whoever goes makes room"
        await again.heard(1)
        asked = sum(name == "status" for name, _ in stage.asked)
        assert asked < MAX_LISTENERS / 2, "many open pages cost what one does"
        nursery.cancel_scope.cancel()


async def test_whoever_asks_for_the_head_alone_takes_no_place(stage: Stage) -> None:
    for _ in range(MAX_LISTENERS + 1):
        listener = Listener(stage, "HEAD")
        await listener.run()
        assert (listener.status, listener.said) == (200, [])
