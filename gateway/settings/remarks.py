"""What in the settings is worth a look and keeps nothing from working."""

from collections.abc import Callable, Collection, Iterator
from typing import Final
from urllib.parse import urlsplit

from gateway.core.fields import FIELDS
from gateway.core.globs import compile_globs
from gateway.settings.crosschecks import Found
from gateway.settings.load import KeyPath, Loaded
from gateway.settings.model import Route, Settings
from gateway.settings.nearest import nearest
from gateway.settings.reading import shown
from gateway.settings.secret import Secret

LEAST_TOKEN_BYTES: Final = 32
"""As in the file that the gateway makes: nobody tries so many."""
_OBJECTS: Final = tuple(dict.fromkeys(field.object for field in FIELDS))


def remarks_settings(loaded: Loaded) -> list[Found]:
    """Return what is worth a look: path, what is to be seen, what to do."""
    remarks = [remark for rule in _RULES for remark in rule(loaded.settings)]
    # One value may stand where a list might: the file has no position 0 then.
    standing = loaded.source.positions
    return [
        (path[:-1] if isinstance(path[-1], int) and path not in standing else path, message, remedy)
        for path, message, remedy in remarks
    ]


def secrets_of(settings: Settings) -> Iterator[tuple[KeyPath, Secret]]:
    """Return every secret that was read, with the path of the key that says where it is."""
    for path, secret in _all_secrets(settings):
        if isinstance(secret, Secret) and secret.reveal():
            yield (*path, "env" if secret.file is None else "file"), secret


def _all_secrets(settings: Settings) -> Iterator[tuple[KeyPath, object]]:
    for name, app in settings.apps.items():
        for position, secret in enumerate(app.app_secrets):
            yield ("apps", name, "app_secrets", position), secret
        yield ("apps", name, "verify_token"), app.verify_token
    for name, target in settings.targets.items():
        for header, value in target.headers.items():
            yield ("targets", name, "headers", header), value
        yield ("targets", name, "signing_secret"), target.signing_secret
    yield ("spool", "dsn"), settings.spool.dsn
    yield ("admin", "token"), settings.admin.token


def _report_is_for_migration(settings: Settings) -> Iterator[Found]:
    for name, app in settings.apps.items():
        if app.client_certificate == "report":
            yield (
                ("apps", name, "client_certificate"),
                "`report`: anybody who has the app secret is let in, whatever the certificate",
                "write required as soon as `gateway doctor` says that it is safe",
            )


def _callback_urls_are_exact(settings: Settings) -> Iterator[Found]:
    if settings.listen.public_url is None and not settings.listen.address.is_loopback:
        yield (
            ("listen", "public_url"),
            "is not stated: the callback URLs that are printed are a guess",
            "write https://HOST as Meta reaches it, without the path",
        )


def _proxies_are_few(settings: Settings) -> Iterator[Found]:
    for position, network in enumerate(settings.listen.proxy_from):
        if network.prefixlen == 0:
            yield (
                ("listen", "proxy_from", position),
                f"{network} is everybody: whoever reaches this port may write any address into your logs",
                "name the networks of your load balancers alone",
            )


def _secrets_have_clean_ends(settings: Settings) -> Iterator[Found]:
    for path, secret in secrets_of(settings):
        if secret.reveal() != secret.reveal().strip():
            yield (
                path,
                f"the secret ({secret.source}) begins or ends with white space, which is part of it",
                "remove it, unless it is meant",
            )


def _admin_token_is_long(settings: Settings) -> Iterator[Found]:
    """Nothing slows down whoever tries tokens: that would keep out who has the right one."""
    for path, secret in secrets_of(settings):
        if path[0] == "admin" and len(secret.reveal()) < LEAST_TOKEN_BYTES:
            yield (
                path,
                f"the token ({secret.source}) is shorter than {LEAST_TOKEN_BYTES} bytes, and can be tried",
                "write a random one: openssl rand -hex 32; or leave admin.token out, and one is made",
            )


def _graph_token_is_at_hand(settings: Settings) -> Iterator[Found]:
    if settings.graph.token.trouble:
        yield (
            ("graph", "token"),
            f"{settings.graph.token.trouble}: `gateway subscriptions` could not call Meta from here",
            "set it where you run that command; the gateway itself has no use for it",
        )


def _overrides_lead_to_an_app(settings: Settings) -> Iterator[Found]:
    """Where an override leads to this gateway, it must lead to a path of an app: Meta verifies it."""
    public, paths = settings.listen.public_url, {app.path for app in settings.apps.values()}
    for index, entry in enumerate(settings.graph.subscriptions):
        there = urlsplit(entry.override_url or "")
        if public and there.netloc == urlsplit(public).netloc and there.path not in paths:
            yield (
                ("graph", "subscriptions", index, "override_url"),
                f"leads to this gateway, and no app has the path {shown(there.path)}",
                f"write {public} and the path of an app: {', '.join(sorted(paths))}",
            )


def _routes_match_what_is_known(settings: Settings) -> Iterator[Found]:
    for index, route in enumerate(settings.routes):
        objects = tuple(filter(compile_globs(route.object), _OBJECTS))
        yield from _unknown(("routes", index, "object"), route.object or (), _OBJECTS, "known object")
        if objects:
            fields = {field.name for field in FIELDS if field.object in objects}
            yield from _unknown(
                ("routes", index, "field"), route.field or (), sorted(fields), _known_field(route, objects)
            )


def _known_field(route: Route, objects: tuple[str, ...]) -> str:
    return f"known field of {' or '.join(objects)}" if route.object else "known field"


def _unknown(path: KeyPath, patterns: tuple[str, ...], known: Collection[str], what: str) -> Iterator[Found]:
    """Fields and objects that Meta adds are taken as they come, so an unknown one is legal, and a slip more
    often."""
    for position, pattern in enumerate(patterns):
        if not any(map(compile_globs([pattern]), known)):
            near = nearest(pattern, known)
            yield (
                (*path, position),
                f"no {what} matches {shown(pattern)}",
                f"did you mean {near}?"
                if near
                else "see `gateway fields`; one that is new is taken as it is",
            )


_RULES: Final[tuple[Callable[[Settings], Iterator[Found]], ...]] = (
    _report_is_for_migration,
    _callback_urls_are_exact,
    _proxies_are_few,
    _secrets_have_clean_ends,
    _admin_token_is_long,
    _graph_token_is_at_hand,
    _overrides_lead_to_an_app,
    _routes_match_what_is_known,
)
