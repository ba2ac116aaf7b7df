"""The packages' sockets: a response arrives and costs a credit; who may not spend is told so before, or in the middle."""

import asyncio

import pytest
from google.genai import errors, types
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from demo import CREDITS, DEADLINE, until
from front import Front, certificate

WORDS = "The simulated provider says "
TOP_UP = "https://app.example.com/billing"


def realtime(client, **more):
    return client.realtime.connect(model="sim-small", **more)


def responses(client, **more):
    return client.responses.connect(**more)


def ask(connection):
    """Asks for a response in the words of either API; its text, or the error that came instead."""
    if hasattr(connection, "session"):
        connection.response.create()
    else:
        connection.response.create(model="sim-small", input="Hello")
    text = ""
    for event in connection:
        if event.type == "error":
            return event.error
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type in ("response.done", "response.completed"):
            assert event.response.status == "completed"
            return text


def left(demo) -> int:
    """What could be spent if nothing were held."""
    statement = demo.statement()
    return statement["remaining"] + statement["held"]


OPENAI = pytest.mark.parametrize("connect", [realtime, responses])


@OPENAI
def test_each_response_costs_one_credit(demo, client, connect):
    with connect(client) as connection:
        for spent in (1, 2, 3):
            assert ask(connection) == WORDS
            # The gateway settles behind the answer.
            until(f"{spent} are spent", lambda: left(demo) == CREDITS - spent)
    assert demo.spent() == 3


@OPENAI
@pytest.mark.parametrize(
    ("account", "key", "status", "code"),
    [
        ("broke", None, 402, "insufficient_quota"),
        ("paused", None, 403, "billing_not_active"),
        ("demo", "cg_unknown", 401, "invalid_api_key"),
    ],
)
def test_who_may_not_spend_is_refused_before_the_handshake(demo, assistant, connect, account, key, status, code):
    settings = {"api_key": key} if key else {}
    with pytest.raises(InvalidStatus) as refused:
        with connect(assistant(account, **settings)):
            pass
    answer = refused.value.response
    assert answer.status_code == status
    assert f'"code":"{code}"'.encode() in answer.body
    assert demo.answered() == 1
    assert demo.asked() == []


@OPENAI
def test_the_credits_end_in_the_middle(demo, client, connect):
    with connect(client) as connection:
        for _ in range(CREDITS):
            assert ask(connection) == WORDS
            demo.settled()
        error = ask(connection)
        assert error.code == "insufficient_quota"
        assert TOP_UP in error.message
        with pytest.raises(ConnectionClosedError) as closed:
            connection.recv()
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "insufficient_quota")
    assert demo.spent() == CREDITS


@pytest.fixture
def live(demo, gemini, tmp_path, monkeypatch):
    """Opens a session of the Live API with the key of an account. The package does so with TLS alone."""
    file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    front = Front(demo.gateway, file)

    def connect(account: str = "demo", config=None, **settings):
        client = gemini(account, http_options={"base_url": front.url}, **settings)
        return client.aio.live.connect(model="sim-small", config=config or {"response_modalities": ["TEXT"]})

    yield connect
    front.close()


def run(work):
    asyncio.run(asyncio.wait_for(work, DEADLINE))


async def turn(session):
    """The text of a turn."""
    text = ""
    content = types.Content(role="user", parts=[types.Part(text="Hello")])
    await session.send_client_content(turns=content, turn_complete=True)
    async for message in session.receive():
        text += message.text or ""
    return text


def test_each_turn_of_gemini_live_costs_one_credit(demo, live):
    async def talk():
        async with live() as session:
            for spent in (1, 2):
                assert await turn(session) == WORDS
                until(f"{spent} are spent", lambda: left(demo) == CREDITS - spent)

    run(talk())
    assert demo.spent() == 2


@pytest.mark.parametrize(
    ("account", "key", "status"), [("broke", None, 402), ("paused", None, 403), ("demo", "cg_unknown", 401)]
)
def test_gemini_live_is_refused_before_the_handshake(demo, live, account, key, status):
    async def open():
        async with live(account, **({"api_key": key} if key else {})):
            pass

    with pytest.raises(InvalidStatus) as refused:
        run(open())
    assert refused.value.response.status_code == status
    assert demo.asked() == []


def test_the_credits_end_in_the_middle_of_gemini_live(demo, live):
    """Google's protocol has no error event: what the gateway says is the reason of the close."""

    async def talk():
        async with live() as session:
            for _ in range(CREDITS):
                assert await turn(session) == WORDS
                demo.settled()
            await turn(session)

    with pytest.raises(errors.APIError) as closed:
        run(talk())
    assert closed.value.code == 1008
    assert "used all your AI credits" in str(closed.value)
    assert demo.spent() == CREDITS
