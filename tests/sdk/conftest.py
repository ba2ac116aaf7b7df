"""A fresh demo for each test, and clients made as customers make them: base URL and key, nothing else."""

import os

# Before the packages are imported: neither a developer's own settings nor a proxy may change what is tested.
OWN = ("OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "CREDITGATE_")
for name in list(os.environ):
    if name.startswith(OWN) and name != "CREDITGATE_BIN" or name.lower().endswith("_proxy"):
        del os.environ[name]

import anthropic
import openai
import pytest
from google import genai

from demo import Demo


@pytest.fixture
def demo(tmp_path):
    demo = Demo(tmp_path / "demo.log")
    try:
        yield demo
    finally:
        code = demo.stop()
        log = demo.log.read_text()
        # Shown by pytest for a test that failed.
        print(log)
    assert code == 0, f"the demo ended with {code}"
    assert "panicked" not in log


@pytest.fixture
def client(demo):
    """The assistant of the account `demo`."""
    with openai.OpenAI(base_url=demo.base_url, api_key=demo.key()) as client:
        yield client


@pytest.fixture
def assistant(demo):
    """Makes a client with the key of any account, and closes it in the end."""
    made = []

    def make(account: str = "demo", **settings) -> openai.OpenAI:
        settings = {"base_url": demo.base_url, "api_key": demo.key(account), **settings}
        made.append(openai.OpenAI(**settings))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def claude(demo):
    """Makes a client of the `anthropic` package with the key of any account, and closes it in the end."""
    made = []

    def make(account: str = "demo", **settings) -> anthropic.Anthropic:
        settings = {"base_url": demo.gateway, "api_key": demo.key(account), **settings}
        made.append(anthropic.Anthropic(**settings))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def gemini(demo):
    """Makes a client of the `google-genai` package with the key of any account, and closes it in the end."""
    made = []

    def make(account: str = "demo", **settings) -> genai.Client:
        options = {"base_url": demo.gateway, **settings.pop("http_options", {})}
        settings = {"api_key": demo.key(account), "http_options": options, **settings}
        made.append(genai.Client(**settings))
        return made[-1]

    yield make
    for client in made:
        client.close()
