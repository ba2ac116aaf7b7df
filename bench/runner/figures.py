"""The figures: what each measures, and what it should come to.

Speed of the machine changes by the second, so nothing is compared that was not measured side by side: all processes run
at once, load goes to one after the other in short slices, and each slice is divided by its neighbours of the reference.
"""

import resource
import statistics
import threading
import time
import urllib.request
from dataclasses import dataclass, field

from . import bulk, machine
from .machine import Missing
from .measure import (counted, cpu_time, load, loaded, memory, spread, user_instructions)
from .world import MEASURED, OTHERS

# Of an account that is measured for its size: an amount that somebody may have.
SOME = 30_000
BOTH = f"{MEASURED},{OTHERS}"
MILLISECOND = 1_000_000
STREAM = "stream-50x20ms"
# One credit for a streamed answer of the provider, whose 50 tokens of output are reported at its end.
PER_UNIT = '[[price.rule]]\noperation = "chat"\noutput = 20000\nmax_output_tokens = 50'


@dataclass
class Row:
    """One line of the table."""

    figure: str
    goal: str
    value: float
    unit: str = ""
    met: bool | None = None
    spread: dict | None = None
    note: str = ""
    raw: object = field(default=None, repr=False)


def at_most(figure, limit, values, unit="", note="", raw=None, digits=2):
    """A row whose value, the median of `values`, should be at most `limit`."""
    about = spread(values)
    goal = f"≤ {limit:.{digits}f} {unit}".rstrip()
    return Row(figure, goal, about["median"], unit, about["median"] <= limit, about, note, raw)


def at_least(figure, limit, values, unit="", note="", raw=None):
    about = spread(values)
    return Row(figure, f"≥ {limit:,} {unit}".rstrip(), about["median"], unit, about["median"] >= limit, about, note, raw)


def ratios(rounds, name, reference, value):
    """In each round, the value of a slice divided by the mean of the slices of the reference beside it."""
    found = []
    for slices in rounds:
        for before, this, after in zip(slices, slices[1:], slices[2:]):
            if this[0] == name and before[0] == after[0] == reference:
                found.append(value(this[1]) / ((value(before[1]) + value(after[1])) / 2))
    return found


def take_turns(world, order, targets, rounds, **options):
    """Loads the targets in this order, so many times over; the name and report of each slice, by round."""
    for target in targets.values():
        loaded(world, target, **{**options, "millis": 300})
    return [[(name, loaded(world, targets[name], **options)) for name in order] for _ in range(rounds)]


# --- a request ----------------------------------------------------------------------------------------------------


def cpu(world, quick):
    """CPU time of a request at saturation."""
    provider, redis = world.provider(), world.redis()
    targets = {"nginx": world.nginx(provider), "lua": world.nginx(provider, redis), "haproxy": world.haproxy(provider),
               "plain": world.plain_proxy(provider),
               "creditgate": world.creditgate(provider, world.redis()).open_accounts()}
    rows = []
    for connections in (64, 256):
        order = ["nginx", "creditgate", "nginx", "lua", "nginx", "haproxy", "nginx", "plain", "nginx"]
        rounds = take_turns(world, order, targets, 3 if quick else 15, connections=connections, millis=600)
        targets["creditgate"].check_charges()
        spent = lambda report: report["cpu"]
        ours, theirs = (ratios(rounds, name, "nginx", spent) for name in ("creditgate", "lua"))
        note = ", ".join(f"{name} {_median(rounds, name, spent):.0f} µs at "
                         f"{_median(rounds, name, lambda r: r['measured'] / 0.6):,.0f}/s" for name in targets)
        at = f"saturated, {connections} connections"
        rows.append(at_most(f"CPU a request ÷ nginx without metering ({at})", 1.00, ours, note=note, raw=rounds))
        pairs = [our / their for our, their in zip(ours, theirs)]
        beside = ", ".join(f"{name} {statistics.median(ratios(rounds, target, 'nginx', spent)):.2f}" for name, target in
                           (("nginx + Lua + Redis", "lua"), ("HAProxy", "haproxy"), ("minimal hyper", "plain")))
        rows.append(at_most(f"CPU a request ÷ nginx + Lua + Redis ({at})", 0.50, pairs,
                            note=f"÷ nginx without metering: {beside}"))
    return rows


