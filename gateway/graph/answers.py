"""The good answers of the Graph API, read: JSON -> values. Pure; another shape than documented is an error.

Shapes: Meta, "Override the callback URL" and "Manage webhooks" (WhatsApp), "Webhooks, subscriptions" (Graph).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from gateway.errors import PeerError

_REMEDY: Final = "is graph.base_url the Graph API, and graph.version one that it still serves?"
_MAX_TEXT_CHARACTERS: Final = 2048
"""Of one text in an answer: URLs have at most 200."""


class UnreadableAnswerError(PeerError):
    """An answer was no error, and not what is documented either."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the answer is not as documented: {what}", remedy=_REMEDY)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribedApp:
    """One app that is subscribed to an account's webhooks."""

    app_id: str
    name: str
    """As its owner has named it; may be empty."""
    override_url: str | None
    """Alternate callback URL of this account for the app; None: the app's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppsPage:
    """One page of an account's subscribed apps."""

    apps: tuple[SubscribedApp, ...]
    after: str | None
    """The cursor of the next page; None: this is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSubscription:
    """What an app is subscribed to, for one object."""

    object: str
    callback_url: str
    active: bool
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneConfiguration:
    """The callback URLs that may hold for one phone number, the most special first; None: not set."""

    phone_number: str | None
    waba: str | None
    application: str | None


def read_success(body: object) -> None:
    """Take `{"success": true}`; an older page of Meta's shows the string "true".

    Raises:
        UnreadableAnswerError: it says anything else.
    """
    said = body.get("success") if isinstance(body, dict) else None
    if said is not True and said != "true":
        raise UnreadableAnswerError("it does not say success")


def read_apps_page(body: object) -> AppsPage:
    """Read one page of GET /{waba}/subscribed_apps.

    Raises:
        UnreadableAnswerError: it is none.
    """
    apps = []
    for item in _items(body):
        data = item.get("whatsapp_business_api_data")
        if not isinstance(data, dict):
            raise UnreadableAnswerError("an entry has no whatsapp_business_api_data")
        apps.append(
            SubscribedApp(
                app_id=_text(data, "id") or _missing("an app has no id"),
                name=_text(data, "name"),
                override_url=_text(item, "override_callback_uri") or None,
            )
        )
    return AppsPage(apps=tuple(apps), after=_next_cursor(body))


def read_app_subscriptions(body: object) -> tuple[AppSubscription, ...]:
    """Read GET /{app}/subscriptions.

    Raises:
        UnreadableAnswerError: it is not that.
    """
    return tuple(
        AppSubscription(
            object=_text(item, "object"),
            callback_url=_text(item, "callback_url"),
            active=item.get("active") in (True, "true"),
            fields=tuple(_field_names(item.get("fields", []))),
        )
        for item in _items(body)
    )


def read_phone_configuration(body: object) -> PhoneConfiguration:
    """Read GET /{phone-number-id}?fields=webhook_configuration.

    Raises:
        UnreadableAnswerError: it is not that.
    """
    if not isinstance(body, dict):
        raise UnreadableAnswerError("it is no JSON object")
    urls = body.get("webhook_configuration", {})
    if not isinstance(urls, dict):
        raise UnreadableAnswerError("webhook_configuration is no object")
    return PhoneConfiguration(
        phone_number=_text(urls, "phone_number") or None,
        waba=_text(urls, "whatsapp_business_account") or None,
        application=_text(urls, "application") or None,
    )


def _items(body: object) -> Iterator[dict[str, Any]]:
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list):
        raise UnreadableAnswerError("it has no list `data`")
    for item in data:
        if not isinstance(item, dict):
            raise UnreadableAnswerError("an entry of `data` is no object")
        yield item


def _field_names(fields: object) -> Iterator[str]:
    """Fields stand as objects with name and version; older versions of the API write names alone."""
    for field in fields if isinstance(fields, list) else ():
        match field:
            case {"name": str(name)} | str(name):
                yield name
            case _:
                raise UnreadableAnswerError("a field has no name")


def _next_cursor(body: object) -> str | None:
    """Take the cursor and never the URL beside it: that carries a token, and may lead anywhere."""
    paging = body.get("paging") if isinstance(body, dict) else None
    following = paging.get("next") if isinstance(paging, dict) else None
    if not isinstance(paging, dict) or not isinstance(following, str):
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    if not isinstance(after, str):
        try:
            after = parse_qs(urlsplit(following).query).get("after", [None])[0]
        except ValueError:
            after = None
    if not after or len(after) > _MAX_TEXT_CHARACTERS:
        raise UnreadableAnswerError("there is a next page, and no cursor to ask for it")
    return after


def _text(mapping: dict[str, Any], key: str) -> str:
    value = mapping.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARACTERS:
        raise UnreadableAnswerError(f"{key} is no text")
    return value


def _missing(what: str) -> str:
    raise UnreadableAnswerError(what)
