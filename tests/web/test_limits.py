"""What the settings mean for HTTP."""

from dataclasses import replace

from gateway.settings.limits import Limits
from gateway.settings.model import Listen
from gateway.web.limits import HttpLimits, http_limits


def test_the_default_limits_have_one_value_each() -> None:
    """The settings' and those of the admin port, which has none; but a body may come slowly here."""
    limits = http_limits(Listen())
    assert replace(limits, read_seconds=30) == HttpLimits()
    assert limits.read_seconds == 30 + 96 + 5


def test_every_limit_is_taken_over() -> None:
    listen = Listen(
        max_body_bytes=10_000,
        limits=Limits(
            head_seconds=1, head_size_bytes=5000, headers=40, body_seconds=2, body_rate_bytes=2000,
            idle_seconds=3, idle_without_certificate_seconds=4, requests=5, streams=6, resets=70,
            control_frames=800,
        ),
    )  # fmt: skip
    assert http_limits(listen) == HttpLimits(
        head_seconds=1, max_head_bytes=5000, max_headers=40, read_seconds=2 + 5 + 5, idle_seconds=3,
        anonymous_idle_seconds=4, max_requests=5, max_streams=6, max_resets=70, max_control_frames=800,
    )  # fmt: skip
