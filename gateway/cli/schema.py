"""`gateway schema`: the JSON Schema of the configuration."""

from typing import Annotated

import typer

from gateway.cli.output import out_json


def command(
    json: Annotated[bool, typer.Option("--json", help="Accepted for uniformity: it is JSON anyway.")] = False,
) -> None:
    """Print the JSON Schema of the configuration, for editors: completion, descriptions, mistakes underlined.

    With the YAML language server: gateway schema > gateway.schema.json, and as the first line of the file:
    # yaml-language-server: $schema=gateway.schema.json
    """
    from gateway.settings.schema import json_schema

    del json
    out_json(json_schema())
