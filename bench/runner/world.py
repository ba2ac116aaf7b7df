"""The processes of a run: started on one CPU each, on free ports, and ended with the run whatever ends it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from .machine import Missing

# One CPU for what is measured and one for all else; the same where there is only one, which counting does not mind.
MEASURED, OTHERS = str(min(os.sched_getaffinity(0))), str(max(os.sched_getaffinity(0)))
CONF = Path(__file__).resolve().parents[1] / "conf"
TOKEN = "admin-token-of-the-bench"
# So many callers that no account has many calls at once.
ACCOUNTS = 256
CREDITS = 4_000_000_000
# GET, compare, DECRBY: the least that a counter of credits does.
COUNTER = (
    "local left = tonumber(redis.call('GET', KEYS[1]) or '0') local cost = tonumber(ARGV[1]) "
    "if left < cost then return -1 end return redis.call('DECRBY', KEYS[1], cost)"
)
# Nobody is to be held up by a pace.
FAST = "1000000000"


class Process:
    """A process that listens on 127.0.0.1."""

    def __init__(self, name, popen, port, log):
        self.name, self.popen, self.port, self.log = name, popen, port, log

    @property
    def pid(self):
        return self.popen.pid

    def words(self):
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-2000:]

    def forget_log(self):
        """Makes room: a line for each call is a lot after a while."""
        with open(self.log, "r+b") as file:
            file.truncate(0)


class World:
    """Everything that runs, in one folder."""

    def __init__(self, programs):
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="creditgate-bench-"))
        self._processes = []
        self._counts = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in list(self._processes):
            self.stop(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, command, port, *, cpu=OTHERS, env=None, awaited=True):
        """Starts a command, which is killed with this process even if this process is killed."""
        number = self._counts[name] = self._counts.get(name, 0) + 1
        log = self.folder / f"{name}-{number}.log"
        whole = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", cpu, *map(str, command)]
        with open(log, "ab") as output:
            popen = subprocess.Popen(
                whole, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=self.folder,
                start_new_session=True,
            )
        process = Process(name, popen, port, log)
        self._processes.append(process)
        if awaited:
            self._await(process, lambda: accepts(process.port))
        return process

    def stop(self, process):
        process = getattr(process, "process", process)
        self._processes.remove(process)
        process.popen.send_signal(signal.SIGTERM)
        try:
            process.popen.wait(40)
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()

    def _await(self, process, condition, patience=60):
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if process.popen.poll() is not None:
                raise Missing(f"{process.name} ended instead of serving:\n{process.words()}")
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise Missing(f"{process.name} does not serve after {patience} s:\n{process.words()}")

    # --- what is not measured -----------------------------------------------------------------------------------------

    def provider(self):
        port = free_port()
        return self.start("provider", [self.programs["provider"], port], port)

    def redis(self):
        port = free_port()
        settings = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder,
                    "maxmemory-policy": "noeviction", "loglevel": "warning"}
        command = ["redis-server"] + [word for key, value in settings.items() for word in (f"--{key}", value)]
        return self.start("redis", command, port)

    # --- what is ------------------------------------------------------------------------------------------------------

    def nginx(self, provider, redis=None, wrapper=(), cpu=MEASURED):
        """Without metering, or with a counter in Redis."""
        port = free_port()
        words = {"FOLDER": self.folder, "PORT": port, "PROVIDER": provider.port}
        name = "nginx"
        if redis:
            name = "nginx-lua"
            words |= {"REDIS": redis.port, "SCRIPT": command(redis, "SCRIPT", "LOAD", COUNTER).decode()}
            command(redis, "SET", "lua:none", str(CREDITS))
        text = (CONF / f"{name}.conf").read_text()
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        conf = self.folder / f"nginx-{port}.conf"
        conf.write_text(text)
        return self.start(name, [*wrapper, "nginx", "-e", "stderr", "-c", conf], port, cpu=cpu)

    def haproxy(self, provider, cpu=MEASURED):
        port = free_port()
        text = (CONF / "haproxy.cfg").read_text()
        conf = self.folder / f"haproxy-{port}.cfg"
        conf.write_text(text.replace("@PORT@", str(port)).replace("@PROVIDER@", str(provider.port)))
        return self.start("haproxy", ["haproxy", "-db", "-f", conf], port, cpu=cpu)

    def plain_proxy(self, provider, wrapper=(), cpu=MEASURED):
        port = free_port()
        line = [*wrapper, self.programs["plain-proxy"], port, f"127.0.0.1:{provider.port}"]
        return self.start("plain-proxy", line, port, cpu=cpu)

    def creditgate(self, provider, ledger, *, rule="", wrapper=(), cpu=MEASURED):
        """A gateway whose ledger is a Redis process, or a file with this name."""
        if isinstance(ledger, Process):
            ledger = f"redis://127.0.0.1:{ledger.port}"
        elif not ledger.startswith("redis://"):
            ledger = f"sqlite://{self.folder}/{ledger}"
        number = self._counts.get("creditgate", 0) + 1
        conf = self.folder / f"gateway-{number}.toml"
        conf.write_text(f"""
