"""The command line. Commands are registered by name and imported only when one is called or listed."""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import click
import typer
from typer.core import TyperGroup
from typer.main import get_command

from gateway import __version__
from gateway.cli.output import EXIT_FAILED, EXIT_USAGE, err, options
from gateway.errors import ConfigurationError, GatewayError, UsageError

_COMMANDS: Final = {
    # name: (module, one line for --help); a module has `command` (a function) or `commands` (a typer.Typer group)
    "demo": ("gateway.cli.demo", "Run the whole job in one go, on throw-away certificates and real sockets."),
    "init": ("gateway.cli.init", "Write a configuration, development certificates and secrets to start from."),
    "check": ("gateway.cli.check", "Check the configuration and every file that it names; no network."),
    "run": ("gateway.cli.run", "Serve until SIGTERM or SIGINT."),
    "routes": ("gateway.cli.routes", "Explain where a field or a payload would go, route by route."),
    "send": ("gateway.cli.send", "Play Meta once: a signed POST over mTLS, or the verification GET."),
    "dead-letters": ("gateway.cli.dead_letters", "List, show, replay and discard dead letters."),
    "certs": ("gateway.cli.certs", "Show a certificate file, or make a development PKI."),
    "fields": ("gateway.cli.fields", "List the known webhook fields and what each means."),
    "schema": ("gateway.cli.schema", "Print the JSON Schema of the configuration, for editors."),
}


class _LazyGroup(TyperGroup):
    """Imports a command's module when it is called: `gateway --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module_name, summary = entry
        if ctx.resilient_parsing or cmd_name not in sys.argv:
            return click.Command(cmd_name, short_help=summary, help=summary)
        module: Any = importlib.import_module(module_name)
        if hasattr(module, "commands"):
            command: click.Command = get_command(module.commands)
        else:
            single = typer.Typer(add_completion=False)
            single.command(cmd_name)(module.command)
            command = get_command(single)
        command.name = cmd_name
        return command
