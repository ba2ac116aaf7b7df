"""The `google-genai` package through the gateway: what works, what it costs, and what it raises when it is refused."""

import asyncio
import base64
import hashlib
import io
import random

import openai
import pytest
from google import genai
from google.genai import errors, types

from demo import CREDITS

WORDS = "The simulated provider says "
TOP_UP = "https://app.example.com/billing"


def content(client, switches: str | None = None, model: str = "sim-small", **config):
    config = types.GenerateContentConfig(http_options=_options(switches), **config)
    return client.models.generate_content(model=model, contents="Hello", config=config)


def stream(client, switches: str | None = None):
    config = types.GenerateContentConfig(http_options=_options(switches))
    return client.models.generate_content_stream(model="sim-small", contents="Hello", config=config)


def _options(switches: str | None) -> types.HttpOptions | None:
    return types.HttpOptions(headers={"x-sim": switches}) if switches is not None else None


def _text(chunks) -> str:
    return "".join(chunk.text or "" for chunk in chunks)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/gemini", "/gemini/v1"])
@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_any_spelling_of_the_base_url_works(demo, gemini, path, version):
    client = gemini(http_options={"base_url": demo.gateway + path, "api_version": version})
    assert "models/sim-small" in [model.name for model in client.models.list()]
    assert content(client).text == WORDS
    asked = [record["path"].split("?")[0] for record in demo.asked()]
    assert asked == [f"/{version}/models", f"/{version}/models/sim-small:generateContent"]
    assert demo.spent() == 1


def test_the_provider_gets_its_own_key(demo, gemini):
    content(gemini())
    record = demo.asked()[0]
    assert record["headers"]["x-goog-api-key"] == "...-key", "masked but for its end"
    assert "authorization" not in record["headers"]
    assert "key=" not in record["path"]


def test_counting_and_listing_are_free(demo, gemini):
    client = gemini()
    assert client.models.count_tokens(model="sim-small", contents="Hello").total_tokens == 2
    assert client.models.get(model="sim-large").name == "models/sim-large"
    assert demo.spent() == 0


def test_work_costs_one_credit(demo, gemini):
    client = gemini()
    embedded = client.models.embed_content(model="sim-embedding", contents="Hello")
    assert len(embedded.embeddings[0].values) == 8
    assert demo.spent() == 1
    assert content(client, "tool", tools=[_search()]).function_calls[0].name == "search"
    assert demo.spent() == 2


def _search() -> types.Tool:
    return types.Tool(function_declarations=[types.FunctionDeclaration(name="search")])


def test_a_stream_arrives_whole(demo, gemini):
    assert _text(stream(gemini(), "chunks=20,gap=1ms,split=7")).startswith(WORDS)
    assert demo.spent() == 1


def test_a_chat_goes_on(demo, gemini):
    chat = gemini().chats.create(model="sim-small")
    assert chat.send_message("Hello").text == WORDS
    assert chat.send_message("And?").text == WORDS
    assert demo.spent() == 2


def test_an_account_without_credits(demo, gemini):
    client = gemini("broke")
    for call in [content, lambda client: _text(stream(client))]:
        with pytest.raises(errors.ClientError) as refused:
            call(client)
        assert (refused.value.code, refused.value.status) == (402, "RESOURCE_EXHAUSTED")
        assert TOP_UP in refused.value.message
        assert refused.value.details["error"]["details"][0]["reason"] == "INSUFFICIENT_CREDITS"
    assert demo.answered() == 2, "one request for each call"
    assert demo.asked() == []
    assert list(client.models.list()), "free calls go on"


def test_an_interaction_without_credits(demo, gemini):
    """Another client inside of the package, which repeats by itself what may be repeated."""
    with pytest.raises(Exception, match="used all your AI credits") as refused:
        gemini("broke").interactions.create(model="sim-small", input="Hello")
    assert refused.value.status_code == 402
    assert demo.answered() == 1
    assert demo.asked() == []


def test_retries_that_were_asked_for_stop_at_402(demo, gemini):
    client = gemini("broke", http_options={"retry_options": types.HttpRetryOptions(attempts=3, initial_delay=0.01)})
    with pytest.raises(errors.ClientError):
        content(client)
    assert demo.answered() == 1


