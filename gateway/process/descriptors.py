"""How many descriptors the process may have open, and how many connections that bears.

A shell's usual limit is 1024, soft; the defaults here need more. Out of descriptors means that nobody is let
in, Meta included: so the soft limit is raised as far as it takes, and the bound on connections follows.
"""

import resource
from dataclasses import dataclass
from typing import Final

RESERVE: Final = 512
"""For what is no connection of the public port: spool, dead letters, admin port, name look-ups, threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What was granted."""

    limit: int
    """Descriptors that the process may have open now."""
    max_connections: int
    """Connections of the public port that fit: what was asked for, or fewer."""


def allot(*, max_connections: int, deliveries_at_once: int) -> Allotment:
    """Raise the soft limit as far as the configuration needs and the hard limit lets (setrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_connections + deliveries_at_once + RESERVE
    limit = max(soft, wanted if hard == resource.RLIM_INFINITY else min(hard, wanted))
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    fits = limit - deliveries_at_once - RESERVE
    return Allotment(limit=limit, max_connections=min(max_connections, max(fits, limit // 4, 1)))
