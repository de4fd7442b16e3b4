"""Supervisor and worker understand each other, and notice when the other is gone."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from gateway.errors import GatewayError, PeerError, SpoolUnavailableError, UsageError
from gateway.process.channel import Asker, Question, Questions, ToldError
from gateway.spool.postgresql.troubles import LinkLostError


async def answer_all(questions: Questions) -> None:
    """Echo; `fail` is refused, `hang` is not answered."""
    while (question := await questions.next()) is not None:
        if question.name == "fail":
            await questions.refuse(question, UsageError("no", remedy="ask for something else"))
        elif question.name == "odd":
            await questions.refuse(question, _OddError("odd"))
        elif question.name != "hang":
            await questions.answer(question, question.arguments)


class _OddError(GatewayError):
    pass


Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
async def asker(pair: Pair, nursery: trio.Nursery) -> Asker:
    ours, theirs = pair
    asker = Asker(ours)
    nursery.start_soon(asker.run)
    nursery.start_soon(answer_all, Questions(theirs))
    return asker


async def test_each_question_gets_its_own_answer(asker: Asker) -> None:
    said: dict[int, dict[str, object]] = {}

    async def ask(number: int) -> None:
        # Long ones come in pieces.
        said[number] = await asker.ask(
            "echo", dict[str, object], within_seconds=10, number=number, text="\n" * number * 1000
        )

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, number)
    assert said == {number: {"number": number, "text": "\n" * number * 1000} for number in range(100)}


async def test_an_error_arrives_as_what_it_is(asker: Asker) -> None:
    with pytest.raises(UsageError, match="no; ask for something else"):
        await asker.ask("fail", type(None), within_seconds=10)
    with pytest.raises(GatewayError, match="odd"):
        await asker.ask("odd", type(None), within_seconds=10)


async def test_who_does_not_answer_in_time_is_not_waited_for(asker: Asker, autojump_clock: object) -> None:
    with pytest.raises(PeerError, match="within 5 s"):
        await asker.ask("hang", type(None), within_seconds=5)
    assert await asker.ask("echo", dict[str, int], within_seconds=5, late=1) == {"late": 1}


async def test_who_is_gone_answers_nobody(pair: Pair) -> None:
    ours, theirs = pair
    asker = Asker(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(asker.run)

        async def ask() -> None:
            with pytest.raises(PeerError, match="gone"):
                await asker.ask("hang", type(None), within_seconds=60)

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        theirs.close()
    with pytest.raises(PeerError, match="gone"):
        await asker.ask("hang", type(None), within_seconds=60)


async def test_a_line_that_is_none_ends_the_talk(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(b"I am no JSON\n")
    with pytest.raises(PeerError, match="that is none"):
        await Asker(ours).run()


async def test_the_worker_hears_that_the_supervisor_is_gone(pair: Pair) -> None:
    ours, theirs = pair
    questions = Questions(theirs)
    ours.send(b'{"id": 1, "ask": "echo", "with": {"a": 1}}\n')
    question = await questions.next()
    assert question == Question(id=1, name="echo", arguments={"a": 1})
    ours.close()
    assert await questions.next() is None
    await questions.answer(question, None)  # nobody is there: no error


OUTLIVING = """
import socket, sys
from gateway.process import channel
channel.OUTLIVE_SECONDS = 0.1
channel.end_with_other_side(socket.socket(fileno=int(sys.argv[1])))
print("deaf to everything", flush=True)
while True:
    pass
"""


def test_a_process_that_is_deaf_ends_with_the_other_side() -> None:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c", OUTLIVING, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdout=subprocess.PIPE,
    )
    theirs.close()
    with process:
        assert process.stdout is not None
        assert process.stdout.readline()
        assert process.poll() is None
        ours.close()
        assert process.wait(10) == 70


def test_an_error_of_a_kind_arrives_as_that_kind() -> None:
    told = ToldError.of(LinkLostError("the database does not answer", remedy="start it")).again()
    assert (type(told), str(told)) == (
        SpoolUnavailableError,
        "the database does not answer; start it",
    )
