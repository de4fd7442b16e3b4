"""What every `gateway subscriptions` command needs: configuration, accounts, tokens, and a call on Meta."""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import trio

from gateway.cli.output import DEFAULT_CONFIG, err, options
from gateway.cli.simulator.meta_part import read_reference
from gateway.cli.subscriptions.screen import Screen
from gateway.errors import UsageError
from gateway.graph.accounts import is_id, read_ids
from gateway.graph.client import Api, GraphClient, Pacing, open_graph
from gateway.graph.own_app import OwnApp
from gateway.graph.usage import UsageBook
from gateway.settings.graph import Graph
from gateway.settings.load import load_settings
from gateway.settings.model import App, Settings
from gateway.settings.secret import Secret, SecretReference
from gateway.settings.texts import read_override_url


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The configuration as these commands see it; without one, the defaults of `graph`."""

    settings: Settings | None

    @property
    def graph(self) -> Graph:
        return Graph() if self.settings is None else self.settings.graph

    @property
    def app_name(self) -> str:
        """The app that the token belongs to."""
        settings = self.needed("--app")
        return settings.graph.app or next(iter(settings.apps))

    @property
    def app(self) -> App | None:
        return None if self.settings is None else self.settings.apps[self.app_name]

    @property
    def app_id(self) -> str | None:
        return None if self.app is None else self.app.app_id

    def app_secret(self) -> Secret:
        """Read the app's secret, the first of them.

        Raises:
            UsageError: it is not there.
        """
        return read_again(self.needed("the app's secret").apps[self.app_name].app_secrets[0])

    def own_app(self, client: GraphClient) -> OwnApp:
        """Return who knows, or finds out, which subscribed app is ours."""
        if self.app_id is not None or self.settings is None:
            return OwnApp(self.app_id)
        try:
            secret = self.app_secret()
        except UsageError:
            return OwnApp(None)  # it cannot be proved then, and is not assumed
        client.hide(secret)
        return OwnApp(None, lambda app_id: client.is_app_of(app_id, secret))

    def needed(self, what: str) -> Settings:
        """Return the settings.

        Raises:
            UsageError: there are none, and `what` needs them.
        """
        if self.settings is None:
            raise UsageError(
                f"{what}: {options.config} does not exist", remedy="name a configuration with --config"
            )
        return self.settings

    def api(self) -> Api:
        """Read the token, now.

        Raises:
            UsageError: it is not there.
        """
        try:
            token = self.graph.token.read(os.environ)
        except UsageError as error:
            raise UsageError(
                f"the access token of the Graph API: {error.message}",
                remedy=f"{error.remedy}; it is a system user's, with whatsapp_business_management"
                " (docs/subscriptions.md)",
            ) from error
        return Api(base_url=self.graph.base_url, version=self.graph.version, token=token)

    def verify_token(self, url: str, given: SecretReference | Secret | None = None) -> Secret:
        """Return the token with which Meta verifies an override: the given one, or that of the URL's app.

        Raises:
            UsageError: it is not there.
        """
        if isinstance(given, Secret):
            return given
        if given is not None:
            return given.read(os.environ)
        settings = self.needed("the verify token")
        path = urlsplit(url).path
        by_path = {app.path: app for app in settings.apps.values()}
        return read_again(by_path.get(path, settings.apps[self.app_name]).verify_token)


def load_site() -> Site:
    """Load the configuration without its secrets; none at all is no mistake, unless one was named.

    Raises:
        ConfigurationError: it cannot be used.
    """
    if options.config == DEFAULT_CONFIG and not options.config.exists():
        return Site(settings=None)
    return Site(settings=load_settings(options.config, environ=os.environ, with_secrets=False).settings)


def read_again(secret: Secret) -> Secret:
    """Read a secret of a configuration that was loaded without them: this one, and no other.

    Raises:
        UsageError: it is not there.
    """
    kind, _, name = secret.source.partition(" ")
    reference = SecretReference(env=name) if kind == "env" else SecretReference(file=Path(name))
    return reference.read(os.environ)


def choose_ids(ids: Sequence[str], file: Path | None, *, what: str = "--waba") -> tuple[str, ...]:
    """Return the ids of the command line and of a file, each once.

    Raises:
        UsageError: one is no id (every bad line is told), or the file cannot be read.
    """
    for id_ in ids:
        if not is_id(id_):
            raise UsageError(f"{what} {id_!r:.60} is no id", remedy="ids are digits alone")
    listed: tuple[str, ...] = ()
    if file is not None:
        try:
            content = file.read_bytes().decode("utf-8")
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}", remedy="name a file with one id a line") from error
        except UnicodeDecodeError:
            raise UsageError(f"{file} is not UTF-8 text", remedy="name a file with one id a line") from None
        found = read_ids(content)
        if found.problems:
            told = "\n".join(f"{file}: {problem}" for problem in found.problems[:20])
            more = len(found.problems) - 20
            rest = f"\nand {more} more" if more > 0 else ""
            raise UsageError(told + rest, remedy="nothing was done: correct the file, # begins a comment")
        if not found.ids:
            raise UsageError(f"{file} holds no id", remedy="write one id a line")
        if found.repeated:
            err(f"note: {file} names {found.repeated} of them again; each is taken once")
        listed = found.ids
    return tuple(dict.fromkeys((*ids, *listed)))


def read_override(url: str) -> str:
    """Check an override URL of the command line.

    Raises:
        UsageError: Meta would not take it.
    """
    from pydantic_core import PydanticCustomError

    try:
        return read_override_url(url)
    except PydanticCustomError as error:
        context = error.context or {}
        raise UsageError(
            f"--override-url {context.get('message')}", remedy=str(context.get("remedy"))
        ) from None


def given_token(argument: str | None) -> Secret | None:
    """Read `--verify-token`; None where it was not given."""
    if argument is None:
        return None
    return Secret(read_reference(argument, bare=str.encode), source="--verify-token")


def call_meta(
    site: Site,
    book: UsageBook,
    work: Callable[[GraphClient, Screen], Awaitable[None]],
    *,
    total: int,
    hidden: Sequence[Secret] = (),
    api: Api | None = None,
) -> None:
    """Run some work with a client; `total` is what the bar counts to, `api` speaks for the app itself."""
    with Screen(total=total) as screen:
        pacing = Pacing(book=book, on_pause=screen.pausing)

        async def run() -> None:
            async with open_graph(api or site.api(), pacing, hidden=tuple(hidden)) as client:
                await work(client, screen)

        trio.run(run)
