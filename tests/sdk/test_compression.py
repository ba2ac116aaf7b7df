"""Answers that a provider compresses: the packages read them as they read plain ones, the bytes on the way are the
provider's own, and the charge is what they report."""

import hashlib

import pytest

from calls import HELLO
from test_gemini import content as generated

WORDS = "The simulated provider says "
CODINGS = ["gzip", "deflate", "br", "zstd"]

# 70 tokens at a ten-thousandth of a credit, 3 at a thousandth: what the demo's model `sim-metered` costs.
USAGE = "input-tokens=70,output-tokens=3"
COST = 0.01


def _ask(coding: str | None) -> dict:
    return {"x-sim": USAGE if coding is None else f"{USAGE},coding={coding}"}


def _spent(demo) -> float:
    """What was spent, in whole millionths."""
    return round(demo.spent(), 6)


def _chat(client, coding: str | None, **more):
    """A chat whose answer is not read yet."""
    chats = client.chat.completions.with_streaming_response
    return chats.create(model="sim-metered", messages=HELLO, extra_headers=_ask(coding), **more)


@pytest.fixture
def reader(client):
    """A client that says it reads all four, as it does with the packages of requirements.txt."""
    assert all(coding in client._client.headers["accept-encoding"] for coding in CODINGS)
    return client


@pytest.mark.parametrize("more", [{}, {"stream": True, "stream_options": {"include_usage": True}}], ids=["json", "stream"])
def test_a_compressed_answer_says_what_the_plain_one_says(demo, reader, more):
    with _chat(reader, None, **more) as answer:
        plain = answer.http_response.read()
        assert "content-encoding" not in answer.headers
    assert plain and _spent(demo) == COST
    for count, coding in enumerate(CODINGS, start=2):
        with _chat(reader, coding, **more) as answer:
            assert answer.headers["content-encoding"] == coding
            assert answer.http_response.read() == plain, coding
        assert _spent(demo) == round(count * COST, 6), coding
    assert all(record["state"] == "answered" for record in demo.asked())


@pytest.mark.parametrize("coding", CODINGS)
def test_the_bytes_are_the_providers(demo, client, coding):
    with _chat(client, coding, stream=True, stream_options={"include_usage": True}) as answer:
        sent = b"".join(answer.http_response.iter_raw())
    assert hashlib.sha256(sent).hexdigest() == demo.asked()[0]["response_sha256"]


@pytest.mark.parametrize("coding", CODINGS)
def test_the_openai_package(demo, reader, coding):
    asked = {"model": "sim-metered", "extra_headers": _ask(coding)}
    answer = reader.chat.completions.create(messages=HELLO, **asked)
    assert (answer.choices[0].message.content, answer.usage.prompt_tokens) == (WORDS, 70)
    chunks = list(reader.chat.completions.create(messages=HELLO, stream=True, **asked))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == WORDS
    assert reader.responses.create(input="Hello", **asked).output_text == WORDS
    events = list(reader.responses.create(input="Hello", stream=True, **asked))
    assert events[-1].response.usage.input_tokens == 70
    assert _spent(demo) == round(4 * COST, 6)


@pytest.mark.parametrize("coding", CODINGS)
def test_the_anthropic_package(demo, claude, coding):
    asked = {"model": "sim-metered", "max_tokens": 64, "messages": HELLO, "extra_headers": _ask(coding)}
    client = claude()
    assert client.messages.create(**asked).content[0].text == WORDS
    with client.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == WORDS
        assert stream.get_final_message().usage.output_tokens == 3
    assert _spent(demo) == round(2 * COST, 6)


@pytest.mark.parametrize("coding", CODINGS)
def test_the_google_package(demo, gemini, coding):
    client = gemini()
    answer = generated(client, _ask(coding)["x-sim"], model="sim-metered")
    assert (answer.text, answer.usage_metadata.prompt_token_count) == (WORDS, 70)
    chunks = client.models.generate_content_stream(
        model="sim-metered", contents="Hello", config={"http_options": {"headers": _ask(coding)}}
    )
    assert "".join(chunk.text or "" for chunk in chunks) == WORDS
    assert _spent(demo) == round(2 * COST, 6)
