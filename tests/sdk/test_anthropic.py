"""The `anthropic` package through the gateway: what works, what it costs, and what it raises when it is refused."""

import anthropic
import pytest

from demo import CREDITS, until

ATTEMPTS = 3
WORDS = "The simulated provider says "
TOP_UP = "https://app.example.com/billing"


def message(client, switches: str | None = None, **more):
    headers = {} if switches is None else {"x-sim": switches}
    hello = [{"role": "user", "content": "Hello"}]
    return client.messages.create(model="sim-small", max_tokens=64, messages=hello, extra_headers=headers, **more)


def text_of(stream) -> str:
    events = (event for event in stream if event.type == "content_block_delta")
    return "".join(event.delta.text for event in events)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/v1", "/anthropic", "/anthropic/v1"])
def test_any_spelling_of_the_base_url_works(demo, claude, path):
    client = claude(base_url=demo.gateway + path)
    assert "sim-small" in [model.id for model in client.models.list()]
    assert message(client).content[0].text == WORDS
    asked = [record["path"].split("?")[0] for record in demo.asked()]
    assert asked == ["/v1/models", "/v1/messages"]
    assert demo.spent() == 1


@pytest.mark.parametrize("settings", [{}, {"api_key": None, "auth_token": "yes"}], ids=["api_key", "auth_token"])
def test_the_provider_gets_its_own_key(demo, claude, settings):
    if settings:
        settings["auth_token"] = demo.key()
    message(claude(**settings))
    headers = demo.asked()[0]["headers"]
    assert headers["x-api-key"] == "...-key", "masked but for its end"
    assert "authorization" not in headers
    assert headers["anthropic-version"]


def test_counting_and_listing_are_free(demo, claude):
    client = claude()
    hello = [{"role": "user", "content": "Hello"}]
    assert client.messages.count_tokens(model="sim-small", messages=hello).input_tokens == 2
    assert client.models.retrieve("sim-large").id == "sim-large"
    assert demo.spent() == 0


def test_a_stream_arrives_whole(demo, claude):
    stream = message(claude(), "chunks=20,gap=1ms,split=7", stream=True)
    assert text_of(stream).startswith(WORDS)
    assert demo.spent() == 1


def test_the_stream_helper_works(demo, claude):
    hello = [{"role": "user", "content": "Hello"}]
    with claude().messages.stream(model="sim-small", max_tokens=64, messages=hello) as stream:
        assert "".join(stream.text_stream) == WORDS
        assert stream.get_final_message().stop_reason == "end_turn"
    assert demo.spent() == 1


def test_a_tool_is_called(demo, claude):
    tools = [{"name": "search", "input_schema": {"type": "object"}}]
    answer = message(claude(), "tool", tools=tools)
    assert (answer.stop_reason, answer.content[0].name) == ("tool_use", "search")
    assert demo.spent() == 1


def test_an_account_without_credits(demo, claude):
    client = claude("broke")
    for stream in [False, True]:
        with pytest.raises(anthropic.APIStatusError) as refused:
            message(client, stream=stream)
        error = refused.value
        assert type(error).__name__ == "PaymentRequiredError"
        assert (error.status_code, error.type) == (402, "billing_error")
        assert error.body["error"]["details"] == {"error_code": "insufficient_quota"}
        assert TOP_UP in error.body["error"]["message"]
        assert error.request_id.startswith("req_")
        assert error.response.headers["x-should-retry"] == "false"
        assert "retry-after" not in error.response.headers
    assert demo.answered() == 2, "one request for each call"
    assert demo.asked() == []
    assert client.models.list().data, "free calls go on"


@pytest.mark.parametrize(
    ("account", "key", "error", "status", "kind"),
    [
        ("paused", None, anthropic.PermissionDeniedError, 403, "permission_error"),
        ("demo", "sk-ant-unknown", anthropic.AuthenticationError, 401, "authentication_error"),
    ],
)
def test_who_may_not_spend_is_told_so_once(demo, claude, account, key, error, status, kind):
    client = claude(account, **({"api_key": key} if key else {}))
    with pytest.raises(error) as refused:
        message(client)
    assert (refused.value.status_code, refused.value.type) == (status, kind)
    assert refused.value.body["error"]["message"].endswith(".")
    assert demo.answered() == 1
    assert demo.asked() == []


def test_a_bad_request(demo, claude):
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude().post("/v1/messages", body=["no", "object"], cast_to=object)
    assert refused.value.type == "invalid_request_error"
    assert demo.answered() == 1


@pytest.mark.parametrize(
    ("status", "error"), [(429, anthropic.RateLimitError), (503, anthropic.APIStatusError)]
)
def test_a_provider_that_fails_is_tried_again_and_costs_nothing(demo, claude, status, error):
    with pytest.raises(error) as failed:
        message(claude(), f"status={status}")
    assert failed.value.status_code == status
    assert demo.answered() == ATTEMPTS
    assert demo.spent() == 0


def test_a_stream_that_fails_after_output_costs_one(demo, claude):
    with pytest.raises(anthropic.APIStatusError, match="told to"):
        text_of(message(claude(), "error-event=2", stream=True))
    assert demo.spent() == 1


def test_a_stream_that_only_says_it_failed_costs_nothing(demo, claude):
    with pytest.raises(anthropic.APIStatusError, match="told to"):
        text_of(message(claude(), "error-event=0", stream=True))
    assert demo.spent() == 0


def test_a_client_that_leaves_before_any_output_is_not_charged(demo, claude):
    # Opening, start of a block, ping: no output yet.
    stream = message(claude(), "hold=after:3", stream=True)
    assert next(iter(stream)).type == "message_start"
    stream.close()
    until("the provider sees the call cancelled", lambda: demo.asked()[0]["state"] == "cancelled")
    assert demo.spent() == 0
    assert demo.settled()["remaining"] == CREDITS


@pytest.mark.parametrize("path", ["", "/v1", "/anthropic"])
def test_the_results_of_a_batch_come_through_the_gateway(demo, claude, path):
    hello = [{"role": "user", "content": "Hello"}]
    params = {"model": "sim-small", "max_tokens": 64, "messages": hello}
    client = claude(base_url=demo.gateway + path)
    batches = client.messages.batches
    made = batches.create(requests=[{"custom_id": name, "params": params} for name in ("one", "two")])
    assert (made.processing_status, made.results_url) == ("in_progress", None)
    batch = batches.retrieve(made.id)
    assert batch.processing_status == "ended"
    assert batch.results_url == f"{demo.gateway}/anthropic/v1/messages/batches/{made.id}/results"
    assert [(one.id, one.results_url) for one in batches.list()] == [(batch.id, batch.results_url)]
    results = list(batches.results(made.id))
    assert [one.custom_id for one in results] == ["one", "two"]
    assert results[0].result.message.content[0].text == WORDS
    assert demo.asked()[-1]["path"] == f"/v1/messages/batches/{made.id}/results"
    for refused in (lambda other: other.results(made.id), lambda other: other.retrieve(made.id)):
        with pytest.raises(anthropic.NotFoundError):
            refused(claude("broke").messages.batches)
    # Who knows the address has no more than who doesn't.
    with pytest.raises(anthropic.NotFoundError):
        claude("broke").get(batch.results_url, cast_to=object)
    assert demo.spent() == 1


def test_administration_is_refused(demo, claude):
    with pytest.raises(anthropic.PermissionDeniedError):
        claude().get("/v1/organizations/users", cast_to=object)
    assert demo.answered() == 1
    assert demo.asked() == []
