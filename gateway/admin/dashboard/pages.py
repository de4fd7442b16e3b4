"""The only importer of Jinja2: templates to HTML, and the headers that every page goes out with.

Autoescape is on, in every template: what strangers wrote (subjects, reasons, payloads) is text and nothing
else. Templates are compiled at the start, so that no request waits for that.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway import __version__
from gateway.admin.dashboard import wording
from gateway.core.sizes import say_size

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""No inline script or style, nothing from another origin, in nobody's frame, and nothing left in a cache."""

STATIC: Final = Path(__file__).parent / "static"
_LET_THROUGH: Final = "\n\t\u202f"
"""The last one parts thousands (`wording.number`)."""
_TEMPLATES: Final = Path(__file__).parent / "templates"
STATIC_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Pages:
    """Renders templates."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals["version"] = __version__
        self._environment.filters.update(
            absolute=wording.absolute,
            clock=wording.clock_time,
            cut=wording.cut,
            interval=wording.interval,
            latency=wording.latency,
            machine=wording.machine_time,
            number=wording.number,
            plural=wording.plural,
            rate=wording.rate,
            relative=wording.relative,
            size=say_size,
            span=wording.span,
            visible=visible_text,
        )
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """Return the text of a page, or of a part of one."""
        return self._environment.get_template(name).render(values)


def read_static() -> Mapping[str, tuple[bytes, str]]:
    """Return name -> content and type, of all that the pages refer to."""
    return {
        path.name: (path.read_bytes(), STATIC_TYPES[path.suffix])
        for path in sorted(STATIC.iterdir())
        if path.suffix in STATIC_TYPES
    }


def visible_text(text: str) -> str:
    """Escape what is not seen or changes how the rest is seen (control signs, direction overrides); line ends
    and tabs stay."""
    return "".join(
        sign if sign in _LET_THROUGH or sign.isprintable() else sign.encode("unicode_escape").decode("ascii")
        for sign in text.replace("\r\n", "\n")
    )
