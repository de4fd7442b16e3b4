"""Asking before what cannot be undone."""

import typer

from gateway.cli.output import EXIT_FAILED, err


def demand_agreement(question: str, *, otherwise: str) -> None:
    """Have the operator agree on stderr; `otherwise` says what holds where nobody does.

    Raises:
        typer.Exit: not agreed, or nobody there to answer.
    """
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        err("")  # the question has no line end
        err(f"nobody answered, {otherwise}; use --yes where nobody can be asked")
        raise typer.Exit(EXIT_FAILED) from None
    if not agreed:
        err(otherwise)
        raise typer.Exit(EXIT_FAILED)
