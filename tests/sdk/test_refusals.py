"""Who may not spend is told so once, in an exception of the right class, and the provider is not asked."""

import openai
import pytest

from calls import FREE, chat
from demo import CREDITS


def test_an_account_without_credits(demo, assistant):
    client = assistant("broke")
    with pytest.raises(openai.APIStatusError) as refused:
        chat(client)
    assert (refused.value.status_code, refused.value.code) == (402, "insufficient_quota")
    assert demo.answered() == 1
    assert demo.asked() == []
    for free in FREE.values():
        free(client)


def test_an_inactive_subscription(demo, assistant):
    client = assistant("paused")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        chat(client)
    assert (refused.value.status_code, refused.value.code) == (403, "billing_not_active")
    assert refused.value.body["message"].endswith(".")
    assert demo.answered() == 1
    assert demo.asked() == []
    for free in FREE.values():
        free(client)


@pytest.mark.parametrize("key", ["cg_unknown", "sk-of-another-provider", "..."])
@pytest.mark.parametrize("call", [chat, lambda client: client.models.list()], ids=["work", "free"])
def test_a_wrong_key(demo, assistant, key, call):
    with pytest.raises(openai.AuthenticationError) as refused:
        call(assistant(api_key=key))
    assert (refused.value.status_code, refused.value.code) == (401, "invalid_api_key")
    assert refused.value.response.headers["www-authenticate"] == "Bearer"
    assert key not in str(refused.value), "a key must not be repeated"
    assert demo.answered() == 1
    assert demo.asked() == []
    assert demo.settled()["remaining"] == CREDITS


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.chat.completions.create(model=None, messages=[]),
        lambda client: client.chat.completions.create(model=7, messages=[]),
        lambda client: client.post("/chat/completions", body=["no", "object"], cast_to=object),
    ],
    ids=["no model", "model is a number", "not an object"],
)
def test_a_bad_request(demo, client, call):
    with pytest.raises(openai.BadRequestError) as refused:
        call(client)
    assert refused.value.body["message"].endswith(".")
    assert demo.answered() == 1
    assert demo.asked() == []
    assert demo.spent() == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get("/organization/projects", cast_to=object),
        lambda client: client.realtime.client_secrets.create(),
    ],
    ids=["administration", "a credential of the provider"],
)
def test_what_would_lead_around_the_gateway(demo, client, call):
    with pytest.raises(openai.PermissionDeniedError) as refused:
        call(client)
    assert refused.value.code == "route_not_allowed"
    assert demo.answered() == 1
    assert demo.asked() == []
