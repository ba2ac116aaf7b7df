"""A fresh demo for each test, and clients made as customers make them: base URL and key, nothing else."""

import os

# Before `openai` is imported: neither a developer's own settings nor a proxy may change what is tested.
for name in list(os.environ):
    if name.startswith(("OPENAI_", "CREDITGATE_")) and name != "CREDITGATE_BIN" or name.lower().endswith("_proxy"):
        del os.environ[name]

import openai
import pytest

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
