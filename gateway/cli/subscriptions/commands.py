"""`gateway subscriptions`: Meta's side of the set-up."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.errors import UsageError

if TYPE_CHECKING:
    from gateway.cli.subscriptions.call import Site
    from gateway.graph.plan import Existing
    from gateway.settings.secret import Secret

commands = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Meta's side of the set-up: which WhatsApp Business Accounts the app is subscribed to, where their"
    " notifications go, and whether that is what the configuration expects. The access token is"
    " graph.token, by default the environment variable META_ACCESS_TOKEN.\n\n"
    "First: gateway subscriptions subscribe --waba ID. Many accounts: state them under graph.subscriptions,"
    " then gateway subscriptions ensure --dry-run. In cron: gateway subscriptions check --all.\n\n"
    "Meta limits these calls. What is used up is shown; above 80 % the pace slows; at a limit the command"
    " stops for that account and says for how long, or waits and goes on with --wait. Exit code 1 if any"
    " failed.",
)

Wabas = Annotated[
    list[str] | None,
    typer.Option("--waba", metavar="ID", help="A WhatsApp Business Account; may be repeated."),
]
WabaFile = Annotated[
    Path | None,
    typer.Option("--waba-file", metavar="FILE", help="Accounts, one id a line; # begins a comment."),
]
Phones = Annotated[
    list[str] | None,
    typer.Option("--phone", metavar="ID", help="The id of a phone number; may be repeated."),
]
AppLevel = Annotated[
    bool, typer.Option("--app", help="The app's own subscription: callback URL and fields of all accounts.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="At a rate limit wait until it is over, and go on with what is left.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: remove overrides that are in the way.")]
Keep = Annotated[bool, typer.Option("--keep-override", help="Leave overrides that are there.")]
Remove = Annotated[bool, typer.Option("--remove-override", help="Remove overrides that are there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
Remaining = Annotated[
    Path | None,
    typer.Option(
        "--remaining",
        metavar="FILE",
        help="Write the accounts that were not done here, also after Ctrl-C: go on with --waba-file FILE.",
    ),
]
OverrideUrl = Annotated[
    str | None,
    typer.Option(
        "--override-url",
        metavar="URL",
        help="Alternate callback URL for messaging-type fields; Meta verifies it at once.",
    ),
]
VerifyToken = Annotated[
    str | None,
    typer.Option(
        "--verify-token",
        metavar="env:NAME|file:PATH",
        help="With which Meta verifies --override-url; default: of the app whose path is in the URL. As plain"
        " text it is seen in the process list.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result for scripts.")]


@commands.command("list")
def list_(
    waba: Wabas = None,
    waba_file: WabaFile = None,
    phone: Phones = None,
    app: AppLevel = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Show which apps are subscribed to accounts, the overrides of phone numbers, or the app's subscription.

    Without any of them: the accounts that the configuration names.
    """
    from gateway.cli.subscriptions.call import choose_ids, load_site
    from gateway.cli.subscriptions.report import print_apps
    from gateway.cli.subscriptions.run import go
    from gateway.graph.errands import Looker
    from gateway.graph.own_app import OwnApp

    site = load_site()
    _one_kind(waba or waba_file, phone, app)
    if app:
        from gateway.cli.subscriptions.app import show_app

        show_app(site, as_json=as_json)
        return
    if phone:
        from gateway.cli.subscriptions.explain import show_phones

        show_phones(site, choose_ids(phone, None, what="--phone"), wait=wait, as_json=as_json)
    accounts = choose_ids(waba or (), waba_file) or _configured(site)
    ran = go(site, accounts, lambda client: Looker(calls=client, own=OwnApp(site.app_id)), wait=wait)
    print_apps(ran.results, ran.book, site.app_id, as_json=as_json)
    ran.end()


