"""Settings -> the core's routing table."""

from gateway.core.lanes import Lane
from gateway.core.routing import Route, RoutingTable
from gateway.settings.model import Settings


def routing_table(settings: Settings) -> RoutingTable:
    """Compile the routes of the configuration."""
    return RoutingTable(
        [
            Route(
                to=route.to,
                app=route.app,
                object=route.object,
                field=route.field,
                kind=route.kind,
                waba=route.waba,
                phone_number_id=route.phone_number_id,
                display_phone_number=route.display_phone_number,
                priority=None if route.priority is None else Lane[route.priority.upper()],
            )
            for route in settings.routes
        ],
        payload_original=frozenset(
            name for name, target in settings.targets.items() if target.payload == "original"
        ),
        drop_unrouted=settings.unrouted == "drop",
        ordered=frozenset(name for name, target in settings.targets.items() if target.order == "sender"),
    )
