"""The dashboard's requests.

| path | answers |
|---|---|
| `GET /` | the overview; `GET /events`: its parts as they change |
| `GET /targets/NAME` | one target, an hour of it, and the forms to pause and resume it |
| `GET /dead-letters`, `GET /dead-letters/ID` | a filtered list; one letter, `?payload=1` with its body |
| `GET /dead-letters/ID/payload` | the bytes as a file |
| `POST /dead-letters/confirm`, `POST /dead-letters/act` | what is about to be done; doing it |
| `POST /targets/NAME/act` | pausing and resuming |
| `GET /ledger`, `GET /refusals`, `GET /changes` | all that is kept of what came, was refused, was done |
| `GET /login`, `POST /login`, `POST /logout` | the token for a session, and its end |
| `GET /static/NAME` | style sheet, script, icon |

`Host` has been looked at before (`admin.app`). Then, in this order, for a POST: not sent by a page of our
own 403, not a form 415, no session 303 to the login, body as in `admin.body`, the session's word missing
403. What target answers hold and what a notification says is shown to a session alone. Everything that is
done goes through `admin.app.Actions`, which puts it on the audit log first.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlencode

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.app import ActionResult
from gateway.admin.body import BodyRefusedError, read_body
from gateway.admin.dashboard import charts, wording
from gateway.admin.dashboard.board import Board, Sources
from gateway.admin.dashboard.letters import Wanted
from gateway.admin.dashboard.live import Listeners
from gateway.admin.dashboard.overview import change_rows, line_rows, refusal_rows
from gateway.admin.dashboard.pages import SECURITY_HEADERS, Pages, read_static, visible_text
from gateway.admin.dashboard.sessions import LIFE_SECONDS, Notice, Session, Sessions, csrf_is_right
from gateway.admin.guard import is_from_own_page
from gateway.errors import GatewayError, SpoolUnavailableError, UsageError
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger

PAYLOAD_SHOWN_BYTES: Final = 64 * 1024
"""On a page; the file has the rest."""
MAX_IDS: Final = 100
"""Of one action: two pages of the list."""
MAX_FIELDS: Final = 400
"""Of one form: the ids, what was typed, and some."""
RETRY_AFTER_SECONDS: Final = 10
"""For whoever tries tokens too fast, and for a listener too many."""
PAUSES: Final = {"30m": 1800.0, "2h": 7200.0, "8h": 28_800.0, "": None}
"""How long a target may be left alone, as the form offers it; empty: until it is resumed."""
ACTIONS: Final = ("replay", "discard")
_GOOD_WORDS: Final = frozenset({"replayed", "pending", "discarded"})
_FORM: Final = "application/x-www-form-urlencoded"
_DELIVERY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")
_LOCAL_PATH: Final = re.compile(r"/(?:[A-Za-z0-9_.~%?=&+*:-][A-Za-z0-9_.~%?=&+*:/-]*)?")
"""Where a login may lead to: on this port, and to no other host (`//host` is none)."""
_LINES_PER_SECOND: Final = 1.0

log = get_logger("admin")

Handler = Callable[[Request], Awaitable[Response]]
Form = Mapping[str, Sequence[str]]


class Desk:
    """Answers for the dashboard."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._pages = Pages()
        self.board = Board(sources, self._pages)
        self._listeners = Listeners(self.board)
        self._sessions = Sessions(token=sources.token, random_word=lambda: secrets.token_urlsafe(32))
        self._static = read_static()
        self._budget = LineBudget(lines_per_second=_LINES_PER_SECOND)

    async def sample(self) -> None:
        """Feed the history: to be run for as long as the port is open."""
        await self.board.sample()

    def routes(self) -> list[Route]:
        """Return what `build_admin_app` serves."""
        gets: Mapping[str, Handler] = {
            "/": self._overview,
            "/events": self._events,
            "/targets/{name}": self._target,
            "/dead-letters": self._letters,
            "/dead-letters/{identifier}": self._letter,
            "/dead-letters/{identifier}/payload": self._payload,
            "/ledger": self._ledger,
            "/refusals": self._refusals,
            "/changes": self._changes,
            "/login": self._login_form,
            "/static/{name}": self._file,
        }
        posts: Mapping[str, Handler] = {
            "/login": self._login,
            "/logout": self._logout,
            "/dead-letters/confirm": self._confirm,
            "/dead-letters/act": self._act,
            "/targets/{name}/act": self._act_on_target,
        }
        return [
            *(Route(path, self._guarded(handler), methods=["POST"]) for path, handler in posts.items()),
            *(Route(path, self._told(handler), methods=["GET"]) for path, handler in gets.items()),
        ]

    # -- pages

    async def _overview(self, request: Request) -> Response:
        shown = await self.board.shown()
        return self._page(request, "overview.html", {"shown": shown, "now_ms": shown.overview.now_ms})

    async def _events(self, _: Request) -> Response:
        if self._listeners.full:
            headers = {**SECURITY_HEADERS, "retry-after": str(RETRY_AFTER_SECONDS)}
            return Response("too many pages are open\n", 503, headers, media_type="text/plain")
        return self._listeners.answer()

    async def _target(self, request: Request) -> Response:
        name = request.path_params["name"]
        shown = await self.board.shown()
        row = next((one for one in shown.overview.targets if one.name == name), None)
        if row is None:
            return self._error(
                request, 404, "No such target", "It is not in the configuration, and nothing waits for it."
            )
        values = {
            "row": row,
            "line_chart": charts.target_chart(self.board.history, name),
            "pauses": tuple(PAUSES),
            "may_pause": row.state in ("delivering", "recovering", "open", "paused"),
        }
        return self._page(request, "target.html", values)

    async def _letters(self, request: Request) -> Response:
        asked = {name: request.query_params.get(name, "").strip() for name in Wanted.__dataclass_fields__}
        wanted = Wanted(**asked)
        problem, page = "", None
        try:
            page = await self._sources.letters.page(wanted)
        except UsageError as error:
            problem = str(error)
        filters = {name: text for name, text in asked.items() if text and name != "after"}
        shown = await self.board.shown()
        values = {
            "wanted": wanted,
            "page": page,
            "problem": problem,
            "filtered": bool(filters),
            "next_query": urlencode({**filters, "after": page.after}) if page and page.after else "",
            "first_query": urlencode(filters),
            "targets": [row.name for row in shown.overview.targets],
            "counts": shown.overview.dead_letters,
            "reasons": self._sources.letters.reasons(),
        }
        return self._page(request, "letters.html", values, 400 if problem else 200)

    async def _letter(self, request: Request) -> Response:
        letter = await self._sources.letters.find(request.path_params["identifier"])
        if letter is None:
            return self._no_letter(request)
        wants_payload = request.query_params.get("payload") == "1"
        if wants_payload and self._session(request) is None:
            return self._to_login(request)
        text = _readable(letter.body) if wants_payload else ""
        return self._page(
            request, "letter.html", {"letter": letter, "payload": text, "wants_payload": wants_payload}
        )

    async def _payload(self, request: Request) -> Response:
        if self._session(request) is None:
            return self._to_login(request)
        letter = await self._sources.letters.find(request.path_params["identifier"])
        if letter is None:
            return self._no_letter(request)
        headers = {
            **SECURITY_HEADERS,
            "content-disposition": f'attachment; filename="{letter.row.id}.json"',
        }
        return Response(letter.body, headers=headers, media_type="application/octet-stream")

    async def _ledger(self, request: Request) -> Response:
        ledger = await self._sources.ledger()
        values = {"rows": tuple(line_rows(ledger)), "left_out": ledger.get("lines_left_out", 0)}
        return self._page(request, "ledger.html", values)

    async def _refusals(self, request: Request) -> Response:
        facts, missing = await self.board.facts()
        return self._page(
            request, "refusals.html", {"rows": tuple(refusal_rows(facts.edge)), "missing": missing}
        )

    async def _changes(self, request: Request) -> Response:
        lines = await trio.to_thread.run_sync(self._sources.changes, abandon_on_cancel=True)
        return self._page(request, "changes.html", {"rows": tuple(change_rows(lines))})

    async def _file(self, request: Request) -> Response:
        found = self._static.get(request.path_params["name"])
        if found is None:
            return self._error(request, 404, "No such page", "")
        content, media_type = found
        # Names stay the same over versions: asked for again after a minute, while a page is being read.
        headers = {**SECURITY_HEADERS, "cache-control": "max-age=60", "content-type": media_type}
        return Response(content, headers=headers)

    # -- who acts

    async def _login_form(self, request: Request) -> Response:
        return self._login_page(request, _local(request.query_params.get("next", "")))

    async def _login(self, request: Request) -> Response:
        form = await _form(request)
        leads_to = _local(_one(form, "next"))
        now_seconds = trio.current_time()
        if not self._sessions.may_try(now_seconds):
            problem = "Too many tries: wait ten seconds."
            return self._login_page(request, leads_to, problem, 429)
        word = self._sessions.open(_one(form, "token").strip(), now_seconds)
        if word is None:
            self._tell_of_token(request)
            return self._login_page(request, leads_to, "That is not the token.", 401)
        answer = _see(leads_to)
        answer.set_cookie(
            _cookie_name(request),
            word,
            max_age=round(LIFE_SECONDS),
            path="/",
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        self._sessions.close(request.cookies.get(_cookie_name(request), ""))
        answer = _see("/")
        answer.delete_cookie(_cookie_name(request), path="/", httponly=True, samesite="strict")
        answer.headers["clear-site-data"] = '"cache"'
        return answer

    def _session(self, request: Request) -> Session | None:
        word = request.cookies.get(_cookie_name(request))
        return self._sessions.find(word, trio.current_time()) if word else None

    def _tell_of_token(self, request: Request) -> None:
        suppressed = self._budget.take(trio.current_time())
        if suppressed is not None:
            address = request.client.host if request.client is not None else ""
            log.warning("admin_token_refused", path=request.url.path, address=address, suppressed=suppressed)

    # -- what is done

    async def _confirm(self, request: Request) -> Response:
        form, _ = await self._agreed(request)
        action, ids = _one(form, "action"), _ids(form)
        if action not in ACTIONS or not ids:
            return self._error(
                request, 400, "Nothing is chosen", "Tick dead letters in the list, then say what to do."
            )
        return self._page(
            request, "confirm.html", {"action": action, "ids": ids, "back": _local(_one(form, "back"))}
        )

    async def _act(self, request: Request) -> Response:
        form, session = await self._agreed(request)
        action, ids = _one(form, "action"), _ids(form)
        if action not in ACTIONS or not ids:
            return self._error(
                request, 400, "Nothing is chosen", "Tick dead letters in the list, then say what to do."
            )
        actions = self._sources.actions
        results: Mapping[str, ActionResult] = (
            await actions.replay(ids, accept_edited=_one(form, "accept_edited") == "1")
            if action == "replay"
            else await actions.discard(ids)
        )
        done = sum(one.result in _GOOD_WORDS for one in results.values())
        what = "stored again for delivery" if action == "replay" else "removed for good"
        session.notice = Notice(
            title=f"{done} of {wording.plural(len(ids), 'dead letter')} {what}",
            rows=tuple((name, one.result.replace("_", " "), one.detail) for name, one in results.items()),
            good=done == len(ids),
        )
        self.board.forget()
        return _see("/dead-letters")

    async def _act_on_target(self, request: Request) -> Response:
        form, session = await self._agreed(request)
        name, action = request.path_params["name"], _one(form, "action")
        if action == "pause" and _one(form, "for") in PAUSES:
            seconds, reason = PAUSES[_one(form, "for")], _one(form, "reason")[:200]
            await self._sources.actions.pause(name, seconds=seconds, reason=reason)
            session.notice = Notice(
                title=f"{name} is paused; what comes for it waits, and its give-up clock stands still"
            )
        elif action == "resume":
            await self._sources.actions.resume(name, rate_per_second=None)
            session.notice = Notice(title=f"{name} is delivered to again")
        else:
            return self._error(request, 400, "Nothing was asked for", "Go back, and use the form.")
        self.board.forget()
        return _see(f"/targets/{quote(name, safe='')}")

    async def _agreed(self, request: Request) -> tuple[Form, Session]:
        session = self._session(request)
        if session is None:
            raise _Answered(self._to_login(request))
        form = await _form(request)
        if not csrf_is_right(session, _one(form, "csrf")):
            raise _Answered(
                self._error(request, 403, "This form is too old", "Load the page anew, and send it again.")
            )
        return form, session

    # -- around every handler

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if not is_from_own_page(
                fetch_sites=_values(request, b"sec-fetch-site"),
                origins=_values(request, b"origin"),
                hosts=_values(request, b"host"),
            ):
                return self._error(
                    request, 403, "Not from here", "This form was sent by another site's page."
                )
            if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
                return self._error(request, 415, "Not a form", f"Send {_FORM}.")
            return await handler(request)

        return self._told(guarded)

    def _told(self, handler: Handler) -> Handler:
        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except _Answered as answered:
                return answered.response
            except BodyRefusedError as refused:
                return self._error(request, refused.status, "Not taken", refused.detail)
            except UsageError as error:
                return self._error(request, 400, "That cannot be done", str(error))
            except SpoolUnavailableError as error:
                return self._error(request, 503, "Not now", str(error))
            except GatewayError as error:
                log.error("admin_action_failed", path=request.url.path, status=500, error=str(error))  # noqa: TRY400 (no defect: told to whoever asked)
                return self._error(request, 500, "It failed", str(error))

        return told

    def _page(self, request: Request, name: str, values: Mapping[str, Any], status: int = 200) -> Response:
        session = self._session(request)
        notice = None
        if session is not None and request.method == "GET":
            notice, session.notice = session.notice, None
        given = {
            "session": session,
            "notice": notice,
            "path": request.url.path,
            "here": _here(request),
            "now_ms": self._sources.now_ms(),
            **values,
        }
        return Response(self._pages.render(name, given), status, SECURITY_HEADERS, media_type="text/html")

    def _error(self, request: Request, status: int, title: str, detail: str) -> Response:
        return self._page(request, "error.html", {"title": title, "detail": detail, "status": status}, status)

    def _no_letter(self, request: Request) -> Response:
        detail = "It has been replayed, discarded or pruned meanwhile; the page of changes tells."
        return self._error(request, 404, "No such dead letter", detail)

    def _login_page(self, request: Request, leads_to: str, problem: str = "", status: int = 200) -> Response:
        place = self._sources.token_place()
        page = self._page(
            request, "login.html", {"next": leads_to, "problem": problem, "token_place": place}, status
        )
        if status == 429:
            page.headers["retry-after"] = str(RETRY_AFTER_SECONDS)
        return page

    def _to_login(self, request: Request) -> Response:
        back = _here(request) if request.method == "GET" else "/"
        return _see("/login?" + urlencode({"next": back}))


class _Answered(Exception):  # noqa: N818 (no error: an answer that is there early)
    def __init__(self, response: Response) -> None:
        self.response = response


def _see(path: str) -> Response:
    return Response(status_code=303, headers={**SECURITY_HEADERS, "location": path})


def _cookie_name(request: Request) -> str:
    # Cookies know no ports: two gateways on one host would log each other out.
    server = request.scope.get("server")
    return f"gateway_session_{server[1] if server else 0}"


def _here(request: Request) -> str:
    query = request.url.query
    return _local(request.url.path + (f"?{query}" if query else ""))


def _local(path: str) -> str:
    return path if _LOCAL_PATH.fullmatch(path) else "/"


def _values(request: Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.scope["headers"] if key == name]


async def _form(request: Request) -> Form:
    body = await read_body(request)
    try:
        return parse_qs(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="replace"
        )
    except ValueError as error:
        raise BodyRefusedError(400, "body", "send a form of reasonable size, URL-encoded") from error


def _one(form: Form, name: str) -> str:
    return form[name][0] if form.get(name) else ""


def _ids(form: Form) -> list[str]:
    ids = dict.fromkeys(form.get("id", ()))
    if len(ids) > MAX_IDS:
        raise UsageError(f"{len(ids)} dead letters are more than {MAX_IDS}", remedy="choose fewer at a time")
    return [identifier for identifier in ids if _DELIVERY_ID.fullmatch(identifier)]


def _readable(body: bytes) -> str:
    """Return a payload for people: JSON indented, what is no JSON as it is, and both bounded."""
    try:
        formatted = msgspec.json.format(body, indent=2)
    except (msgspec.DecodeError, RecursionError):
        formatted = body
    text = visible_text(formatted[:PAYLOAD_SHOWN_BYTES].decode("utf-8", "replace"))
    more = len(formatted) - PAYLOAD_SHOWN_BYTES
    return f"{text}\n\u2026 {wording.plural(more, 'more byte')}" if more > 0 else text
