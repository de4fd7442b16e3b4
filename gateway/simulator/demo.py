"""The demo: a real gateway process between a stand-in for Meta and small targets, and a judge over all of it.

It needs nothing but a directory to write to. Whoever watches is told through an `Audience`; what is told is
what was observed, and every expectation is checked against it.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from gateway.core.envelope import Unparseable, parse_envelope
from gateway.core.routing import RoutingTable
from gateway.errors import GatewayError, PeerError
from gateway.simulator.client import ClosedWithoutAnswerError, Exchange, MetaClient
from gateway.simulator.journeys import DeadLetterFile, Evidence, Journey, State, judge, strays
from gateway.simulator.observed import parse_metrics, read_dead_letters
from gateway.simulator.pki import PkiFiles, make_pki
from gateway.simulator.process import GatewayProcess, GatewayProcessError, free_ports, log_tail, start_gateway
from gateway.simulator.reasons import describe, why
from gateway.simulator.report import Addresses, Audience, Report, Step
from gateway.simulator.scenario import (
    APP,
    CALLBACK_PATH,
    METRICS,
    ORIGINAL_TARGET,
    ROUTES,
    TARGETS,
    Notification,
    Secrets,
    notifications,
    write_gateway,
)
from gateway.simulator.shape import shape_of
from gateway.simulator.target import Received, Target

SETTLED_WITHIN_SECONDS: Final = 12.0
"""From the last POST to the last delivery or dead letter: the longest journey takes `GIVE_UP_AFTER`, 2 s;
the rest is for a slow machine."""
LOG_NAME: Final = "gateway.log"
LOOK_SECONDS: Final = 0.1
"""Between two looks at what has arrived: smooth to watch."""


@dataclass(slots=True)
class Demo:
    """One run of the demo in an empty directory."""

    directory: Path
    environ: Mapping[str, str]
    audience: Audience
    now_ms: Callable[[], int]
    secrets: Secrets = field(
        default_factory=lambda: Secrets(
            app_secret=secrets.token_hex(16).encode(), verify_token=secrets.token_urlsafe(16).encode()
        )
    )
    _started: float = 0.0
    _stage: str = ""
    _steps: list[Step] = field(default_factory=list)
    _differences: list[str] = field(default_factory=list)
    _journeys: tuple[Journey, ...] = ()
    _dead_letters: tuple[DeadLetterFile, ...] = ()

    async def run(
        self,
        *,
        serve: Callable[[Addresses, Report], Awaitable[None]] | None = None,
        on_received: Callable[[str, Received], None] | None = None,
    ) -> Report:
        """Play everything and judge it; what goes wrong stands in the report.

        `serve(addresses, report so far)` is awaited with everything still running, before the end.
        `on_received(target, received)` is told each POST that a target gets.
        """
        self._started = trio.current_time()
        try:
            await self._play(serve=serve, on_received=on_received)
        except* GatewayError as group:
            self._differences += [str(error) for error in _leaves(group)]
        return self._report()

    def _report(self) -> Report:
        return Report(
            steps=tuple(self._steps),
            journeys=self._journeys,
            dead_letters=self._dead_letters,
            differences=tuple(self._differences),
            seconds=trio.current_time() - self._started,
            log_tail=log_tail(self.directory / LOG_NAME) if self._differences else (),
        )

    async def _play(
        self,
        *,
        serve: Callable[[Addresses, Report], Awaitable[None]] | None,
        on_received: Callable[[str, Received], None] | None,
    ) -> None:
        pki = self._make_certificates()
        async with trio.open_nursery() as nursery:
            targets = {
                name: Target(
                    name, secret=self.secrets.app_secret, behaviour=behaviour, on_received=on_received
                )
                for name, (behaviour, _) in TARGETS.items()
            }
            urls = {name: await nursery.start(target.serve) for name, target in targets.items()}
            self._begin("Targets", "small internal HTTP services, each with a way of its own")
            self.audience.facts(tuple((name, TARGETS[name][1]) for name in targets))
            self._begin("Routes", "every route that matches adds its targets")
            self.audience.facts(
                tuple(
                    (f"route {number}", f"{describe(route)} -> {', '.join(route.to)}")
                    for number, route in enumerate(ROUTES, start=1)
                )
            )
            addresses = self._configure(urls, pki)
            watch = _Watch(targets=targets, dead_letters=addresses.dead_letters)
            async with start_gateway(
                addresses.config, admin_url=addresses.admin_url, log_path=addresses.log, environ=self.environ
            ) as gateway:
                sent = await self._play_meta(gateway, addresses, watch)
                if serve is not None:
                    await self._serve(serve, gateway, addresses)
                await self._stop(gateway)
            if serve is None:  # else others have sent things, too
                self._look_back(sent, watch.evidence())
            nursery.cancel_scope.cancel()

    async def _play_meta(
        self, gateway: GatewayProcess, addresses: Addresses, watch: "_Watch"
    ) -> tuple[Notification, ...]:
        await self._await_readiness(gateway, addresses)
        await self._verify_callback(addresses)
        sent = await self._send(addresses)
        await self._knock(addresses)
        await self._follow(sent, watch)
        await self._compare_metrics(gateway)
        return sent

    async def _serve(
        self,
        serve: Callable[[Addresses, Report], Awaitable[None]],
        gateway: GatewayProcess,
        addresses: Addresses,
    ) -> None:
        async def ended_by_itself() -> None:
            code = await gateway.wait()
            raise GatewayProcessError(
                f"the gateway process ended by itself with exit code {code}", remedy="its log says why"
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ended_by_itself)
            await serve(addresses, self._report())
            nursery.cancel_scope.cancel()

    def _begin(self, title: str, sense: str) -> None:
        self._stage = title
        self.audience.stage(title, sense)

    def _check(
        self, what: str, happened: str, expected: str, *, ok: bool, milliseconds: float | None = None
    ) -> None:
        step = Step(
            stage=self._stage,
            what=what,
            happened=happened,
            expected=expected,
            ok=ok,
            milliseconds=milliseconds,
        )
        self._steps.append(step)
        if not ok:
            self._differences.append(f"{self._stage}: {what}: {happened}; expected {expected}")
        self.audience.step(step)

    def _make_certificates(self) -> PkiFiles:
        self._begin("Certificates", "a throw-away PKI shaped like Meta's: P-256, root, intermediate, leaf")
        pki = make_pki(self.directory / "certs")
        make_pki(self.directory / "stranger")
        for what, happened, expected, ok in shape_of(pki):
            self._check(what, happened, expected, ok=ok)
        return pki

    def _configure(self, urls: Mapping[str, str], pki: PkiFiles) -> Addresses:
        port, admin_port = free_ports(2)
        config = write_gateway(
            self.directory, port=port, admin_port=admin_port, target_urls=urls, secrets=self.secrets
        )
        return Addresses(
            callback_url=f"https://localhost:{port}{CALLBACK_PATH}",
            admin_url=f"http://127.0.0.1:{admin_port}",
            config=config,
            pki=pki,
            targets=urls,
            dead_letters=self.directory / "dead-letter",
            log=self.directory / LOG_NAME,
            verify_token=self.secrets.verify_token.decode(),
        )

    async def _await_readiness(self, gateway: GatewayProcess, addresses: Addresses) -> None:
        self._begin("Gateway", "a real process, with a configuration written for it")
        began = trio.current_time()
        await gateway.wait_ready()
        took = (trio.current_time() - began) * 1000
        what = f"process {gateway.pid} at {addresses.callback_url}"
        self._check(what, "ready", "ready", ok=True, milliseconds=took)

    def _meta(
        self, addresses: Addresses, *, pki: PkiFiles | None, secret: bytes | None = None, http2: bool = False
    ) -> MetaClient:
        return MetaClient(
            addresses.callback_url.removesuffix(CALLBACK_PATH),
            secret=secret or self.secrets.app_secret,
            ca=addresses.pki.server_ca,
            certificate=pki.client_certificate if pki else None,
            private_key=pki.client_key if pki else None,
            http2=http2,
        )

    async def _verify_callback(self, addresses: Addresses) -> None:
        self._begin(
            "Verification", "Meta's GET to the callback URL, which comes without a certificate at first"
        )
        async with self._meta(addresses, pki=None) as meta:
            answer = await meta.challenge(
                CALLBACK_PATH, verify_token=addresses.verify_token, challenge="1158201444"
            )
            came_back = answer.body == b"1158201444" and answer.content_type.startswith("text/plain")
            self._check(
                "the right verify token",
                f"{answer.status}, the challenge as text/plain"
                if came_back
                else f"{answer.status}, {answer.content_type or 'no type'}, {answer.body[:40]!r}",
                "200, the challenge as text/plain",
                ok=answer.status == 200 and came_back,
                milliseconds=answer.milliseconds,
            )
        async with self._meta(addresses, pki=None) as meta:
            wrong = addresses.verify_token[::-1]
            answer = await meta.challenge(CALLBACK_PATH, verify_token=wrong, challenge="1158201444")
            self._judge_status("a wrong one", answer, 403)

    async def _send(self, addresses: Addresses) -> tuple[Notification, ...]:
        self._begin("Notifications", "signed POSTs over mTLS, answered 200 when they are on disk")
        sent = notifications(now_ms=self.now_ms(), draw=lambda: secrets.token_hex(12))
        async with (
            self._meta(addresses, pki=addresses.pki) as meta,
            self._meta(addresses, pki=addresses.pki, http2=True) as meta2,
        ):
            for notification in sent:
                client = meta2 if notification.line.http2 else meta
                self._judge_status(
                    notification.line.label, await client.post(CALLBACK_PATH, notification.body), 200
                )
        return sent

    async def _knock(self, addresses: Addresses) -> None:
        self._begin("Refusals", "who is not let in")
        body = b'{"object":"whatsapp_business_account","entry":[]}'
        async with self._meta(addresses, pki=addresses.pki, secret=b"not the app secret") as forger:
            self._judge_status("a forged signature", await forger.post(CALLBACK_PATH, body), 401)
        async with self._meta(addresses, pki=addresses.pki) as careless:
            self._judge_status("no signature", await careless.post(CALLBACK_PATH, body, signature=""), 401)
        async with self._meta(addresses, pki=None) as nobody:
            self._judge_status("no client certificate", await nobody.post(CALLBACK_PATH, body), 403)
        stranger_pki = PkiFiles.in_directory(self.directory / "stranger")
        async with self._meta(addresses, pki=stranger_pki) as stranger:
            what, expected = (
                "a stranger's certificate, Meta's name in it",
                "connection closed, nothing answered",
            )
            try:
                answer = await stranger.post(CALLBACK_PATH, body)
            except ClosedWithoutAnswerError:
                self._check(what, expected, expected, ok=True)
            except PeerError as error:
                self._check(what, str(error), expected, ok=False)
            else:
                self._check(what, str(answer.status), expected, ok=False)

    def _judge_status(self, what: str, answer: Exchange, expected: int) -> None:
        self._check(
            what,
            str(answer.status),
            str(expected),
            ok=answer.status == expected,
            milliseconds=answer.milliseconds,
        )

    async def _follow(self, sent: tuple[Notification, ...], watch: "_Watch") -> None:
        self._begin("Deliveries", "where everything went, and why")
        journeys: tuple[Journey, ...] = ()
        with trio.move_on_after(SETTLED_WITHIN_SECONDS):
            while not journeys or any(journey.state is State.UNDER_WAY for journey in journeys):
                journeys = judge(sent, watch.evidence(), because=_because)
                self.audience.journeys(journeys, final=False)
                await trio.sleep(LOOK_SECONDS)
        evidence = watch.evidence()
        self._journeys = judge(sent, evidence, because=_because)
        self._dead_letters = tuple(evidence.dead_letters)
        self.audience.journeys(self._journeys, final=True)
        self._note_differences(self._journeys)
        for notification in sent:
            if not notification.line.deliveries:
                self._check_duplicate(notification, evidence)
        self._begin("Dead letters", "what could not be delivered, kept as files")
        self.audience.dead_letters(self._dead_letters)

    def _check_duplicate(self, notification: Notification, evidence: Evidence) -> None:
        times = sum(one.body == notification.body for one in evidence.received[ORIGINAL_TARGET])
        told = "went nowhere: these bytes are stored already"
        self._check(
            notification.line.label,
            told if times == 1 else f"{ORIGINAL_TARGET} has these bytes {times} times",
            told,
            ok=times == 1,
        )

    def _note_differences(self, journeys: Sequence[Journey]) -> None:
        for journey in journeys:
            if journey.state is not State.AS_EXPECTED:
                told = journey.difference or f"still under way, answers {list(journey.answers)}"
                self._differences.append(f"{journey.label} to {journey.target}: {told}")

    def _look_back(self, sent: Sequence[Notification], evidence: Evidence) -> None:
        """Once all is over: what came late, twice, or to somebody for whom it was not."""
        self._differences += strays(sent, evidence)
        later = judge(sent, evidence, because=_because)
        self._note_differences(
            [now for now, then in zip(later, self._journeys, strict=True) if now.state is not then.state]
        )

    async def _compare_metrics(self, gateway: GatewayProcess) -> None:
        self._begin("Metrics", "what the gateway itself has counted")
        counted: dict[str, float] = {}
        with trio.move_on_after(SETTLED_WITHIN_SECONDS):
            # A target has its delivery a moment before the gateway has settled it on disk.
            while any(counted.get(series) != value for series, value in METRICS.items()):
                counted = parse_metrics(await gateway.metrics())
                await trio.sleep(LOOK_SECONDS)
        for series, value in METRICS.items():
            happened = counted.get(series)
            self._check(
                series,
                "absent" if happened is None else f"{happened:g}",
                f"{value:g}",
                ok=happened == value,
            )

    async def _stop(self, gateway: GatewayProcess) -> None:
        self._begin("End", "SIGTERM: finish what is in flight, keep the rest on disk")
        began = trio.current_time()
        code = await gateway.stop()
        took = (trio.current_time() - began) * 1000
        self._check(
            "the gateway process", f"exit code {code}", "exit code 0", ok=code == 0, milliseconds=took
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watch:
    """Looks at the targets' records and the dead-letter directory."""

    targets: Mapping[str, Target]
    dead_letters: Path

    def evidence(self) -> Evidence:
        return Evidence(
            received={name: tuple(target.received) for name, target in self.targets.items()},
            dead_letters=read_dead_letters(self.dead_letters),
        )


_TABLE: Final = RoutingTable(ROUTES, payload_original=frozenset({ORIGINAL_TARGET}), drop_unrouted=False)


def _because(notification: Notification, target: str) -> str:
    envelope = parse_envelope(notification.body)
    if isinstance(envelope, Unparseable):
        return f"no envelope of Meta's: {envelope.detail}"
    return why(_TABLE, ROUTES, app=APP, envelope=envelope, target=target)


def _leaves(group: BaseExceptionGroup[GatewayError]) -> list[BaseException]:
    return [
        leaf
        for one in group.exceptions
        for leaf in (_leaves(one) if isinstance(one, BaseExceptionGroup) else [one])
    ]
