"""What an assistant does all day works through the gateway, and costs what it should."""

import asyncio
import json
import re
from datetime import datetime, timezone

import openai
import pytest

from calls import FREE, HELLO, TOOLS, WORK, chat, text_of
from demo import CREDITS, PLAN_CREDITS, PURCHASED_CREDITS, until

WORDS = "The simulated provider says "


@pytest.mark.parametrize("work", WORK.values(), ids=WORK.keys())
def test_work_costs_one_credit(demo, client, work):
    work(client)
    assert demo.spent() == 1
    assert [record["state"] for record in demo.asked()] == ["answered"]


@pytest.mark.parametrize("free", FREE.values(), ids=FREE.keys())
def test_configuration_is_free(demo, client, free):
    free(client)
    assert demo.spent() == 0
    assert demo.asked(), "the provider should have been asked"


def test_a_chat_answers(client):
    answer = chat(client)
    assert answer.choices[0].message.content == WORDS
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 0


def test_a_stream_arrives_whole(demo, client):
    stream = chat(client, "chunks=20,gap=1ms,split=7", stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices).startswith(WORDS)
    assert sum(1 for chunk in chunks if chunk.choices and chunk.choices[0].delta.content) == 20
    assert chunks[-1].usage.completion_tokens > 0
    assert demo.spent() == 1


def test_no_chunk_is_added_to_a_stream(client):
    """An application that reads `chunk.choices[0]` of every chunk must not meet one without a choice."""
    for chunk in chat(client, stream=True):
        assert len(chunk.choices) == 1


def test_the_stream_helper_works(demo, client):
    with client.chat.completions.stream(model="sim-small", messages=HELLO) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == WORDS
    assert demo.spent() == 1


def test_a_response_answers(client):
    assert client.responses.create(model="sim-small", input="Hello").output_text == WORDS


def test_a_streamed_response_arrives_whole(client):
    events = list(client.responses.create(model="sim-small", input="Hello", stream=True))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == WORDS
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_background_response_is_charged_when_it_is_made(demo, client):
    queued = client.responses.create(model="sim-small", input="Hello", background=True)
    assert queued.status == "queued"
    assert demo.spent() == 1
    assert client.responses.retrieve(queued.id).output_text == WORDS
    assert demo.spent() == 1


def test_a_tool_call_comes_whole(demo, client):
    answer = chat(client, "tool", tools=TOOLS)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "search"
    assert json.loads(call.function.arguments) == {"query": "simulated"}
    assert demo.spent() == 1


def test_a_tool_call_comes_in_a_stream(demo, client):
    name, arguments = "", ""
    for chunk in chat(client, "tool", tools=TOOLS, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert (name, json.loads(arguments)) == ("search", {"query": "simulated"})
    assert demo.spent() == 1


def test_embeddings_are_numbers(client):
    answer = client.embeddings.create(model="sim-embedding", input=["one", "two"])
    assert [one.index for one in answer.data] == [0, 1]
    assert all(0.5 <= abs(number) < 1 for one in answer.data for number in one.embedding)


def test_sound_comes_as_bytes(client):
    sound = client.audio.speech.create(model="sim-audio", voice="alloy", input="Hello").read()
    assert sound.startswith(b"ID3") and len(sound) == 4096


def test_a_large_body_arrives(demo, client):
    sound = b"ID3" + bytes(3_000_000)
    assert client.audio.transcriptions.create(model="sim-audio", file=("a.mp3", sound)).text == WORDS
    assert demo.asked()[0]["body_bytes"] > len(sound)
    assert demo.spent() == 1


def test_the_asynchronous_client_works(demo):
    async def session():
        async with openai.AsyncOpenAI(base_url=demo.base_url, api_key=demo.key()) as client:
            models = [model.id async for model in client.models.list()]
            answer = await chat(client)
            said = "".join([chunk.choices[0].delta.content or "" async for chunk in await chat(client, stream=True)])
            return models, answer.choices[0].message.content, said

    models, answered, streamed = asyncio.run(session())
    assert "sim-small" in models
    assert (answered, streamed) == (WORDS, WORDS)
    assert demo.spent() == 2


def test_headers_tell_of_credits(demo, client):
    answer = client.chat.completions.with_raw_response.create(model="sim-small", messages=HELLO)
    headers = answer.headers
    assert headers["x-credits-charged"] == "1"
    assert headers["x-credits-remaining"] == str(CREDITS - 1)
    assert headers["x-credits-plan-remaining"] == str(PLAN_CREDITS - 1)
    assert headers["x-credits-purchased-remaining"] == str(PURCHASED_CREDITS)
    assert datetime.fromisoformat(headers["x-credits-reset"]) > datetime.now(timezone.utc)
    assert re.fullmatch("req_[0-9a-f]{32}", headers["x-credits-request-id"])
    until("the operator finds the call by this name", lambda: headers["x-credits-request-id"] in demo.log.read_text())
    # The provider's own are left as they were.
    assert headers["x-request-id"].startswith("req_sim")
    assert answer.parse().choices[0].message.content == WORDS


def test_headers_of_a_stream_tell_of_credits(client):
    with client.chat.completions.with_streaming_response.create(
        model="sim-small", messages=HELLO, stream=True
    ) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-credits-charged"] == "1"
        assert answer.headers["x-credits-remaining"] == str(CREDITS - 1)
        assert text_of(answer.parse()) == WORDS


def test_the_provider_sees_its_own_key_and_nothing_of_credits(demo, client):
    chat(client)
    client.models.list()
    for record in demo.asked():
        headers = record["headers"]
        assert headers["authorization"] == "...-key", "the provider's key ends with `-key`"
        assert not [name for name in headers if name.startswith("x-credits")]
        # What tells the provider which software calls is the customer's own, and passes.
        assert headers["user-agent"].startswith("OpenAI/Python")