def instructions(world, quick):
    """Instructions of a request: all of them where the machine can count, else those of user space."""
    provider, redis = world.provider(), world.redis()
    ledger = world.redis()
    gateway = world.creditgate(provider, ledger).open_accounts()
    if machine.counts_instructions():
        found = {}
        for name, target in (("nginx", world.nginx(provider)), ("creditgate", gateway)):
            load(world, target, millis=500)
            found[name] = []
            for _ in range(3 if quick else 7):
                report, numbers = counted(target.pid, lambda: load(world, target, millis=800))
                found[name].append([number / report["sent"] for number in numbers])
        gateway.check_charges()
        totals = {name: [sum(numbers) for numbers in rounds] for name, rounds in found.items()}
        each = {name: " + ".join(f"{statistics.median(part) / 1000:.1f}" for part in zip(*rounds))
                for name, rounds in found.items()}
        pairs = [our / their for our, their in zip(totals["creditgate"], totals["nginx"])]
        note = f"thousands, user + kernel: creditgate {each['creditgate']}, nginx {each['nginx']}"
        return [at_most("instructions a request (user + kernel) ÷ nginx without metering", 1.15, pairs, note=note,
                        raw=found)]
    keys = gateway.keys
    world.stop(gateway)

    def again(wrapper):
        fresh = world.creditgate(provider, ledger, wrapper=wrapper)
        fresh.keys = keys
        return fresh

    def ask(target, requests, **options):
        load(world, target, requests=requests, millis=600_000, **options)

    def free(target, requests):
        ask(target, requests, get="/v1/models")

    nginx = lambda wrapper: world.nginx(provider, wrapper=wrapper)
    plain = lambda wrapper: world.plain_proxy(provider, wrapper=wrapper)
    found = {
        "nginx": user_instructions(world, nginx, ask),
        "plain": user_instructions(world, plain, ask),
        "metered": user_instructions(world, again, ask),
        "free": user_instructions(world, again, free),
    }
    note = (f"user space only, under callgrind, which knows no SHA instructions: this machine can't count. Thousands: creditgate "
            f"{found['metered'] / 1000:.1f}, free call {found['free'] / 1000:.1f}, nginx {found['nginx'] / 1000:.1f}, "
            f"hyper {found['plain'] / 1000:.1f}")
    row = at_most("instructions a request ÷ nginx without metering", 1.15, [found["metered"] / found["nginx"]],
                  note=note, raw=found)
    row.met = None
    return [row]


def latency(world, quick):
    """Latency at a rate that nobody has trouble with, beside the provider asked directly."""
    provider, redis = world.provider(), world.redis()
    targets = {"direct": provider, "lua": world.nginx(provider, redis),
               "creditgate": world.creditgate(provider, world.redis()).open_accounts()}
    rounds = take_turns(world, ["direct", "creditgate", "direct", "lua", "direct"], targets, 2 if quick else 8,
                        rate=1000, millis=3500, warm_millis=500)
    targets["creditgate"].check_charges()
    added = _added(rounds, "creditgate", lambda report: report["latency"]["p50"])
    p99 = [_of(slices, "creditgate")["latency"]["p99"] / _of(slices, "lua")["latency"]["p99"] for slices in rounds]
    tail = lambda name: _median(rounds, name, lambda report: report["latency"]["p99"]) / MILLISECOND
    note = f"p99 {tail('creditgate'):.2f} ms, nginx + Lua {tail('lua'):.2f} ms, direct {tail('direct'):.2f} ms"
    return [at_most("added latency at 1,000 requests/s, p50", 0.20, added, "ms", raw=rounds),
            at_most("the same, p99 ÷ nginx + Lua + Redis", 0.90, p99, note=note)]


def free(world, quick):
    """A call that costs nothing, beside the least that hyper does."""
    provider = world.provider()
    targets = {"plain": world.plain_proxy(provider),
               "creditgate": world.creditgate(provider, world.redis()).open_accounts()}
    rounds = take_turns(world, ["plain", "creditgate", "plain"], targets, 4 if quick else 12,
                        millis=600, get="/v1/models")
    spent = lambda report: report["cpu"]
    note = ", ".join(f"{name} {_median(rounds, name, spent):.0f} µs" for name in targets)
    found = ratios(rounds, "creditgate", "plain", spent)
    return [at_most("free calls: CPU ÷ minimal hyper", 1.10, found, note=note, raw=rounds)]


def cores(world, quick):
    """What a second core brings."""
    provider = world.provider()
    targets = {"one": world.creditgate(provider, world.redis()).open_accounts(),
               "two": world.creditgate(provider, world.redis(), cpu=BOTH).open_accounts()}
    rounds = take_turns(world, ["one", "two", "one"], targets, 3 if quick else 10, millis=600)
    for target in targets.values():
        target.check_charges()
    found = [2 / ratio for ratio in ratios(rounds, "two", "one", lambda report: report["cpu"])]
    note = "computed: 2 × CPU a request on one core ÷ on two; the load needs the second core itself"
    return [at_least("two cores ÷ one core, requests/s", 1.8, found, note=note, raw=rounds)]


