"""The calls that the tests make, in the words of the `openai` package."""

HELLO = [{"role": "user", "content": "Hello"}]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Looks a thing up.",
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
        },
    }
]


def chat(client, switches: str | None = None, **more):
    """A chat; `switches` tell the simulated provider how to misbehave."""
    if switches is not None:
        more["extra_headers"] = {"x-sim": switches, **more.get("extra_headers", {})}
    return client.chat.completions.create(model="sim-small", messages=HELLO, **more)


def text_of(stream) -> str:
    """What a chat stream says, read to its end."""
    choices = (choice for chunk in stream for choice in chunk.choices)
    return "".join(choice.delta.content or "" for choice in choices)


def _drained(stream):
    for _ in stream:
        pass


# Every kind of AI work that the package offers and the simulated provider does: one credit each.
WORK = {
    "chat": chat,
    "chat stream": lambda client: _drained(chat(client, stream=True)),
    "response": lambda client: client.responses.create(model="sim-small", input="Hello"),
    "response stream": lambda client: _drained(client.responses.create(model="sim-small", input="Hello", stream=True)),
    "completion": lambda client: client.completions.create(model="sim-small", prompt="Hello"),
    "embeddings": lambda client: client.embeddings.create(model="sim-embedding", input="Hello"),
    "moderation": lambda client: client.moderations.create(model="sim-small", input="Hello"),
    "image": lambda client: client.images.generate(model="sim-image", prompt="A lamp"),
    "image edit": lambda client: client.images.edit(model="sim-image", prompt="Brighter", image=("a.png", b"png")),
    "speech": lambda client: client.audio.speech.create(model="sim-audio", voice="alloy", input="Hello").read(),
    "transcription": lambda client: client.audio.transcriptions.create(model="sim-audio", file=("a.mp3", b"ID3")),
    "translation": lambda client: client.audio.translations.create(model="sim-audio", file=("a.mp3", b"ID3")),
    "batch": lambda client: client.batches.create(
        endpoint="/v1/embeddings", input_file_id="file-1", completion_window="24h"
    ),
    "fine-tuning": lambda client: client.fine_tuning.jobs.create(model="sim-small", training_file="file-1"),
}


def _round_trip_of_a_file(client):
    file = client.files.create(file=("a.txt", b"content"), purpose="user_data")
    assert client.files.retrieve(file.id).bytes == 7
    assert file.id in [one.id for one in client.files.list()]
    assert client.files.content(file.id).read() == b"content"
    assert client.files.delete(file.id).deleted


# Configuration: free, whatever the account has.
FREE = {
    "models list": lambda client: [model.id for model in client.models.list()],
    "model": lambda client: client.models.retrieve("sim-small"),
    "vector store": lambda client: client.vector_stores.create(name="notes"),
    # Next to `POST /chat/completions` and `POST /responses`, which are work.
    "metadata of a chat": lambda client: client.chat.completions.update("chatcmpl-1", metadata={"a": "b"}),
    "end of a response": lambda client: client.responses.cancel("resp_1"),
    "files": _round_trip_of_a_file,
}