[log]
format = "json"
[provider.openai]
dialect = "openai"
base_url = "http://127.0.0.1:{provider.port}/v1"
key = {{ env = "BENCH_PROVIDER_KEY" }}
[plan.bench]
monthly_credits = 0
[plan_defaults]
requests_per_minute = {FAST}
key_requests_per_minute = {FAST}
burst = 1000000
concurrency = 100000
[price.default]
credits = 1
{rule}
[limits]
connections = 19000
in_flight = 19000
[outage]
journal = "journal-{number}.db"
""")
        env = {"CREDITGATE_LISTEN": "127.0.0.1:0", "CREDITGATE_ADMIN_LISTEN": "127.0.0.1:0",
               "CREDITGATE_ADMIN_TOKEN": TOKEN, "CREDITGATE_LEDGER": ledger, "BENCH_PROVIDER_KEY": "sk-provider"}
        line = [*wrapper, self.programs["creditgate"], "serve", "--config", conf]
        process = self.start("creditgate", line, 0, cpu=cpu, env=env, awaited=False)
        ready = self._await(process, lambda: _ready(process.log))
        process.port, admin = port_of(ready["gateway"]), port_of(ready["admin"])
        return Gateway(process, admin)


class Gateway:
    """A gateway, its admin API, and the accounts that its calls are charged to."""

    def __init__(self, process, admin):
        self.process, self.admin_port = process, admin
        self.name, self.pid = "creditgate", process.pid
        self.accounts, self.keys = [], []
        # Calls that were answered, as the load generator counted them.
        self.answered = 0

    @property
    def port(self):
        return self.process.port

    def forget_log(self):
        self.process.forget_log()

    def admin(self, method, path, body=None):
        return ask(f"http://127.0.0.1:{self.admin_port}/admin/v1{path}", TOKEN, method, body)

    def open_accounts(self, count=ACCOUNTS, credits=CREDITS, lots=1):
        """Makes accounts with credits, each with a key."""
        for number in range(count):
            account = f"bench-{number:07}"
            self.admin("POST", "/accounts", {"account": account, "plan": "bench"})
            for lot in range(lots):
                grant = {"source": f"bench:{lot}", "kind": "gift", "credits": credits // lots}
                self.admin("POST", f"/accounts/{account}/grants", grant)
            issued = self.admin("POST", f"/accounts/{account}/keys", {"name": "bench"})
            self.accounts.append(account)
            self.keys.append(issued["secret"])
        self.opened = credits // lots * lots
        return self

    def service_key(self):
        """A key that may name any account."""
        self.keys = [self.admin("POST", "/keys", {"name": "bench"})["secret"]]

    def balance(self, account):
        return self.admin("GET", f"/accounts/{account}/balance")

    def drained(self, account, patience=60):
        """The balance when every call of an account is resolved."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            balance = self.balance(account)
            if float(balance["held"]) == 0:
                return balance
            time.sleep(0.02)
        raise Missing(f"calls of {account} are not resolved after {patience} s: {balance}")

    def check_charges(self, price=1):
        """Every call that was answered was charged once, and nothing else was."""
        left = sum(self.drained(account)["remaining"] for account in self.accounts)
        charged = self.opened * len(self.accounts) - left
        if charged != self.answered * price:
            raise Missing(f"{self.answered} calls at {price} were answered, and {charged} credits charged: the ledger is wrong")


def ask(url, token, method="GET", body=None):
    """One request with JSON both ways."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"authorization": f"Bearer {token}"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Missing(f"{method} {url} was answered {error.code}: {error.read().decode(errors='replace')}") from error


def command(redis, *words):
    """One command of Redis, and its answer if that is a line or a text."""
    with socket.create_connection(("127.0.0.1", redis.port), 60) as connection:
        encoded = [word.encode() for word in words]
        connection.sendall(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in encoded))
        answer = connection.makefile("rb")
        first = answer.readline().rstrip()
        if first.startswith(b"-"):
            raise Missing(f"redis refused {words[0]}: {first.decode()}")
        if first.startswith(b"$"):
            return answer.read(int(first[1:]))
        return first[1:]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def port_of(address):
    return int(address.rsplit(":", 1)[1])


def _ready(log):
    for line in log.read_text(errors="replace").splitlines():
        if '"ready"' in line:
            return json.loads(line)
    return None
