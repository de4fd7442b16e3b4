"""What is said of a defect of the gateway's own, where it ends the process: where it was, and no more.

Python's own traceback ends with the exception's text, and that may quote a header with a secret, or a body
(h11 does so for a header that it refuses). So the text stays unsaid, here and in the threads.
"""

import sys
import threading
from collections.abc import Iterator
from traceback import extract_tb
from types import TracebackType
from typing import Final

_REPORT: Final = "a defect of the gateway's; please report it, with these lines:"


def tell_without_texts() -> None:
    """From now on, uncaught exceptions are told by kind and place."""
    sys.excepthook = _tell
    threading.excepthook = _tell_of_thread
    sys.unraisablehook = _tell_of_nowhere


def places(error: BaseException, depth: int = 0) -> Iterator[str]:
    """Tell an exception, what it was caused by and what it groups: kinds, files, lines and functions."""
    margin = "  " * depth
    yield f"{margin}{type(error).__module__}.{type(error).__qualname__}"
    for frame in extract_tb(error.__traceback__):
        yield f"{margin}  {frame.filename}:{frame.lineno} in {frame.name}"
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from places(inner, depth + 1)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield f"{margin}caused by"
        yield from places(cause, depth + 1)


def _tell(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    sys.stderr.write("\n".join((_REPORT, *places(error))) + "\n")


def _tell_of_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        _tell(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)


def _tell_of_nowhere(arguments: "sys.UnraisableHookArgs") -> None:
    if arguments.exc_value is not None:
        _tell(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
