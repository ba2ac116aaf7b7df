"""Many accounts at once, which the admin API would take an hour for.

An account is made through the API, and its keys in Redis are copied under other names: its books, its record, what is
remembered of its sources, its place in the list of names. Only what is in the log of entries is not copied, so that
`creditgate verify` would rightly miss the history of such accounts.
"""

import hashlib
import json
import re
import socket
import urllib.request

from .world import command

BATCH = 10_000
# What an account has in Redis, by the word in the middle of the key's name.
KINDS = {"a": "books", "r": "record", "src": "sources"}


def copy_account(redis, account, prefix, start, end):
    """Copies an account as `prefix` with the numbers from `start` to `end`, of seven digits."""
    dumps = {kind: _dump(redis, f"{shard(account)}:{kind}:{account}") for kind in KINDS}
    with socket.create_connection(("127.0.0.1", redis.port), 60) as connection:
        answers = connection.makefile("rb")
        for batch in range(start, end, BATCH):
            pieces = []
            for number in range(batch, min(batch + BATCH, end)):
                name = f"{prefix}{number:07}"
                place = shard(name)
                for kind, dump in dumps.items():
                    pieces.append(_encode(b"RESTORE", f"{place}:{kind}:{name}".encode(), b"0", dump))
                pieces.append(_encode(b"ZADD", f"{place}:names".encode(), b"0", name.encode()))
            connection.sendall(b"".join(pieces))
            for _ in pieces:
                answer = answers.readline()
                if answer.startswith(b"-"):
                    raise RuntimeError(f"redis refused a copy: {answer.decode()}")


def shard(account):
    """The tag of the shard that an account is in."""
    return f"{{s{hashlib.sha256(account.encode()).digest()[0]:03}}}"


def sizes(redis, account):
    """Bytes of each key of an account, as Redis estimates them."""
    key = lambda kind: f"{shard(account)}:{kind}:{account}"
    return {name: int(command(redis, "MEMORY", "USAGE", key(kind))) for kind, name in KINDS.items()}


def memory_used(redis):
    """Bytes that Redis has allocated."""
    return int(re.search(rb"used_memory:(\d+)", command(redis, "INFO", "memory"))[1])


def calls(provider):
    """How many calls have reached a provider."""
    with urllib.request.urlopen(f"http://127.0.0.1:{provider.port}/", timeout=10) as answer:
        return json.load(answer)["calls"]


def _dump(redis, key):
    return command(redis, "DUMP", key)


def _encode(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