@commands.command()
def subscribe(
    waba: Wabas = None,
    waba_file: WabaFile = None,
    phone: Phones = None,
    app: AppLevel = False,
    override_url: OverrideUrl = None,
    verify_token: VerifyToken = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="FIELD", help="With --app: a field besides those that are routed."),
    ] = None,
    keep_override: Keep = False,
    remove_override: Remove = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    remaining: Remaining = None,
    as_json: AsJson = False,
) -> None:
    """Subscribe the app to accounts; set an override; with --app, set the app's callback URL and fields.

    Looks first, and does what is missing: repeating it changes nothing. Meta's call that subscribes also
    removes an override that is there, so that is asked about; where nobody can be asked, say --keep-override
    or --remove-override, else such accounts are left alone and the exit code is 2.

    With --app the fields that the routes name are added to those that are subscribed; the callback URL is
    listen.public_url and the app's path.
    """
    from gateway.cli.subscriptions import call as calls
    from gateway.cli.subscriptions.run import Manner, bring, bring_phones
    from gateway.graph.plan import Wish

    site = calls.load_site()
    _one_kind(waba or waba_file, phone, app, needed=True)
    existing = _existing(keep=keep_override, remove=remove_override or yes)
    if override_url is not None and (keep_override or remove_override):
        raise UsageError("--override-url sets one", remedy="leave out --keep-override and --remove-override")
    if verify_token is not None and override_url is None and not app:
        raise UsageError("--verify-token is for --override-url", remedy="give --override-url, too")
    if (app or phone) and (keep_override or remove_override or remaining):
        raise UsageError(
            "--keep-override, --remove-override and --remaining are for accounts", remedy="leave them out"
        )
    if field and not app:
        raise UsageError(
            "--field is for --app: fields are subscribed for the app as a whole", remedy="give --app, too"
        )
    if app:
        from gateway.cli.subscriptions.app import set_app

        if override_url is not None:
            raise UsageError(
                "--app has no override: its callback URL is this gateway's", remedy="leave out --override-url"
            )
        set_app(site, field or (), verify_token, yes=yes, dry_run=dry_run, as_json=as_json)
        return
    url = None if override_url is None else calls.read_override(override_url)
    token = None if url is None else site.verify_token(url, calls.given_token(verify_token))
    if phone:
        if url is None:
            raise UsageError("a phone number has nothing but an override", remedy="give --override-url")
        bring_phones(site, phone, url, token, dry_run=dry_run, wait=wait, as_json=as_json)
    accounts = calls.choose_ids(waba or (), waba_file)
    bring(
        site,
        dict.fromkeys(accounts, Wish(override_url=url, existing=existing)),
        {} if url is None or token is None else {url: token},
        Manner(dry_run=dry_run, wait=wait, remaining=remaining, as_json=as_json, name="subscribe"),
    )


@commands.command()
def unsubscribe(
    waba: Wabas = None,
    waba_file: WabaFile = None,
    phone: Phones = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    remaining: Remaining = None,
    as_json: AsJson = False,
) -> None:
    """Unsubscribe the app from accounts: nothing comes from them any more. With --phone, delete its override.

    On a terminal it asks first. It concerns this app alone; others that are subscribed stay so.
    """
    from gateway.cli.agreement import demand_agreement
    from gateway.cli.subscriptions import call as calls
    from gateway.cli.subscriptions.report import may_ask
    from gateway.cli.subscriptions.run import Manner, bring, bring_phones
    from gateway.graph.plan import Wish

    site = calls.load_site()
    _one_kind(waba or waba_file, phone, False, needed=True)
    if phone:
        bring_phones(site, phone, None, None, dry_run=dry_run, wait=wait, as_json=as_json)
    accounts = calls.choose_ids(waba or (), waba_file)
    if may_ask() and not (yes or dry_run):
        demand_agreement(
            f"{_counted(accounts)}: end the subscription, so that nothing comes any more?",
            otherwise="nothing was changed",
        )
    bring(
        site,
        dict.fromkeys(accounts, Wish(subscribed=False)),
        {},
        Manner(dry_run=dry_run, wait=wait, remaining=remaining, as_json=as_json, name="unsubscribe"),
    )


