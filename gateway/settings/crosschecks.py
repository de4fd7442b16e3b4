"""What the sections say of each other: names that must exist, be used, and not collide.

The rules look at the file as written, not at validated models: a bad duration must not hide a route to
nowhere. Each passes over what has not the right form; that is complained of elsewhere.
"""

from collections.abc import Callable, Iterator
from typing import Final

from pydantic_core import PydanticCustomError

from gateway.core.globs import compile_globs
from gateway.settings.address import Address
from gateway.settings.model import META_CLIENT, Admin, Listen
from gateway.settings.nearest import nearest
from gateway.settings.reading import shown
from gateway.settings.tree import KeyPath, Plain

Found = tuple[KeyPath, str, str]
"""Path, message, remedy."""
Root = dict[str, Plain]


def cross_check(root: Root) -> list[Found]:
    """Apply every rule."""
    return [found for rule in _RULES for found in rule(root)]


def _mapping(value: Plain, *keys: str) -> dict[str, Plain]:
    """Follow keys down; empty where something else stands there."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _texts(value: Plain, path: KeyPath) -> list[tuple[KeyPath, str]]:
    """One text or a list of them, each with its place."""
    if isinstance(value, str):
        return [(path, value)]
    items = value if isinstance(value, list) else []
    return [((*path, index), item) for index, item in enumerate(items) if isinstance(item, str)]


def _routes(root: Root, key: str) -> list[tuple[KeyPath, str]]:
    """Every text under one key of all routes."""
    routes = root.get("routes")
    numbered = enumerate(routes if isinstance(routes, list) else [])
    return [
        found
        for index, route in numbered
        if isinstance(route, dict)
        for found in _texts(route.get(key), ("routes", index, key))
    ]


def _app_clients(root: Root) -> list[tuple[KeyPath, str]]:
    """Every client entry that an app asks for, the default included."""
    found: list[tuple[KeyPath, str]] = []
    for name, app in _mapping(root, "apps").items():
        if isinstance(app, dict):
            found += _texts(app.get("clients", META_CLIENT), ("apps", name, "clients"))
    return found


def _nearest(name: str, known: dict[str, Plain], what: str) -> str:
    # A name that breaks the rules of names has a complaint of its own, and would break the line here.
    names = [one for one in known if one.isprintable()]
    near = nearest(name, names)
    return f"did you mean {near}?" if near else f"{what}: {', '.join(names) or 'none'}"


def _targets_exist(root: Root) -> Iterator[Found]:
    targets = _mapping(root, "targets")
    for path, name in _routes(root, "to"):
        if targets and name not in targets:
            yield path, f"there is no target {shown(name)}", _nearest(name, targets, "targets")


def _targets_are_used(root: Root) -> Iterator[Found]:
    targets = _mapping(root, "targets")
    used = {name for _, name in _routes(root, "to")}
    # A slip of the pen, in a route or in the target's own name, is told where a route names what is not
    # there; that nobody uses what was meant is no more than its consequence.
    meant = {nearest(name, targets) for name in used - targets.keys()}
    for name in targets if root.get("routes") else ():
        if name not in used | meant:
            yield (
                ("targets", name),
                "no route uses this target",
                "name it under `to` of a route, or remove it",
            )


def _route_apps_exist(root: Root) -> Iterator[Found]:
    apps = _mapping(root, "apps")
    for path, pattern in _routes(root, "app"):
        if apps and not any(map(compile_globs([pattern]), apps)):
            yield path, f"there is no app {shown(pattern)}", _nearest(pattern, apps, "apps")


def _paths_differ(root: Root) -> Iterator[Found]:
    first: dict[str, str] = {}
    for name in _mapping(root, "apps"):
        path = _mapping(root, "apps", name).get("path")
        if isinstance(path, str) and path in first:
            yield (
                ("apps", name, "path"),
                f"is the path of apps.{first[path]} too",
                "give each app a path of its own: nothing else in a request names the app",
            )
        elif isinstance(path, str):
            first[path] = name


def _clients_exist(root: Root) -> Iterator[Found]:
    clients = _mapping(root, "tls", "clients")
    for path, name in _app_clients(root):
        if clients and name not in clients:
            yield path, f"there is no entry {shown(name)} in tls.clients", _nearest(name, clients, "entries")


def _clients_are_used(root: Root) -> Iterator[Found]:
    used = {name for _, name in _app_clients(root)}
    for name in _mapping(root, "tls", "clients") if _mapping(root, "apps") else ():
        if name not in used:
            yield (
                ("tls", "clients", name),
                "no app accepts this entry",
                "name it under `clients` of an app, or remove it",
            )


def _demand_suits_apps(root: Root) -> Iterator[Found]:
    if _mapping(root, "tls").get("handshake") != "demand":
        return
    for name in _mapping(root, "apps"):
        if _mapping(root, "apps", name).get("client_certificate") == "report":
            yield (
                ("tls", "handshake"),
                f"`demand` turns away what apps.{name} (client_certificate: report) would let in",
                "use ask until every app is on required",
            )


def _address(root: Root, section: str, default: Address | None) -> Address | None:
    """Read the address of a listener; None where there is none, or none that can be read."""
    if default is None and section not in root:
        return None
    text = _mapping(root, section).get("address")
    try:
        return Address.parse(text) if isinstance(text, str) else default
    except PydanticCustomError:
        return None


def _addresses_differ(root: Root) -> Iterator[Found]:
    taken = [("listen", _address(root, "listen", Listen().address))]
    for section, default in (("admin", Admin().address), ("metrics", None)):
        address = _address(root, section, default)
        for other, there in taken:
            if address and there and _collide(address, there):
                yield (section, "address"), f"collides with {other}.address ({there})", "choose another port"
        taken.append((section, address))


def _collide(one: Address, other: Address) -> bool:
    if one.port != other.port or not one.port:
        return False
    return one.host == other.host or one.is_wildcard or other.is_wildcard


def _proxies_are_named(root: Root) -> Iterator[Found]:
    listen = _mapping(root, "listen")
    protocol, networks = listen.get("proxy_protocol", "none"), listen.get("proxy_from")
    if protocol != "none" and networks in (None, []):
        yield (
            ("listen", "proxy_protocol"),
            "needs proxy_from: from whom a PROXY header is believed",
            "add proxy_from with the networks of your load balancers, such as [10.0.8.0/24]",
        )
    if protocol == "none" and networks not in (None, []):
        yield (
            ("listen", "proxy_from"),
            "stands beside `proxy_protocol: none`, under which nobody may send a PROXY header",
            "write proxy_protocol: v2 (or v1, any), as your load balancer sends it, or remove it",
        )


def _admin_names_its_hosts(root: Root) -> Iterator[Found]:
    address = _address(root, "admin", Admin().address)
    if address and not address.is_loopback and not _mapping(root, "admin").get("hosts"):
        yield (
            ("admin", "address"),
            f"{address} is reachable from other machines, and admin.hosts names no host",
            "listen on 127.0.0.1, or state admin.hosts (the names that the Host header may carry)",
        )


def _directories_differ(root: Root) -> Iterator[Found]:
    spool = _mapping(root, "spool").get("directory")
    if spool is not None and spool == _mapping(root, "dead_letter").get("directory"):
        yield ("dead_letter", "directory"), "is the spool's directory too", "give each a directory of its own"


def _order_is_kept(root: Root) -> Iterator[Found]:
    """Each worker has a spool of its own: what a sender wrote first may lie in one that is slower."""
    several = _mapping(root, "listen").get("workers", "1") not in ("1", 1)
    if not several or _mapping(root, "spool").get("engine", "sqlite") != "sqlite":
        return
    for name in _mapping(root, "targets"):
        if _mapping(root, "targets", name).get("order") == "sender":
            yield (
                ("targets", name, "order"),
                "`order: sender` is not kept by several workers on spool.engine sqlite",
                "use listen.workers 1, or order: none",
            )


def _engine_has_what_it_needs(root: Root) -> Iterator[Found]:
    spool = _mapping(root, "spool")
    shared = spool.get("engine", "sqlite") == "postgresql"
    if shared and "dsn" not in spool:
        yield (
            ("spool", "engine"),
            "postgresql needs spool.dsn: where the database is",
            "add dsn: {env: GATEWAY_DSN} or {file: PATH}",
        )


def _graph_app_exists(root: Root) -> Iterator[Found]:
    apps, name = _mapping(root, "apps"), _mapping(root, "graph").get("app")
    if apps and isinstance(name, str) and name not in apps:
        yield ("graph", "app"), f"there is no app {shown(name)}", _nearest(name, apps, "apps")


_RULES: Final[tuple[Callable[[Root], Iterator[Found]], ...]] = (
    _targets_exist,
    _targets_are_used,
    _route_apps_exist,
    _paths_differ,
    _clients_exist,
    _clients_are_used,
    _demand_suits_apps,
    _addresses_differ,
    _proxies_are_named,
    _admin_names_its_hosts,
    _directories_differ,
    _order_is_kept,
    _engine_has_what_it_needs,
    _graph_app_exists,
)
