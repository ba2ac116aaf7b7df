"""`creditgate demo` as a process: gateway, simulated provider and three accounts, for one test.

Speaks plain HTTP from the standard library, so that what is measured does not pass through the package under test.
"""

import json
import os
import re
import select
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What the account `demo` starts with.
PLAN_CREDITS = 5
PURCHASED_CREDITS = 3
CREDITS = PLAN_CREDITS + PURCHASED_CREDITS

# Seconds in which whatever is waited for must have happened. Generous: only a failing test waits for its end.
DEADLINE = 30.0

# No proxy of the environment stands between two programs on one machine.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def binary() -> Path:
    """The program under test: `CREDITGATE_BIN`, or what `cargo build` made last."""
    named = os.environ.get("CREDITGATE_BIN")
    if named:
        return Path(named)
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "creditgate"


def until(what: str, condition):
    """Asks `condition` until it answers with something true, and returns that."""
    end = time.monotonic() + DEADLINE
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {DEADLINE:.0f} s in vain until {what}")
        time.sleep(0.01)


class Demo:
    """A running demo. `log` is the file that takes its standard error."""

    def __init__(self, log: Path):
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [binary(), "demo", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "RUST_LOG": "creditgate=info"},
            )
        try:
            ready = json.loads(self._first_line())
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.gateway: str = ready["gateway"]
        self.admin: str = ready["admin"]
        self.provider: str = ready["provider"]
        self.admin_token: str = ready["admin_token"]
        self.accounts: dict = ready["accounts"]
        # How often the tests themselves have asked for a balance.
        self._statements = 0
        # The tests name things that the simulated provider never made.
        for account in self.accounts:
            for thing in ("file-1", "chatcmpl-1", "resp_1"):
                self._own(account, thing)

    def _own(self, account: str, thing: str):
        request = urllib.request.Request(
            f"{self.admin}/admin/v1/accounts/{account}/things",
            json.dumps({"provider": "openai", "id": thing}).encode(),
            {"authorization": f"Bearer {self.admin_token}", "content-type": "application/json"},
        )
        with _DIRECT.open(request, timeout=DEADLINE):
            pass

    def _first_line(self) -> str:
        readable, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        line = self.process.stdout.readline().decode() if readable else ""
        if not line:
            raise AssertionError(f"`creditgate demo --json` never got ready; it said:\n{self.log.read_text()}")
        return line

    def stop(self) -> int:
        """Ends the demo as an operator would, and returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    @property
    def base_url(self) -> str:
        return f"{self.gateway}/v1"

    def key(self, account: str = "demo") -> str:
        return self.accounts[account]["key"]

    # What the account has.

    def statement(self, account: str = "demo") -> dict:
        """The answer to `GET /credits`."""
        self._statements += 1
        return json.loads(_ask("GET", f"{self.gateway}/credits", self.key(account)))

    def settled(self, account: str = "demo") -> dict:
        """The statement once nothing is held any more."""

        def nothing_held():
            statement = self.statement(account)
            return statement if statement["held"] == 0 else None

        return until("no credit is held", nothing_held)

    def spent(self) -> int:
        """What calls of the account `demo` have cost by now, those that run included when they have ended."""
        return CREDITS - self.settled()["remaining"]

    # What the gateway was asked.

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        series = re.compile(rf"^creditgate_{name}(?:\{{(.*)\}})? (\S+)$", re.MULTILINE)
        wanted = {f'{label}="{value}"' for label, value in labels.items()}
        text = _ask("GET", f"{self.admin}/metrics", self.admin_token)
        found = series.findall(text)
        return sum(float(value) for has, value in found if wanted <= set(has.split(",")))

    def answered(self) -> int:
        """How many requests of clients the gateway has answered, once none is in flight."""
        until("no request is in flight", lambda: self.metric("requests_in_flight") == 0)
        return int(self.metric("requests_total")) - self._statements

    # What the provider was asked.

    def asked(self, path: str | None = None) -> list[dict]:
        """The simulated provider's records, oldest first."""
        records = json.loads(_ask("GET", f"{self.provider}/_sim/requests"))["requests"]
        return [record for record in records if path in (None, record["path"])]

    def counts(self) -> dict:
        return json.loads(_ask("GET", f"{self.provider}/_sim/counts"))

    def forget(self) -> None:
        """Lets the provider forget what it was asked so far."""
        _ask("DELETE", f"{self.provider}/_sim/requests")

    def release(self) -> None:
        """Lets the answers go on that a switch holds."""
        _ask("POST", f"{self.provider}/_sim/release")


def _ask(method: str, url: str, key: str | None = None) -> str:
    request = urllib.request.Request(url, method=method)
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    with _DIRECT.open(request, timeout=DEADLINE) as answer:
        return answer.read().decode()
