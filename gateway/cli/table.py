"""Tables for eyes; in a pipe commands print tab-separated lines instead."""

from collections.abc import Collection, Iterable, Sequence


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[str] = (),
    whole: Collection[str] = (),
) -> None:
    """Print rows under their columns, as wide as the terminal.

    Args:
        columns: The headings.
        rows: As many cells as columns; what could steer a terminal is escaped.
        right: Columns that are flush right.
        whole: Columns that are never folded.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gateway.telemetry.redaction import visible

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in whole,
        )
    for row in rows:
        # As text: a reason with brackets, such as "[/x]", is no markup.
        table.add_row(*(Text(visible(cell)) for cell in row))
    Console().print(table)
