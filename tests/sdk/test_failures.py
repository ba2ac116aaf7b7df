"""A call that did no work costs nothing, however often the package tries; one that did costs once."""

import asyncio

import openai
import pytest

from calls import chat, text_of
from demo import CREDITS, until

# What the package makes of one call by itself.
ATTEMPTS = 3


@pytest.mark.parametrize(
    ("status", "error", "stream"),
    [
        (500, openai.InternalServerError, False),
        (500, openai.InternalServerError, True),
        (503, openai.InternalServerError, False),
        (429, openai.RateLimitError, False),
    ],
)
def test_a_provider_that_fails_is_tried_again_and_costs_nothing(demo, client, status, error, stream):
    with pytest.raises(error) as failed:
        chat(client, f"status={status}", stream=stream)
    assert failed.value.status_code == status
    assert failed.value.response.headers["x-credits-charged"] == "0"
    assert failed.value.response.headers["x-credits-remaining"] == str(CREDITS)
    assert [record["status"] for record in demo.asked()] == [status] * ATTEMPTS
    assert demo.answered() == ATTEMPTS
    assert demo.spent() == 0


def test_a_refusal_of_the_provider_costs_nothing(demo, client):
    with pytest.raises(openai.NotFoundError):
        chat(client, "status=404")
    assert demo.answered() == 1
    assert demo.spent() == 0


def test_a_connection_dropped_before_the_answer_is_tried_again_and_costs_nothing(demo, client):
    with pytest.raises(openai.InternalServerError) as failed:
        chat(client, "break=before-headers")
    assert failed.value.code == "provider_unreachable"
    assert [record["state"] for record in demo.asked()] == ["broken"] * ATTEMPTS
    assert demo.answered() == ATTEMPTS
    assert demo.spent() == 0


def test_an_answer_cut_in_the_middle_is_tried_again_and_costs_nothing(demo, client):
    """The package can't use half an answer and asks again: three attempts, no answer, no charge."""
    with pytest.raises(openai.APIConnectionError):
        chat(client, "break=after:0")
    assert [record["state"] for record in demo.asked()] == ["broken"] * ATTEMPTS
    assert demo.spent() == 0


def test_a_stream_that_breaks_after_output_raises_and_costs_one(demo, client):
    stream = chat(client, "break=after:3", stream=True)
    with pytest.raises(openai.APIConnectionError):
        text_of(stream)
    assert [record["state"] for record in demo.asked()] == ["broken"]
    assert demo.spent() == 1


def test_a_stream_that_breaks_before_output_raises_and_costs_nothing(demo, client):
    stream = chat(client, "break=after:1", stream=True)
    with pytest.raises(openai.APIConnectionError):
        text_of(stream)
    assert len(demo.asked()) == 1
    assert demo.spent() == 0


def test_a_stream_that_only_says_it_failed_costs_nothing(demo, client):
    with pytest.raises(openai.APIError, match="told to"):
        text_of(chat(client, "error-event=0", stream=True))
    assert demo.spent() == 0


def test_a_stream_that_fails_after_output_costs_one(demo, client):
    with pytest.raises(openai.APIError, match="told to"):
        text_of(chat(client, "error-event=2", stream=True))
    assert demo.spent() == 1


def test_a_silent_stream_costs_nothing(demo, client):
    assert text_of(chat(client, "silent", stream=True)) == ""
    assert demo.spent() == 0


def test_a_client_that_stops_reading_is_charged_once_and_the_provider_is_told(demo, client):
    # The provider holds the stream after its opening and one piece of content, so that it can't end by itself.
    stream = chat(client, "hold=after:2", stream=True)
    said = ""
    while not said:
        said = next(stream).choices[0].delta.content or ""
    stream.close()
    until("the provider sees the call cancelled", lambda: demo.asked()[0]["state"] == "cancelled")
    assert demo.spent() == 1
    assert demo.answered() == 1
    assert len(demo.asked()) == 1


def test_a_client_that_leaves_before_any_output_is_not_charged(demo, client):
    stream = chat(client, "hold=after:1", stream=True)
    assert next(stream).choices[0].delta.role == "assistant"
    stream.close()
    until("the provider sees the call cancelled", lambda: demo.asked()[0]["state"] == "cancelled")
    assert demo.spent() == 0


def test_a_client_that_is_cancelled_while_it_waits_is_not_charged(demo):
    async def session():
        async with openai.AsyncOpenAI(base_url=demo.base_url, api_key=demo.key()) as client:
            call = asyncio.create_task(chat(client, "hold=before-headers"))
            await asyncio.to_thread(until, "the provider has the call", lambda: demo.counts()["held"] == 1)
            assert demo.statement()["held"] == 1
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(session())
    until("the provider sees the call cancelled", lambda: demo.asked()[0]["state"] == "cancelled")
    assert demo.spent() == 0


def test_a_client_that_gives_up_waiting_is_not_charged(demo, client):
    with pytest.raises(openai.APITimeoutError):
        chat(client, "hold=before-headers", timeout=0.5)
    cancelled = ["cancelled"] * ATTEMPTS
    until("the provider sees it", lambda: [record["state"] for record in demo.asked()] == cancelled)
    assert demo.spent() == 0


def test_a_retry_that_succeeds_costs_once(demo, client):
    """What the package does by itself: a first attempt that fails on the way, a second one that answers."""
    attempts = iter(["status=500", "chunks=3"])

    def switch(request):
        request.headers["x-sim"] = next(attempts)

    client._client.event_hooks["request"].append(switch)
    assert chat(client).choices[0].message.content
    assert [record["status"] for record in demo.asked()] == [500, 200]
    assert demo.spent() == 1
