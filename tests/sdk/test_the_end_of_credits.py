"""Exactly the credits that the account has, not one call more or less; then one clear refusal; free calls go on."""

import asyncio
import itertools

import openai
import pytest

from calls import FREE, WORK, chat, text_of
from demo import CREDITS, PLAN_CREDITS

TOP_UP = "https://app.example.com/billing"


def spend_all(client):
    for _ in range(CREDITS):
        chat(client)


def assert_out_of_credits(error: openai.APIStatusError):
    assert type(error) is openai.APIStatusError, "402 has no class of its own in this package"
    assert error.status_code == 402
    assert error.code == "insufficient_quota"
    assert error.type == "insufficient_quota"
    assert error.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in error.response.headers
    assert error.response.headers["content-type"] == "application/json"
    assert error.request_id.startswith("req_"), "a person must be able to name the call to the operator"
    message = error.body["message"]
    assert message[0].isupper() and message.endswith(".") and TOP_UP in message
    assert message in str(error)


def test_a_session_until_the_credits_are_gone(demo, client):
    assert "sim-small" in [model.id for model in client.models.list()]
    assert demo.spent() == 0

    assert chat(client).choices[0].message.content
    assert text_of(chat(client, stream=True))
    assert client.embeddings.create(model="sim-embedding", input="Hello").data[0].embedding
    assert demo.spent() == 3
    for left in reversed(range(CREDITS - 3)):
        chat(client)
        assert demo.settled()["remaining"] == left

    asked, answered = len(demo.asked()), demo.answered()
    with pytest.raises(openai.APIStatusError) as refused:
        chat(client)
    assert_out_of_credits(refused.value)
    assert demo.answered() - answered == 1, "the package must not try again"
    assert len(demo.asked()) == asked, "the provider must not be asked"

    assert "sim-small" in [model.id for model in client.models.list()]
    statement = demo.settled()
    assert (statement["remaining"], statement["held"], statement["owed"]) == (0, 0, 0)
    assert demo.metric("charged_microcredits_total") == CREDITS * 1_000_000


def test_plan_credits_go_first_then_purchased_ones(demo, client):
    told = []
    for _ in range(CREDITS):
        answer = client.embeddings.with_raw_response.create(model="sim-embedding", input="Hello")
        names = ("x-credits-remaining", "x-credits-plan-remaining", "x-credits-purchased-remaining")
        told.append(tuple(int(answer.headers[name]) for name in names))
    assert told == [(7, 4, 3), (6, 3, 3), (5, 2, 3), (4, 1, 3), (3, 0, 3), (2, 0, 2), (1, 0, 1), (0, 0, 0)]
    assert [plan for _, plan, _ in told].count(0) == CREDITS - PLAN_CREDITS + 1


def test_every_kind_of_work_is_refused_and_nothing_else(demo, client):
    spend_all(client)
    demo.forget()
    for name, work in WORK.items():
        answered = demo.answered()
        with pytest.raises(openai.APIStatusError) as refused:
            work(client)
        assert_out_of_credits(refused.value)
        assert demo.answered() - answered == 1, name
    assert demo.asked() == [], "the provider must not be asked"
    for free in FREE.values():
        free(client)
    assert demo.settled()["remaining"] == 0


def test_a_refused_stream_raises_before_it_is_read(demo, client):
    spend_all(client)
    with pytest.raises(openai.APIStatusError) as refused:
        chat(client, stream=True)
    assert_out_of_credits(refused.value)


def test_callers_at_once_get_exactly_what_is_there(demo):
    """Thirty callers and eight credits: eight answers, and no retry of a refusal."""
    callers = 30

    async def call(client, streams: bool):
        try:
            answer = await chat(client, stream=streams)
            if streams:
                async for _ in answer:
                    pass
            return "answered"
        except openai.APIStatusError as error:
            assert error.status_code == 402
            return error.code

    async def session():
        async with openai.AsyncOpenAI(base_url=demo.base_url, api_key=demo.key()) as client:
            streams = itertools.cycle([False, True])
            return await asyncio.gather(*(call(client, next(streams)) for _ in range(callers)))

    results = asyncio.run(session())
    assert results.count("answered") == CREDITS
    assert set(results) <= {"answered", "insufficient_quota", "credits_held"}
    assert len(demo.asked("/v1/chat/completions")) == CREDITS
    assert demo.answered() == callers
    assert demo.spent() == CREDITS
