"""However a customer writes the base URL, and wherever the SDK puts the key, the same call is made and charged."""

import openai
import pytest

from calls import chat
from demo import CREDITS


@pytest.mark.parametrize("path", ["/v1", "/v1/", "", "/", "/v1/v1", "/v1/v1/v1", "//v1", "/openai/v1", "/openai"])
def test_any_spelling_of_the_base_url_works(demo, assistant, path):
    client = assistant(base_url=demo.gateway + path)
    client.models.list()
    chat(client)
    assert [record["path"] for record in demo.asked()] == ["/v1/models", "/v1/chat/completions"]
    assert demo.spent() == 1


def test_settings_may_come_from_the_environment(demo, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", demo.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", demo.key())
    with openai.OpenAI() as client:
        chat(client)
    assert demo.spent() == 1


def test_an_organisation_of_the_customer_stays_here(demo, assistant):
    chat(assistant(organization="org-mine", project="proj-mine"))
    headers = demo.asked()[0]["headers"]
    assert "openai-organization" not in headers and "openai-project" not in headers


def test_headers_of_a_service_mean_nothing_from_an_account(demo, assistant):
    """Only a service key may say what a call is for and to which task it belongs: these two would make calls free."""
    client = assistant(default_headers={"x-credits-feature": "playground"})
    chat(client)
    chat(client)
    assert demo.spent() == 2
    with pytest.raises(openai.PermissionDeniedError):
        chat(assistant(default_headers={"x-credits-task": "task-1"}))
    assert demo.spent() == 2
    assert not [name for record in demo.asked() for name in record["headers"] if name.startswith("x-credits")]


def test_an_account_key_cannot_spend_of_another_account(demo, assistant):
    client = assistant("broke", default_headers={"x-credits-account": "demo"})
    with pytest.raises(openai.PermissionDeniedError):
        chat(client)
    assert demo.asked() == []
    assert demo.settled()["remaining"] == CREDITS
