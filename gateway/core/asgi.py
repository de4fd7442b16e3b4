"""What our server says to our app beyond ASGI 3. The app does without it under another server."""

from typing import Final

BODY_IS_HERE: Final = "gateway.body_is_here"
"""In `scope["extensions"]`: the first `http.request` has the whole body, and `receive` does not wait; so
the app needs no deadline over its reading."""