# --- streams ------------------------------------------------------------------------------------------------------


def streams(world, quick):
    """Streamed answers whose work is priced, so that their usage is read."""
    provider = world.provider()
    targets = {"direct": provider, "nginx": world.nginx(provider),
               "creditgate": world.creditgate(provider, world.redis(), rule=PER_UNIT).open_accounts()}
    order = ["direct", "creditgate", "direct", "nginx", "creditgate", "nginx", "direct"]
    rounds = take_turns(world, order, targets, 1 if quick else 4, connections=200, millis=3000, ramp_millis=1000,
                        warm_millis=1000, model=STREAM)
    targets["creditgate"].check_charges()
    spent = lambda report: report["cpu_of_piece"]
    note = ", ".join(f"{name} {_median(rounds, name, spent):.1f} µs" for name in ("creditgate", "nginx"))
    added = _added(rounds, "creditgate", lambda report: report["piece_delay"]["p99"])
    delay = lambda name: _median(rounds, name, lambda report: report["piece_delay"]["p99"]) / MILLISECOND
    return [at_most("CPU for each streamed chunk ÷ nginx, usage being read", 1.1,
                    ratios(rounds, "creditgate", "nginx", spent), note=note, raw=rounds),
            at_most("added chunk delay, 200 streams, p99", 0.3, added, "ms",
                    note=f"p99 creditgate {delay('creditgate'):.2f} ms, nginx {delay('nginx'):.2f} ms, "
                         f"direct {delay('direct'):.2f} ms")]


