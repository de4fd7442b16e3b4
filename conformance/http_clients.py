"""curl and nghttp at the door: HTTP/1.0, 1.1 and 2 as others have built them."""

import re
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from conformance.clients import write_chain
from conformance.door import CALLBACK_PATH, Door, notification, open_door
from conformance.outcome import Outcome, judged, skipped
from conformance.specimen import DoorKind, Ground
from gateway.core.signature import sign

SECTION: Final = "http"
PATIENCE_SECONDS: Final = 60.0
"""For one program: milliseconds, but for the body that is too large, and a busy machine."""
TOO_LARGE_BYTES: Final = 4 * 1024**2
"""`listen.max_body` is 3 MiB."""
LARGE_BYTES: Final = 2 * 1024**2
"""curl waits for `100 Continue` before it sends so much."""
STREAMS: Final = 50
A_LINE: Final = 80
"""Characters of an answer that the table shows."""

CURL_REFUSED_BY_TLS: Final = 35
"""CURLE_SSL_CONNECT_ERROR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the programs are pointed at."""

    door: Door
    chain: Path
    key: Path
    body: Path
    signature: str

    @property
    def url(self) -> str:
        return f"https://localhost:{self.door.port}{CALLBACK_PATH}"

    @property
    def signed(self) -> list[str]:
        return ["-H", f"X-Hub-Signature-256: {self.signature}", "-H", "Content-Type: application/json"]

    def of(self, body: bytes, name: str) -> "Site":
        """Return the same with another body, signed as Meta signs."""
        path = self.door.directory / name
        path.write_bytes(body)
        return Site(
            door=self.door,
            chain=self.chain,
            key=self.key,
            body=path,
            signature=sign(self.door.secret, body),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a program ended with."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One call of a program."""

    name: str
    program: str
    arguments: Callable[[Site], Sequence[str | Path]]
    wanted: str
    """A regular expression for the whole of standard output."""
    code: int = 0


def _curl(
    name: str,
    wanted: str,
    *words: str,
    identity: bool = True,
    post: bool = True,
    code: int = 0,
    show: str = "%{http_version} %{http_code}",
    site: Callable[[Site], Site] = lambda site: site,
) -> Examination:
    def arguments(given: Site) -> list[str | Path]:
        at = site(given)
        argv: list[str | Path] = ["--silent", "--show-error", "--cacert", at.door.ca, "--write-out", show]
        if identity:
            argv += ["--cert", at.chain, "--key", at.key]
        if post:
            argv += [*at.signed, "--data-binary", f"@{at.body}"]
        places = {"URL": at.url, "TOKEN": at.door.token.decode(), "PORT": str(at.door.port)}
        filled = [re.sub(r"\{(URL|TOKEN|PORT)\}", lambda match: places[match[1]], word) for word in words]
        return [*argv, *(filled if any("://" in word for word in filled) else [*filled, at.url])]

    return Examination(name=name, program="curl", arguments=arguments, wanted=wanted, code=code)


def _nghttp(name: str, *words: str, times: int = 1, status: int = 200) -> Examination:
    def arguments(site: Site) -> list[str | Path]:
        identity: list[str | Path] = ["--cert", site.chain, "--key", site.key]
        return [*identity, "-v", "--no-verify-peer", "-d", site.body, *site.signed, *words, site.url]

    answered = rf"(?:.*?:status: {status}){{{times}}}(?!.*:status:).*"
    return Examination(name=name, program="nghttp", arguments=arguments, wanted=answered)


def _large(size_bytes: int) -> Callable[[Site], Site]:
    filling = b'{"object":"whatsapp_business_account","entry":[],"x":"%s"}'
    return lambda site: site.of(filling % (b"x" * size_bytes), f"{size_bytes}.json")


ASKED: Final = "{URL}?hub.mode=subscribe&hub.verify_token={TOKEN}&hub.challenge=1158201444"
ALLOW: Final = "%{http_version} %{http_code} %header{allow}"
EXAMINATIONS: Final = (
    _curl("curl: signed, HTTP/2", "2 200", "--http2"),
    _curl("curl: signed, HTTP/1.1", "1.1 200", "--http1.1"),
    _curl("curl: signed, HTTP/1.0", "1.[01] 200", "--http1.0", "--no-alpn"),
    _curl("curl: signed, without a certificate, HTTP/2", "[a-z_]+ 2 403", "--http2", identity=False),
    _curl("curl: signed, without a certificate, HTTP/1.1", "[a-z_]+ 1.1 403", "--http1.1", identity=False),
    _curl("curl: verification GET, HTTP/2", "11582014442 200", "--http2", ASKED, identity=False, post=False),
    _curl("curl: verification GET, HTTP/1.1", "11582014441.1 200", "--http1.1", ASKED, post=False),
    _curl("curl: another body than was signed", "[a-z_]+ 2 401", "--http2", "--data-binary", "{}"),
    _curl("curl: chunked", "1.1 200", "--http1.1", "-H", "Transfer-Encoding: chunked"),
    _curl("curl: 2 MiB after 100 Continue", "1.1 200", "--http1.1", site=_large(LARGE_BYTES)),
    _curl("curl: 2 MiB, HTTP/2", "2 200", "--http2", site=_large(LARGE_BYTES)),
    _curl("curl: too large, HTTP/1.1", "[a-z_]+ 1.1 413", "--http1.1", site=_large(TOO_LARGE_BYTES)),
    _curl("curl: too large, HTTP/2", "[a-z_]+ 2 413", "--http2", site=_large(TOO_LARGE_BYTES)),
    _curl("curl: encoded", "[a-z_]+ 2 415", "--http2", "-H", "Content-Encoding: gzip"),
    _curl("curl: unknown path", "[a-z_]+ 2 404", "--http2", "https://localhost:{PORT}/elsewhere", post=False),
    _curl("curl: PUT", "[a-z_]+ 2 405 GET, POST", "--http2", "-X", "PUT", show=ALLOW),
    _curl("curl: a head of 20 KB", "1.1 431", "--http1.1", "-H", "X-Filling: " + "x" * 20_000),
    _curl("curl: no Server header", "200", "--http1.1", show="%{http_code} %header{server}"),
    _curl(
        "curl: two requests on one connection",
        "200 1 200 0",
        "--http1.1", "{URL}", "--output", "/dev/null", "{URL}",
        show="%{http_code} %{num_connects} ",
    ),
    _curl(
        "curl: TLS 1.1 is refused", ".*", "--tls-max", "1.1", "--tlsv1.0", "--ciphers", "DEFAULT@SECLEVEL=0",
        code=CURL_REFUSED_BY_TLS,
    ),
    _nghttp("nghttp: one stream"),
    _nghttp("nghttp: streams side by side", "-m", str(STREAMS), times=STREAMS),
    _nghttp("nghttp: a head of more than 16 KiB, in CONTINUATION frames", "--continuation", status=431),
    _nghttp("nghttp: padded frames", "--padding", "100"),
    _nghttp("nghttp: without Content-Length", "--no-content-length"),
    _nghttp("nghttp: a trailer", "--trailer", "x-after: all"),
    _nghttp("nghttp: a small window", "--window-bits", "10", "--connection-window-bits", "10"),
)  # fmt: skip


async def examine_http(directory: Path) -> AsyncGenerator[Outcome, None]:
    """Call every program at a door of the default kind."""
    ground = Ground()
    async with open_door(directory / "door", ground, DoorKind.ASK) as door:
        chain, key = write_chain(directory, ground.leaf())
        if chain is None or key is None:
            raise TypeError("Meta's own certificate is one")
        body = notification()
        path = directory / "body.json"
        path.write_bytes(body)
        site = Site(door=door, chain=chain, key=key, body=path, signature=sign(door.secret, body))
        for one in EXAMINATIONS:
            if shutil.which(one.program) is None:
                yield skipped(SECTION, one.name, f"{one.program} is not installed")
                continue
            seen = await _call([one.program, *one.arguments(site)])
            text = " ".join(seen.out.split())
            good = seen.code == one.code and re.fullmatch(one.wanted, text) is not None
            told = text if len(text) < A_LINE else f"{len(text)} characters"
            complaint = "" if good else f"; {seen.err.strip()[-200:]}"
            yield judged(
                SECTION, one.name, good=good, detail=f"{told.strip()} (exit code {seen.code}){complaint}"
            )


async def _call(argv: Sequence[str | Path]) -> Seen:
    with trio.fail_after(PATIENCE_SECONDS):
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(
            [str(word) for word in argv], capture_stdout=True, capture_stderr=True, check=False
        )
    return Seen(
        code=done.returncode,
        out=done.stdout.decode(errors="replace"),
        err=done.stderr.decode(errors="replace"),
    )
