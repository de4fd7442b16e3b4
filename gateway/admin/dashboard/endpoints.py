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
done goes through `admin.actions.Actions`, which puts it on the audit log first.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.admin.actions import ActionResult
from gateway.admin.body import BodyRefusedError
from gateway.admin.dashboard import charts, wording
from gateway.admin.dashboard.board import Board, Sources
from gateway.admin.dashboard.changes import change_rows
from gateway.admin.dashboard.forms import (
    Form,
    chosen_ids,
    cookie_name,
    first,
    header_values,
    here,
    local_path,
    read_form,
    readable,
    redirect,
)
from gateway.admin.dashboard.letters import Wanted
from gateway.admin.dashboard.live import Listeners
from gateway.admin.dashboard.overview import line_rows, refusal_rows
from gateway.admin.dashboard.pages import SECURITY_HEADERS, Pages, read_static
from gateway.admin.dashboard.sessions import LIFE_SECONDS, Notice, Session, Sessions, csrf_is_right
from gateway.admin.guard import is_from_own_page
from gateway.errors import GatewayError, SpoolUnavailableError, UsageError
from gateway.telemetry.line_budget import LineBudget
from gateway.telemetry.log import get_logger

RETRY_AFTER_SECONDS: Final = 10
"""For whoever tries tokens too fast, and for a listener too many."""
PAUSES: Final = {"30m": 1800.0, "2h": 7200.0, "8h": 28_800.0, "": None}
"""How long a target may be left alone, as the form offers it; empty: until it is resumed."""
PLACES: Final = 1
"""Pages rendered at a time: of forty threads the one that acknowledges would get a fortieth."""
ACTIONS: Final = ("replay", "discard")
_GOOD_WORDS: Final = frozenset({"replayed", "pending", "discarded"})
_FORM: Final = "application/x-www-form-urlencoded"
_LINES_PER_SECOND: Final = 1.0

log = get_logger("admin")

Handler = Callable[[Request], Awaitable[Response]]