def open_streams(world, quick):
    """Memory: idle, and for each stream that is open."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = min(1000 if quick else 5000, (files - 1000) // 2)
    provider = world.provider()
    found, idle = {}, 0
    for name in ("nginx", "per call", "per unit"):
        if name == "nginx":
            target = world.nginx(provider)
        else:
            rule = PER_UNIT if name == "per unit" else ""
            target = world.creditgate(provider, world.redis(), rule=rule)
            idle = memory(target.pid)
            target.open_accounts()
        load(world, target, connections=1, requests=20)
        before = memory(target.pid)
        peak = _peak(target.pid, lambda: load(
            world, target, connections=wanted, requests=wanted, millis=60_000, ramp_millis=wanted,
            model="stream-5x2000ms"))
        found[name] = (peak - before) / 1024 / wanted
        world.stop(target)
    note = f"{wanted:,} streams; price per call {found['per call']:.1f} KB, nginx {found['nginx']:.1f} KB"
    return [at_most("memory for each open stream (price per unit)", 24, [found["per unit"]], "KB", note, found, digits=0),
            at_most("RSS idle", 15, [idle / 1e6], "MB", digits=0)]


def _peak(pid, work):
    """The most memory that a process has while `work()` runs."""
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.25):
            peak[0] = max(peak[0], memory(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peak[0]


# --- ledgers ------------------------------------------------------------------------------------------------------


def embedded(world, quick):
    """The ledger in a file, every thread of the gateway on one core."""
    provider = world.provider()
    gateway = world.creditgate(provider, "ledger.db").open_accounts()
    load(world, gateway, millis=500)
    rates = [load(world, gateway, millis=1000)["measured"] for _ in range(3 if quick else 8)]
    targets = {"direct": provider, "creditgate": gateway}
    rounds = take_turns(world, ["direct", "creditgate", "direct"], targets, 2 if quick else 5,
                        rate=1000, millis=2500, warm_millis=500)
    gateway.forget_log()
    until = [_until_settled(world, gateway) for _ in range(20 if quick else 100)]
    gateway.check_charges()
    added = _added(rounds, "creditgate", lambda report: report["latency"]["p50"])
    worst = sorted(until)[len(until) * 95 // 100]
    return [at_least("embedded ledger, one core, 64 connections: metered calls a second", 8000, rates),
            at_most("the same: added latency at 1,000 requests/s, p50", 0.20, added, "ms", raw=rounds),
            at_most("the same: from the answer until its settlement is on the disk", 10, until, "ms",
                    note=f"19 of 20 within {worst:.1f} ms, asking for /metrics included", digits=0)]


def _until_settled(world, gateway):
    """Milliseconds from an answer until the ledger has acknowledged its settlement, which it does when it is synced."""
    load(world, gateway, connections=1, requests=1, millis=10_000)
    began = time.monotonic()
    while "creditgate_settlements_waiting 0" not in _metrics(gateway):
        if time.monotonic() - began > 10:
            raise Missing("a settlement is not done after 10 s")
    return (time.monotonic() - began) * 1000


def _metrics(gateway):
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/metrics", timeout=10) as answer:
        return answer.read().decode()


def accounts(world, quick):
    """The cost of a call with few accounts and with many."""
    few, many = 10, 100_000 if quick else 1_000_000
    provider = world.provider()
    targets, ledgers, each = {}, {}, 0
    for name, count in (("few", few), ("many", many)):
        redis = world.redis()
        gateway = world.creditgate(provider, redis).open_accounts(few, credits=SOME, lots=3)
        if count > few:
            before = bulk.memory_used(redis)
            bulk.copy_account(redis, "bench-0000000", "bench-", few, count)
            each = (bulk.memory_used(redis) - before) / (count - few)
        gateway.service_key()
        targets[name], ledgers[name] = gateway, redis
    taken = {"few": few, "many": many}
    rounds = []
    for _ in range(3 if quick else 10):
        slices = []
        for name in ("few", "many", "few"):
            before = cpu_time(ledgers[name].pid)
            report = loaded(world, targets[name], connections=8, millis=800, accounts=taken[name])
            report["cpu_of_redis"] = (cpu_time(ledgers[name].pid) - before) / report["sent"]
            slices.append((name, report))
        rounds.append(slices)
    targets["few"].check_charges()
    label = f"CPU a request, {many:,} accounts ÷ {few}"
    parts = ", ".join(f"{name} {size} B" for name, size in bulk.sizes(ledgers["many"], "bench-0000050").items())
    note = f"all that Redis allocates; of it {parts}"
    return [at_most(f"{label}: gateway", 1.05, ratios(rounds, "many", "few", lambda report: report["cpu"]), raw=rounds),
            at_most(f"{label}: Redis", 1.05, ratios(rounds, "many", "few", lambda report: report["cpu_of_redis"])),
            at_most("Redis memory an account (three lots)", 500, [each], "B", note, digits=0)]


# --- exactness ----------------------------------------------------------------------------------------------------


def exactness(world, quick):
    """37 credits, 200 callers at once, two gateways on one Redis, a provider that takes 50 ms."""
    rows = []
    dearer = PER_UNIT  # Half of what an answer of 100 tokens costs is held.
    for figure, rule, owed in (("a call costs 1 credit", "", 0), ("a call turns out to cost 2, 1 is held", dearer, 37)):
        reached, left = [], []
        for _ in range(3):
            provider, redis = world.provider(), world.redis()
            first = world.creditgate(provider, redis, rule=rule).open_accounts(1, 37)
            second = world.creditgate(provider, redis, rule=rule)
            load(world, [first, second], connections=200, requests=200, millis=60_000, model="after-50ms", refusals=True)
            balance = first.drained(first.accounts[0])
            before = bulk.calls(provider)
            load(world, second_with(first, second), connections=1, requests=1, millis=10_000, refusals=True)
            if bulk.calls(provider) != before:
                raise Missing("a call was let through when the credits were used up")
            reached.append(before)
            left.append((balance["remaining"], balance["owed"]))
            for process in (first, second, provider, redis):
                world.stop(process)
        exact = all(calls == 37 for calls in reached) and all(now == (0, owed) for now in left)
        rows.append(Row(f"calls that reached the provider: {figure}", "37, 37, 37", reached[0], "", exact, None,
                        f"{', '.join(map(str, reached))}; credits left and owed: {left[0][0]}, {left[0][1]}; "
                        "the next call is refused", [reached, left]))
    return rows


def second_with(first, second):
    """The second gateway with the first's keys: they share a ledger."""
    second.keys = first.keys
    return second


def _of(slices, name):
    return next(report for found, report in slices if found == name)


def _median(rounds, name, value):
    return statistics.median(value(report) for slices in rounds for found, report in slices if found == name)


def _added(rounds, name, value):
    """Milliseconds that a slice has more than the mean of those of the provider beside it."""
    found = []
    for slices in rounds:
        for index, (this, report) in enumerate(slices):
            if this == name:
                beside = (slices[index - 1], slices[index + 1])
                direct = [value(other) for who, other in beside if who == "direct"]
                if not direct:
                    continue
                found.append((value(report) - statistics.mean(direct)) / MILLISECOND)
    return found


FIGURES = {"cpu": cpu, "instructions": instructions, "latency": latency, "streams": streams, "memory": open_streams,
           "cores": cores, "free": free, "embedded": embedded, "accounts": accounts, "exactness": exactness}
