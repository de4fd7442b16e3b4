#!/usr/bin/env python3
"""A target that writes down which messages reached it: `recorder.py PORT FILE`. Needs nothing but Python.

One line a message (its id), and one a status (the id and the status), appended to FILE before the answer is
given. Two such files, sorted, can be compared with comm(1). No text and no phone number is written down.
"""

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any, TextIO


def ids(value: Any) -> Iterator[str]:
    """Yield what identifies the messages and statuses in a notification, wherever they stand in it."""
    if isinstance(value, list):
        for item in value:
            yield from ids(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in ("messages", "message_echoes", "statuses") and isinstance(item, list):
                for one in item:
                    if isinstance(one, dict) and "id" in one:
                        yield f"{one['id']} {one['status']}" if name == "statuses" else str(one["id"])
            else:
                yield from ids(item)


def serve(port: int, file: TextIO) -> None:
    """Answer 200 to every POST, and write down what it held."""
    writing = Lock()

    class Recorder(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                found = list(ids(json.loads(body)))
            except ValueError:
                found = []
            with writing:
                file.writelines(f"{one}\n" for one in found)
                file.flush()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the file is the record."""

    ThreadingHTTPServer(("127.0.0.1", port), Recorder).serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[1].isdigit():
        sys.exit("usage: recorder.py PORT FILE")
    with Path(sys.argv[2]).open("a", encoding="utf-8") as record:
        serve(int(sys.argv[1]), record)