@commands.command()
def ensure(
    keep_override: Keep = False,
    remove_override: Remove = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    remaining: Remaining = None,
    as_json: AsJson = False,
) -> None:
    """Bring about what graph.subscriptions states: shows each difference, and does what is missing.

    Repeating it changes nothing. An account that stands there without override_url shall have none: one that
    is there is asked about, as with subscribe. Accounts that do not stand there are left alone.
    """
    from gateway.cli.subscriptions.call import load_site
    from gateway.cli.subscriptions.run import Manner, bring
    from gateway.graph.plan import Wish

    site = load_site()
    graph = site.needed("ensure").graph
    if not graph.subscriptions:
        raise UsageError(
            "graph.subscriptions states nothing",
            remedy="state accounts there: - {waba: ID, override_url: URL}",
        )
    existing = _existing(keep=keep_override, remove=remove_override or yes)
    wishes: dict[str, Wish] = {}
    tokens: dict[str, Secret] = {}
    for entry in graph.subscriptions:
        if entry.override_url is not None and not dry_run:  # which needs no secret, and may run in CI
            tokens[entry.override_url] = site.verify_token(entry.override_url, entry.verify_token)
        wish = Wish(override_url=entry.override_url, existing=existing)
        wishes |= dict.fromkeys(entry.waba, wish)
    bring(
        site,
        wishes,
        tokens,
        Manner(dry_run=dry_run, wait=wait, remaining=remaining, as_json=as_json, name="ensure"),
    )


@commands.command()
def check(
    waba: Wabas = None,
    waba_file: WabaFile = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every account that the configuration names, and the app's fields."),
    ] = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Compare what is subscribed with what the configuration and its routes expect.

    Exit code 1: there is a difference, or something could not be compared. Changes nothing; fit for cron.
    Accounts are those under graph.subscriptions and those that routes name by their whole id; fields are
    those that routes name for the app.
    """
    from gateway.cli.subscriptions.call import choose_ids, load_site
    from gateway.cli.subscriptions.check import check_all

    site = load_site()
    site.needed("check")
    accounts = choose_ids(waba or (), waba_file)
    if not accounts and not everything:
        raise UsageError("check what?", remedy="give --all, or accounts with --waba")
    check_all(site, accounts, with_app=everything, wait=wait, as_json=as_json)


@commands.command()
def explain(
    waba: Annotated[
        str | None, typer.Option("--waba", metavar="ID", help="A WhatsApp Business Account.")
    ] = None,
    phone: Annotated[
        str | None, typer.Option("--phone", metavar="ID", help="The id of a phone number.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain where the notifications of a phone number or an account go: phone before account before app.

    That holds for messaging-type fields; all others always go to the app's own URL.
    """
    from gateway.cli.subscriptions.call import choose_ids, load_site
    from gateway.cli.subscriptions.explain import explain_route

    if waba is None and phone is None:
        raise UsageError("explain what?", remedy="give --waba ID, --phone ID, or both")
    for id_, what in ((waba, "--waba"), (phone, "--phone")):
        choose_ids([id_] if id_ else [], None, what=what)
    explain_route(load_site(), waba, phone, as_json=as_json)


def _existing(*, keep: bool, remove: bool) -> "Existing":
    from gateway.graph.plan import Existing

    if keep and remove:
        raise UsageError("keep overrides and remove them?", remedy="give one of the two")
    return Existing.KEEP if keep else Existing.REMOVE if remove else Existing.ASK


def _one_kind(wabas: object, phones: object, app: bool, *, needed: bool = False) -> None:
    given = sum(map(bool, (wabas, phones, app)))
    if given > 1:
        raise UsageError(
            "accounts, phone numbers or the app: one kind at a time", remedy="leave out the others"
        )
    if needed and not given:
        raise UsageError(
            "for which accounts?", remedy="give --waba ID, --waba-file FILE, --phone ID or --app"
        )


def _configured(site: "Site") -> tuple[str, ...]:
    from gateway.graph.comparison import expected_accounts

    accounts = () if site.settings is None else expected_accounts(site.settings, site.app_name)
    if not accounts:
        raise UsageError(
            "the configuration names no account", remedy="give --waba ID, or state graph.subscriptions"
        )
    return accounts


def _counted(accounts: Sequence[str]) -> str:
    return f"account {accounts[0]}" if len(accounts) == 1 else f"{len(accounts)} accounts"