@pytest.mark.parametrize(
    ("account", "key", "status", "word"),
    [
        ("paused", None, 403, "PERMISSION_DENIED"),
        ("demo", "AIza-unknown", 401, "UNAUTHENTICATED"),
    ],
)
def test_who_may_not_spend_is_told_so_once(demo, gemini, account, key, status, word):
    client = gemini(account, **({"api_key": key} if key else {}))
    with pytest.raises(errors.ClientError) as refused:
        content(client)
    assert (refused.value.code, refused.value.status) == (status, word)
    assert refused.value.message.endswith(".")
    assert ("API key not valid." in refused.value.message) == (status == 401)
    assert demo.answered() == 1
    assert demo.asked() == []


@pytest.mark.parametrize(("status", "error"), [(429, errors.ClientError), (503, errors.ServerError)])
def test_a_provider_that_fails_costs_nothing(demo, gemini, status, error):
    with pytest.raises(error) as failed:
        content(gemini(), f"status={status}")
    assert failed.value.code == status
    assert demo.answered() == 1, "the package does not repeat by itself"
    assert demo.spent() == 0


def test_a_stream_that_fails_after_output_costs_one(demo, gemini):
    with pytest.raises(errors.APIError):
        _text(stream(gemini(), "error-event=2"))
    assert demo.spent() == 1


def test_a_stream_that_only_says_it_failed_costs_nothing(demo, gemini):
    with pytest.raises(errors.APIError):
        _text(stream(gemini(), "error-event=0"))
    assert demo.spent() == 0
    assert demo.settled()["remaining"] == CREDITS


def test_the_same_provider_in_the_words_of_openai(demo):
    with openai.OpenAI(base_url=f"{demo.gateway}/v1beta/openai", api_key=demo.key()) as client:
        answer = client.chat.completions.create(model="sim-small", messages=[{"role": "user", "content": "Hello"}])
    assert answer.choices[0].message.content == WORDS
    assert [record["path"] for record in demo.asked()] == ["/v1beta/openai/chat/completions"]
    assert demo.spent() == 1


@pytest.mark.filterwarnings("ignore:The SDK's token creation")
def test_an_ephemeral_token_is_refused(demo, gemini):
    client = gemini(http_options={"api_version": "v1alpha"})
    with pytest.raises(errors.ClientError) as refused:
        client.auth_tokens.create(config=types.CreateAuthTokenConfig(uses=1))
    assert refused.value.code == 403
    assert demo.asked() == []


def _sizes():
    # The package sends pieces of 8 MiB.
    return pytest.mark.parametrize("size", [7, 20 << 20], ids=["one piece", "three pieces"])


def _is_whole(file: types.File, content: bytes) -> bool:
    return base64.b64decode(file.sha256_hash) == hashlib.sha256(content).digest()


def _assert_passed_here(demo, pieces: int):
    """Each piece has come to the provider, with its key and without anything of the gateway's."""
    records = [record for record in demo.asked() if record["path"].startswith("/upload/")]
    assert len(records) == 1 + pieces
    assert demo.answered() >= len(records)
    for record in records:
        assert record["headers"]["x-goog-api-key"] == "...-key", "masked but for its end"
        assert "ticket" not in record["path"]
    assert demo.spent() == 0
    log = demo.log.read_text()
    assert "ticket" not in log and "upload_id" not in log and demo.key() not in log


@_sizes()
@pytest.mark.parametrize("path", ["", "/gemini/v1beta"])
def test_a_file_is_uploaded_through_the_gateway(demo, gemini, path, size):
    content = random.Random(7).randbytes(size)
    client = gemini(http_options={"base_url": demo.gateway + path})
    file = client.files.upload(file=io.BytesIO(content), config={"mime_type": "text/plain"})
    assert _is_whole(file, content)
    assert client.files.get(name=file.name).size_bytes == size
    assert file.name in [one.name for one in client.files.list()]
    with pytest.raises(errors.ClientError) as refused:
        gemini("broke").files.get(name=file.name)
    assert refused.value.code == 404
    _assert_passed_here(demo, pieces=1 if size < 8 << 20 else 3)
    client.files.delete(name=file.name)


@_sizes()
def test_a_file_is_uploaded_by_the_client_that_awaits(demo, gemini, tmp_path, size):
    content = random.Random(7).randbytes(size)
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    client = gemini()

    async def upload() -> types.File:
        async with client.aio as aio:
            return await aio.files.upload(file=path)

    assert _is_whole(asyncio.run(upload()), content)
    _assert_passed_here(demo, pieces=1 if size < 8 << 20 else 3)


def test_settings_may_come_from_the_environment(demo, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", demo.key())
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", demo.gateway)
    assert content(genai.Client()).text == WORDS
    assert demo.spent() == 1
