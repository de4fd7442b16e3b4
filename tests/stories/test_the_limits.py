"""Limits over the whole way, in a running gateway: who breaks them goes, and Meta is served beside."""

import ssl
from functools import partial

import trio

from gateway.core.signature import sign
from tests.stories.rig import APP_SECRET, PATH, Config, Rig, message, open_target, unique_id

MIB = 1024**2


async def open_as_meta(rig: Rig) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.create_default_context(cafile=rig.pki.server_ca)
    context.load_cert_chain(rig.pki.client_certificate, rig.pki.client_key)
    stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
    return trio.SSLStream(stream, context, server_hostname="localhost", https_compatible=True)


def head(body: bytes) -> bytes:
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"X-Hub-Signature-256: {sign(APP_SECRET, body)}\r\n\r\n"
    ).encode()


async def test_a_slow_but_steady_body_of_3_mib_gets_200_and_a_dripping_one_408_while_meta_is_served(
    rig: Rig,
) -> None:
    def hurry(config: Config) -> None:
        config["listen"]["limits"] = {"body": "1s", "body_rate": "1MiB"}

    large = message(unique_id())[:-1] + b" " * (3 * MIB - len(message(unique_id()))) + b"}"
    answers: dict[str, bytes] = {}

    async def send_slowly(name: str, piece_bytes: int, every_seconds: float) -> None:
        stream = await open_as_meta(rig)
        async with stream, trio.open_nursery() as nursery:

            async def send() -> None:
                await stream.send_all(head(large))
                for start in range(0, len(large), piece_bytes):
                    await stream.send_all(large[start : start + piece_bytes])
                    await trio.sleep(every_seconds)

            nursery.start_soon(send)
            answers[name] = bytes(await stream.receive_some())
            nursery.cancel_scope.cancel()

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=hurry)
        async with rig.running():
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_slowly, "steady", MIB // 8, 0.1)
                    nursery.start_soon(send_slowly, "dripping", 1024, 0.1)
                    began = trio.current_time()
                    while len(answers) < 2:
                        assert (await rig.post(message(unique_id()))).status == 200
                        await trio.sleep(0.1)
                    assert trio.current_time() - began > 1
    assert answers["steady"].startswith(b"HTTP/1.1 200 ")
    assert answers["dripping"].startswith(b"HTTP/1.1 408 ")


async def test_strangers_in_crowds_silent_or_without_end_are_shown_out_while_meta_is_served(
    rig: Rig,
) -> None:
    """`max_connections`, the quarter for who has no accepted certificate, their idle time, lingering."""

    def narrow(config: Config) -> None:
        config["listen"] |= {"max_connections": 40, "limits": {"idle_without_certificate": "1s"}}

    stranger = ssl.create_default_context(cafile=rig.pki.server_ca)
    shown_out = 0

    async def intrude(*, endless: bool) -> None:
        nonlocal shown_out
        stream = await trio.open_tcp_stream("127.0.0.1", rig.port)
        secured = trio.SSLStream(stream, stranger, server_hostname="localhost", https_compatible=True)
        try:
            await secured.do_handshake()
            if endless:
                await secured.send_all(
                    b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n"
                )
                while True:
                    await secured.send_all(b"x" * 16384)
                    await trio.sleep(0.01)
            while await secured.receive_some():
                pass
        except trio.BrokenResourceError:
            pass  # closed under what was being sent
        finally:
            await trio.aclose_forcefully(stream)
        shown_out += 1

    async with open_target() as target:
        rig.write(targets={"support": target.url}, change=narrow)
        async with rig.running():
            with trio.fail_after(30):
                async with trio.open_nursery() as nursery:
                    for number in range(60):
                        nursery.start_soon(partial(intrude, endless=number % 3 == 0))
                    while shown_out < 60:
                        with trio.fail_after(5):
                            assert (await rig.post(message(unique_id()))).status == 200
                        await trio.sleep(0.05)
        assert '"reason": "limit"' in rig.log