class Dashboard:
    """Answers for the dashboard."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._pages = Pages()
        self.board = Board(sources, self._pages)
        self._listeners = Listeners(self.board)
        self._sessions = Sessions(token=sources.token, random_word=lambda: secrets.token_urlsafe(32))
        self._static = read_static()
        self._places = trio.CapacityLimiter(PLACES)
        self._budget = LineBudget(lines_per_second=_LINES_PER_SECOND)
        self._failures = LineBudget(lines_per_second=_LINES_PER_SECOND)

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
        return await self._page(request, "overview.html", {"shown": shown, "now_ms": shown.overview.now_ms})

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
            return await self._error(
                request, 404, "No such target", "It is not in the configuration, and nothing waits for it."
            )
        values = {
            "row": row,
            "line_chart": charts.target_chart(self.board.history, name),
            "pauses": tuple(PAUSES),
            "may_pause": row.state in ("delivering", "recovering", "open", "paused"),
        }
        return await self._page(request, "target.html", values)

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
            "reasons": self._sources.letters.reasons(),
        }
        return await self._page(request, "letters.html", values, 400 if problem else 200)

    async def _letter(self, request: Request) -> Response:
        letter = await self._sources.letters.find(request.path_params["identifier"])
        if letter is None:
            return await self._no_letter(request)
        wants_payload = request.query_params.get("payload") == "1"
        if wants_payload and self._session(request) is None:
            return self._to_login(request)
        text = await self._aside(readable, letter.body) if wants_payload else ""
        return await self._page(
            request, "letter.html", {"letter": letter, "payload": text, "wants_payload": wants_payload}
        )

    async def _payload(self, request: Request) -> Response:
        if self._session(request) is None:
            return self._to_login(request)
        letter = await self._sources.letters.find(request.path_params["identifier"])
        if letter is None:
            return await self._no_letter(request)
        headers = {
            **SECURITY_HEADERS,
            "content-disposition": f'attachment; filename="{letter.row.id}.json"',
        }
        return Response(letter.body, headers=headers, media_type="application/octet-stream")

    async def _ledger(self, request: Request) -> Response:
        ledger = await self._sources.ledger()
        values = {"rows": tuple(line_rows(ledger)), "left_out": ledger.get("lines_left_out", 0)}
        return await self._page(request, "ledger.html", values)

    async def _refusals(self, request: Request) -> Response:
        facts, missing = await self.board.facts()
        return await self._page(
            request, "refusals.html", {"rows": tuple(refusal_rows(facts.edge)), "missing": missing}
        )

    async def _changes(self, request: Request) -> Response:
        lines = await self._sources.changes()
        rows = tuple(change_rows(lines))
        of_several = any(row.gateway for row in rows)
        return await self._page(request, "changes.html", {"rows": rows, "of_several": of_several})

    async def _file(self, request: Request) -> Response:
        found = self._static.get(request.path_params["name"])
        if found is None:
            return await self._error(request, 404, "No such page", "")
        content, media_type = found
        # Names stay the same over versions: asked for again after a minute, while a page is being read.
        headers = {**SECURITY_HEADERS, "cache-control": "max-age=60", "content-type": media_type}
        return Response(content, headers=headers)

    # -- who acts

    async def _login_form(self, request: Request) -> Response:
        return await self._login_page(request, local_path(request.query_params.get("next", "")))

    async def _login(self, request: Request) -> Response:
        form = await read_form(request)
        leads_to = local_path(first(form, "next"))
        now_seconds = trio.current_time()
        word = self._sessions.open(first(form, "token").strip(), now_seconds)
        if word is None:
            self._tell_of_token(request)
            if not self._sessions.may_be_wrong(now_seconds):
                problem = "That is not the token either: wait ten seconds, and look where it is."
                return await self._login_page(request, leads_to, problem, 429)
            return await self._login_page(request, leads_to, "That is not the token.", 401)
        answer = redirect(leads_to)
        answer.set_cookie(
            cookie_name(request),
            word,
            max_age=round(LIFE_SECONDS),
            path="/",
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        self._sessions.close(request.cookies.get(cookie_name(request), ""))
        answer = redirect("/")
        answer.delete_cookie(cookie_name(request), path="/", httponly=True, samesite="strict")
        return answer

    def _session(self, request: Request) -> Session | None:
        word = request.cookies.get(cookie_name(request))
        return self._sessions.find(word, trio.current_time()) if word else None

    def _tell_of_token(self, request: Request) -> None:
        suppressed = self._budget.take(trio.current_time())
        if suppressed is not None:
            address = request.client.host if request.client is not None else ""
            log.warning("admin_token_refused", path=request.url.path, address=address, suppressed=suppressed)

    # -- what is done

    async def _confirm(self, request: Request) -> Response:
        form, _ = await self._agreed(request)
        action, ids = first(form, "action"), chosen_ids(form)
        if action not in ACTIONS or not ids:
            return await self._error(
                request, 400, "Nothing is chosen", "Tick dead letters in the list, then say what to do."
            )
        return await self._page(
            request, "confirm.html", {"action": action, "ids": ids, "back": local_path(first(form, "back"))}
        )

    async def _act(self, request: Request) -> Response:
        form, session = await self._agreed(request)
        action, ids = first(form, "action"), chosen_ids(form)
        if action not in ACTIONS or not ids:
            return await self._error(
                request, 400, "Nothing is chosen", "Tick dead letters in the list, then say what to do."
            )
        actions = self._sources.actions
        results: Mapping[str, ActionResult] = (
            await actions.replay(ids, accept_edited=first(form, "accept_edited") == "1")
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
        # Back to the list as it was filtered; a letter's own page is gone with it.
        back = first(form, "back")
        return redirect(local_path(back) if back.startswith("/dead-letters?") else "/dead-letters")

    async def _act_on_target(self, request: Request) -> Response:
        form, session = await self._agreed(request)
        name, action = request.path_params["name"], first(form, "action")
        if action == "pause" and first(form, "for") in PAUSES:
            seconds, reason = PAUSES[first(form, "for")], first(form, "reason")[:200]
            await self._sources.actions.pause(name, seconds=seconds, reason=reason)
            session.notice = Notice(
                title=f"{name} is paused; what comes for it waits, and its give-up clock stands still"
            )
        elif action == "resume":
            await self._sources.actions.resume(name, rate_per_second=None)
            session.notice = Notice(title=f"{name} is delivered to again")
        else:
            return await self._error(request, 400, "Nothing was asked for", "Go back, and use the form.")
        self.board.forget()
        return redirect(f"/targets/{quote(name, safe='')}")

    async def _agreed(self, request: Request) -> tuple[Form, Session]:
        session = self._session(request)
        if session is None:
            raise _Answered(self._to_login(request))
        form = await read_form(request)
        if not csrf_is_right(session, first(form, "csrf")):
            raise _Answered(
                await self._error(
                    request, 403, "This form is too old", "Load the page anew, and send it again."
                )
            )
        return form, session

    # -- around every handler

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if not is_from_own_page(
                fetch_sites=header_values(request, b"sec-fetch-site"),
                origins=header_values(request, b"origin"),
                hosts=header_values(request, b"host"),
            ):
                return await self._error(
                    request, 403, "Not from here", "This form was sent by another site's page."
                )
            if request.headers.get("content-type", "").split(";")[0].strip().lower() != _FORM:
                return await self._error(request, 415, "Not a form", f"Send {_FORM}.")
            return await handler(request)

        return self._told(guarded)

    def _told(self, handler: Handler) -> Handler:
        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except _Answered as answered:
                return answered.response
            except BodyRefusedError as refused:
                return await self._error(request, refused.status, "Not taken", refused.detail)
            except UsageError as error:
                return await self._error(request, 400, "That cannot be done", str(error))
            except SpoolUnavailableError as error:
                return await self._error(request, 503, "Not now", str(error))
            except GatewayError as error:
                if (suppressed := self._failures.take(trio.current_time())) is not None:
                    log.error(  # noqa: TRY400 (no defect: told to whoever asked)
                        "admin_action_failed",
                        path=request.url.path,
                        status=500,
                        error=str(error),
                        suppressed=suppressed,
                    )
                return await self._error(request, 500, "It failed", str(error))

        return told

    async def _page(
        self, request: Request, name: str, values: Mapping[str, Any], status: int = 200
    ) -> Response:
        session = self._session(request)
        notice = None
        if session is not None and request.method == "GET":
            notice, session.notice = session.notice, None
        given = {
            "session": session,
            "notice": notice,
            "path": request.url.path,
            "here": here(request),
            "now_ms": self._sources.now_ms(),
            **values,
        }
        # Some milliseconds: not on the thread that acknowledges.
        html = await self._aside(self._pages.render, name, given)
        return Response(html, status, SECURITY_HEADERS, media_type="text/html")

    async def _aside(self, make: Callable[..., str], *given: object) -> str:
        """Make a text in a thread, one at a time."""
        return await trio.to_thread.run_sync(make, *given, limiter=self._places, abandon_on_cancel=True)

    async def _error(self, request: Request, status: int, title: str, detail: str) -> Response:
        return await self._page(
            request, "error.html", {"title": title, "detail": detail, "status": status}, status
        )

    async def _no_letter(self, request: Request) -> Response:
        detail = "It has been replayed, discarded or pruned meanwhile; the page of changes tells."
        return await self._error(request, 404, "No such dead letter", detail)

    async def _login_page(
        self, request: Request, leads_to: str, problem: str = "", status: int = 200
    ) -> Response:
        place = self._sources.token_place()
        page = await self._page(
            request, "login.html", {"next": leads_to, "problem": problem, "token_place": place}, status
        )
        if status == 429:
            page.headers["retry-after"] = str(RETRY_AFTER_SECONDS)
        return page

    def _to_login(self, request: Request) -> Response:
        back = here(request) if request.method == "GET" else "/"
        return redirect("/login?" + urlencode({"next": back}))


class _Answered(Exception):  # noqa: N818 (no error: an answer that is there early)
    def __init__(self, response: Response) -> None:
        self.response = response
