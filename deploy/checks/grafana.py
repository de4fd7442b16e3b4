"""Read a dashboard into Grafana's own types (grafana-foundation-sdk) and print what of it they do not know.

Run by the interpreter that has them: `deploy/checks/.venv/bin/python deploy/checks/grafana.py FILE`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOT_IN_THE_TYPES = {"definition", "titleFormat", "textFormat", "step"}
"""What Grafana writes itself when it exports variables and annotations, though its types leave it out."""


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Yield the places of `before` that are not in `after`, or differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{place}/{key}")
            elif key not in NOT_IN_THE_TYPES:
                yield f"{place}/{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}/{number}")
    elif before != after:
        yield place


if __name__ == "__main__":
    from grafana_foundation_sdk.cog import plugins  # type: ignore[import-not-found] # of another environment
    from grafana_foundation_sdk.cog.encoder import JSONEncoder  # type: ignore[import-not-found]
    from grafana_foundation_sdk.models.dashboard import Dashboard  # type: ignore[import-not-found]

    plugins.register_default_plugins()
    written = json.loads(Path(sys.argv[1]).read_text())
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(written)))
    unknown = list(lost(written, understood))
    print("\n".join(unknown))  # noqa: T201 (its result)
    sys.exit(bool(unknown))
