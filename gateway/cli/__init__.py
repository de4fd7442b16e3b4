"""The command line. A command's module is imported only when it is called: `gateway --help` stays fast."""

import importlib
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from gateway.cli.defects import tell_without_texts
from gateway.cli.ending import ending
from gateway.cli.help_pages import help_page, with_exit_codes
from gateway.cli.output import options, out

_COMMANDS: Final = {
    # name -> (module, one line for --help); a module has `command` (a function) or `commands` (a Typer)
    "demo": ("demo.command", "Run the whole job in one go, on throw-away certificates and real sockets."),
    "init": ("init.command", "Write a configuration, development certificates and secrets to start from."),
    "check": ("check", "Check the configuration and every file that it names; no network."),
    "run": ("run", "Serve until SIGTERM or SIGINT."),
    "doctor": (
        "doctor.command",
        "Look at the running environment: certificates, targets, disk, the view from outside.",
    ),
    "routes": ("routes", "Explain where a field or a payload would go, route by route."),
    "send": ("simulator.send", "Play Meta once: signed POSTs over mTLS, or the verification GET."),
    "bench": ("simulator.bench", "Play Meta at a rate, and hold the answers against Meta's bar."),
    "status": ("status.command", "Say what is the matter, and how every target is; --watch to stay."),
    "trace": ("trace.command", "Follow one notification or message: where it is, and what was tried."),
    "targets": ("targets.commands", "List the targets, pause one, resume it, give up a former one."),
    "dead-letters": ("dead_letters.commands", "List, show, replay and discard dead letters."),
    "replay": ("replay", "Send a target again what was delivered, while it is kept."),
    "spool": ("spool", "Bring the spool's schema up to date, or carry a spool over."),
    "subscriptions": (
        "subscriptions.commands",
        "Subscribe the app to accounts at Meta, and compare that with the routes.",
    ),
    "certs": ("certs", "Show a certificate file; make a development PKI, issue and revoke in it."),
    "fields": ("fields.command", "List the known webhook fields and what each means."),
    "completion": ("completion.command", "Print what a shell needs to complete this command line."),
    "schema": ("schema", "Print the JSON Schema of the configuration, for editors."),
}

COMPLETE_VARIABLE: Final = "_GATEWAY_COMPLETE"
"""Set by the scripts of `gateway completion`: the command then proposes words, and does nothing else."""

app = typer.Typer(
    name="gateway",
    help="The mTLS door for Meta and WhatsApp webhooks: verifies, stores durably, answers 200, fans out by"
    " field.",
    no_args_is_help=True,
    add_completion=False,  # gateway completion does it, and asks nobody which shell it is in
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: gateway demo. Then: gateway init. Exit codes: 0 done, 1 failed while running, 2 wrong"
    " usage or configuration.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from gateway import __version__

        out(f"gateway {__version__}")
        raise typer.Exit


@app.callback()
def _main_options(
    config: Annotated[
        Path,
        typer.Option("--config", envvar="GATEWAY_CONFIG", help="The configuration file.", metavar="PATH"),
    ] = options.config,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    del version  # its callback has done the work
    options.config = config


class _LazyCommand(TyperCommand):
    """Stands in for a command until it is called, then hands over to the real one."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        module = importlib.import_module(f"gateway.cli.{self._module}")
        if hasattr(module, "commands"):
            command = get_command(module.commands)
        else:
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            single.command(self.name)(module.command)
            command = get_command(single)
        command.name = self.name
        _prepare(command, str(self.name))
        return command.make_context(info_name, args, parent=parent, **extra)


def _prepare(command: Any, name: str) -> None:
    """Let a command, and those below it, take `--config` too, and complete its page of help."""
    command.help = help_page(name, command.help)
    command.params.append(_config_option())
    below = getattr(command, "commands", None)
    if below is None:
        command.help = with_exit_codes(command.help)
        return
    for own_name, one in below.items():
        _prepare(one, f"{name} {own_name}")


def _config_option() -> Any:
    """Make the option that may stand after the command; typer makes options out of functions alone."""
    carrier = typer.Typer(add_completion=False)

    @carrier.command()
    def carry(
        config: Annotated[
            str | None,
            typer.Option(
                "--config",
                callback=_take_config,
                expose_value=False,
                help="The configuration file; before the command it means the same.",
                metavar="PATH",
            ),
        ] = None,
    ) -> None:
        del config

    (option, *_) = get_command(carrier).params
    return option


def _take_config(value: str | None) -> None:
    if value is not None:
        options.config, options.chosen = Path(value), True


def build_group() -> TyperGroup:
    """Return the whole command line, every command in its place."""
    if COMPLETE_VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]  # not in an __all__

        completion_init()
    group = get_command(app)
    if not isinstance(group, TyperGroup):  # a Typer with a callback always makes a group
        raise TypeError(f"typer made {type(group).__name__} of the command line")
    for name, (module, summary) in _COMMANDS.items():
        group.add_command(_LazyCommand(name, module, summary))
    return group


def main() -> None:
    """Run the command line; the entry point of `gateway` and `meta-webhook-gateway`."""
    tell_without_texts()
    with ending():
        build_group().main(prog_name="gateway")
