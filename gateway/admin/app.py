"""The apps of the admin port and of the metrics port.

| path | answers |
|---|---|
| `GET /healthz` | 200 `{"status": "ok"}`: the process answers |
| `GET /readyz` | 200 or 503, an object a check: `{"listener": {"ok": true, "detail": ""}, ...}` |
| `GET /metrics` | the text exposition format |
| `GET /api/status` | counts per target; no token, since they hold nothing of any notification |
| `POST /api/targets/pause` | `{"target": NAME, "seconds": null, "reason": ""}` -> how the target is |
| `POST /api/targets/resume` | `{"target": NAME, "rate_per_second": null}` -> how the target is |
| `POST /api/targets/discard` | `{"target": NAME, "limit": 100}` -> `{"discarded": 100, "left": 23}` |
| `POST /api/replay` | sends again what was delivered: `requests.ReplayKeptRequest` -> `{"counts": ...}` |
| `GET /api/config` | what is loaded and how the last reload went; no token (`reports.Config`) |
| `GET /api/config/source` | `{"content": TEXT}`, the file as it was loaded; needs the token |
| `GET /api/ledger` | no token; what is wrong, what Meta sends, what targets take (`reports.LedgerReport`) |
| `GET /api/trace?id=ID` | where a notification is, or those that hold a message id; needs the token |
| `GET /api/edge` | no token; anchors, secrets, certificates, lists, refusals (`reports.EdgeReport`) |
| `POST /api/dead-letters/replay` | `{"ids": [...], "accept_edited": false}` -> results |
| `POST /api/dead-letters/discard` | `{"ids": [...]}` -> results |
| `POST /api/dead-letters/rehearse` | as replay -> what it would do |
| `POST /api/dead-letters/list` | where gateways share a spool: `requests.LettersRequest` -> a page of it |
| `POST /api/dead-letters/show` | the same: `{"id": ID}` -> one of them |
| `GET /` and what it leads to | the dashboard: `dashboard.endpoints` has its paths and its order of checks |

Results are `{"results": {ID: {"result": WORD, "detail": TEXT}}}`, errors `{"error": WORD, "detail": TEXT}`.

On the admin port, in this order: `Host` neither loopback nor configured 421, drawn in by another site's page
403, unknown path 404, method 405;
for a POST also: token 401, not `application/json` 415, body too large 413, not here in time 408, not what is
asked for 400. The metrics port has the first three paths and nothing else, and asks for no `Host`: there is
nothing to protect from a browser.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.admin.actions import ActionResult, Actions
from gateway.admin.body import BodyRefusedError, read_body
from gateway.admin.guard import host_is_ours, is_drawn_in, is_json, token_is_right
from gateway.admin.health import Health
from gateway.admin.reports import Config, EdgeReport, LedgerReport, RenderMetrics
from gateway.admin.requests import (
    DiscardRequest,
    DiscardTargetRequest,
    LetterRequest,
    LettersRequest,
    PauseRequest,
    ReplayKeptRequest,
    ReplayRequest,
    ResumeRequest,
)
from gateway.errors import GatewayError, SpoolUnavailableError, UsageError
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger
from gateway.telemetry.metrics import CONTENT_TYPE

_LINES_PER_SECOND: Final = 1.0
"""Of refusals in the log: somebody tries tokens, once a second is often enough to say so."""

log = get_logger("admin")


Asked = TypeVar(
    "Asked",
    LetterRequest,
    LettersRequest,
    ReplayRequest,
    DiscardRequest,
    PauseRequest,
    ResumeRequest,
    DiscardTargetRequest,
    ReplayKeptRequest,
)


def build_admin_app(
    *,
    health: Health,
    render_metrics: RenderMetrics,
    token: Callable[[], bytes],
    hosts: frozenset[str],
    actions: Actions,
    config: Config,
    edge: EdgeReport,
    ledger: LedgerReport,
    source: Callable[[], bytes] = bytes,
    pages: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """Make the app of the admin port; `token` is asked at every POST: a reload may change it.

    `source` returns the configuration as it was loaded. `pages`: the dashboard's (`dashboard.endpoints`).
    """
    api = _Api(actions, token, config=config, source=source, edge=edge, ledger=ledger)
    routes = [
        Route("/api/status", api.status, methods=["GET"]),
        Route("/api/targets/pause", api.pause, methods=["POST"]),
        Route("/api/targets/resume", api.resume, methods=["POST"]),
        Route("/api/targets/discard", api.discard_target, methods=["POST"]),
        Route("/api/replay", api.replay_kept, methods=["POST"]),
        Route("/api/config", api.config, methods=["GET"]),
        Route("/api/config/source", api.source, methods=["GET"]),
        Route("/api/edge", api.edge, methods=["GET"]),
        Route("/api/trace", api.trace, methods=["GET"]),
        Route("/api/ledger", api.ledger, methods=["GET"]),
        Route("/api/dead-letters/replay", api.replay, methods=["POST"]),
        Route("/api/dead-letters/discard", api.discard, methods=["POST"]),
        Route("/api/dead-letters/rehearse", api.rehearse, methods=["POST"]),
        Route("/api/dead-letters/list", api.letters, methods=["POST"]),
        Route("/api/dead-letters/show", api.letter, methods=["POST"]),
    ]
    return _HostGuard(_starlette([*_probes(health, render_metrics), *routes, *pages]), hosts)


def build_metrics_app(*, health: Health, render_metrics: RenderMetrics) -> ASGIApp:
    """Make the app of the second listener: metrics, health and readiness, nothing else."""
    return _starlette(_probes(health, render_metrics))


def _starlette(routes: Sequence[BaseRoute]) -> ASGIApp:
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _http_error,
            GatewayError: _Failures().answer,
            Exception: _our_fault,
        },
    )
    app.router.redirect_slashes = False
    return app


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    fixed = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    return JSONResponse(content, status_code=status, headers={**fixed, **(headers or {})})


def _error(status: int, word: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json({"error": word, "detail": detail}, status, headers)


Given = TypeVar("Given")


async def _given(answer: Given | Awaitable[Given]) -> Given:
    """Wait for an answer that is made of those of several processes."""
    return await answer if isinstance(answer, Awaitable) else answer


def _probes(health: Health, render_metrics: RenderMetrics) -> list[Route]:
    async def healthz(_: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_: Request) -> Response:
        checks = await _given(health())
        shown = {name: {"ok": check.ok, "detail": check.detail} for name, check in checks.items()}
        return _json(shown, 200 if all(check.ok for check in checks.values()) else 503)

    async def metrics(_: Request) -> Response:
        return Response(await render_metrics(), headers={"content-type": CONTENT_TYPE})

    endpoints = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}
    return [Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()]


class _Api:
    def __init__(
        self,
        actions: Actions,
        token: Callable[[], bytes],
        *,
        config: Config,
        source: Callable[[], bytes],
        edge: EdgeReport,
        ledger: LedgerReport,
    ) -> None:
        self._actions = actions
        self._source = source
        self._edge = edge
        self._ledger = ledger
        self._token = token
        self._config = config
        self._budget = LineBudget(lines_per_second=_LINES_PER_SECOND)

    async def status(self, _: Request) -> Response:
        return _json(await self._actions.status())

    async def pause(self, request: Request) -> Response:
        asked = await self._read(request, PauseRequest)
        if isinstance(asked, Response):
            return asked
        return _json(await self._actions.pause(asked.target, seconds=asked.seconds, reason=asked.reason))

    async def resume(self, request: Request) -> Response:
        asked = await self._read(request, ResumeRequest)
        if isinstance(asked, Response):
            return asked
        return _json(await self._actions.resume(asked.target, rate_per_second=asked.rate_per_second))

    async def discard_target(self, request: Request) -> Response:
        asked = await self._read(request, DiscardTargetRequest)
        if isinstance(asked, Response):
            return asked
        return _json(await self._actions.discard_target(asked.target, limit=asked.limit))

    async def replay_kept(self, request: Request) -> Response:
        asked = await self._read(request, ReplayKeptRequest)
        if isinstance(asked, Response):
            return asked
        return _json(await self._actions.replay_kept(asked))

    async def config(self, _: Request) -> Response:
        return _json(await _given(self._config()))

    async def source(self, request: Request) -> Response:
        if (refusal := self._refuse_without_token(request)) is not None:
            return refusal
        return _json({"content": self._source().decode("utf-8-sig", "replace")})

    async def edge(self, _: Request) -> Response:
        return _json(await _given(self._edge()))

    async def trace(self, request: Request) -> Response:
        if (refusal := self._refuse_without_token(request)) is not None:
            return refusal
        return _json(await self._actions.trace(request.query_params.get("id", "")))

    async def ledger(self, _: Request) -> Response:
        return _json(await self._ledger())

    async def replay(self, request: Request) -> Response:
        asked = await self._read(request, ReplayRequest)
        if isinstance(asked, Response):
            return asked
        return _results(await self._actions.replay(asked.ids, accept_edited=asked.accept_edited))

    async def discard(self, request: Request) -> Response:
        asked = await self._read(request, DiscardRequest)
        if isinstance(asked, Response):
            return asked
        return _results(await self._actions.discard(asked.ids))

    async def rehearse(self, request: Request) -> Response:
        asked = await self._read(request, ReplayRequest)
        if isinstance(asked, Response):
            return asked
        return _results(await self._actions.rehearse(asked.ids, accept_edited=asked.accept_edited))

    async def letters(self, request: Request) -> Response:
        asked = await self._read(request, LettersRequest)
        return asked if isinstance(asked, Response) else _json(await self._actions.list_letters(asked))

    async def letter(self, request: Request) -> Response:
        asked = await self._read(request, LetterRequest)
        return asked if isinstance(asked, Response) else _json(await self._actions.read_letter(asked.id))

    async def _read(self, request: Request, shape: type[Asked]) -> Asked | Response:
        # 1. Who asks. 2. Not a form that a web page could send. 3. What is asked, within bounds.
        if (refusal := self._refuse_without_token(request)) is not None:
            return refusal
        if not is_json(_values(request.scope, b"content-type")):
            return _error(415, "content_type", "send application/json")
        try:
            body = await read_body(request)
        except BodyRefusedError as refused:
            return _error(refused.status, refused.word, refused.detail)
        try:
            return msgspec.json.decode(body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is one of the former
            return _error(400, "body", str(error))

    def _refuse_without_token(self, request: Request) -> Response | None:
        if token_is_right(_values(request.scope, b"authorization"), token=self._token()):
            return None
        self._tell(request)
        return _error(
            401, "token", "send Authorization: Bearer TOKEN", {"www-authenticate": 'Bearer realm="gateway"'}
        )

    def _tell(self, request: Request) -> None:
        suppressed = self._budget.take(trio.current_time())
        if suppressed is not None:
            address = request.client.host if request.client is not None else ""
            log.warning("admin_token_refused", path=request.url.path, address=address, suppressed=suppressed)


def _results(results: Mapping[str, ActionResult]) -> Response:
    return _json(
        {"results": {id_: {"result": one.result, "detail": one.detail} for id_, one in results.items()}}
    )


class _HostGuard:
    """Turns away requests for hosts that are not ours (RFC 9110, 15.5.20), and what other sites' pages draw
    in, before anything looks at them."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not host_is_ours(_values(scope, b"host"), hosts=self._hosts):
            refusal = _error(421, "host", "ask for a loopback address, or name the host in admin.hosts")
            await refusal(scope, receive, send)
            return
        if scope["type"] == "http" and is_drawn_in(
            fetch_sites=_values(scope, b"sec-fetch-site"),
            fetch_modes=_values(scope, b"sec-fetch-mode"),
            destinations=_values(scope, b"sec-fetch-dest"),
        ):
            refusal = _error(403, "other_site", "nothing here is for pages of other sites")
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


_WORDS: Final = {404: "unknown_path", 405: "method"}
_FAULTS: Final[Mapping[type[GatewayError], tuple[int, str]]] = {
    UsageError: (400, "usage"),
    SpoolUnavailableError: (503, "unavailable"),
}


async def _http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    word = _WORDS.get(error.status_code, "failed")
    return _error(error.status_code, word, error.detail, error.headers)


class _Failures:
    """Answers for what cannot be done. Some of what is asked for needs no token, so lines have a budget."""

    def __init__(self) -> None:
        self._budget = LineBudget(lines_per_second=_LINES_PER_SECOND)

    async def answer(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, GatewayError):
            raise error
        known = (fault for kind, fault in _FAULTS.items() if isinstance(error, kind))
        status, word = next(known, (500, "failed"))
        suppressed = self._budget.take(trio.current_time())
        if suppressed is not None:
            log.error(
                "admin_action_failed",
                path=request.url.path,
                status=status,
                error=str(error),
                suppressed=suppressed,
            )
        return _error(status, word, str(error))


async def _our_fault(_: Request, __: Exception) -> Response:
    """Answer for a bug; Starlette then raises it again, so that the server puts it on record."""
    return _error(500, "failed", "see the log of the gateway")
