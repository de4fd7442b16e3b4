"""`gateway completion`: what a shell has to know to complete this command line."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from gateway.cli import COMPLETE_VARIABLE
from gateway.cli.output import out
from gateway.errors import UsageError

_ALSO: Final = {"bash": "complete -o default -F _gateway_completion meta-webhook-gateway"}
"""The other name of the command, where one script can serve two."""


class Shell(StrEnum):
    """The shells that it is for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def command(
    shell: Annotated[
        Shell | None, typer.Argument(metavar="[bash|zsh|fish]", help="Default: the one that $SHELL names.")
    ] = None,
) -> None:
    """Print the script that makes a shell complete commands, options, and names of the configuration.

    For this shell alone, in bash or zsh (where zsh has run compinit):
        eval "$(gateway completion)"

    For every new one, bash, zsh and fish in this order:
        gateway completion bash >> ~/.bashrc
        gateway completion zsh > "${fpath[1]}/_gateway"
        gateway completion fish > ~/.config/fish/completions/gateway.fish

    Target and app names are read from the configuration that --config or GATEWAY_CONFIG names; nothing else
    is looked at. Exit code 0; 2: which shell is not known.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # not in an __all__

    named = Path(os.environ.get("SHELL", "")).name
    if shell is None and named not in set(Shell):
        raise UsageError("$SHELL does not tell which shell it is for", remedy="name it: bash, zsh or fish")
    name = str(shell or Shell(named))
    out(get_completion_script(prog_name="gateway", complete_var=COMPLETE_VARIABLE, shell=name))
    if name in _ALSO:
        out(_ALSO[name])
