"""What is read off: load that was made, CPU time, memory, instructions."""

import json
import os
import re
import signal
import statistics
import subprocess
import time
from pathlib import Path

from .machine import Missing
from .world import OTHERS, Gateway


def load(world, to, *, cpu=OTHERS, refusals=False, **options):
    """Makes load and gives its report. Options are those of `load`, with `_` for `-`. Fails if a request does."""
    targets = to if isinstance(to, list) else [to]
    line = ["taskset", "-c", cpu, world.programs["load"]]
    for target in targets:
        line += ["--to", f"127.0.0.1:{target.port}"]
    for key in getattr(targets[0], "keys", []):
        line += ["--key", key]
    for name, value in options.items():
        if value is not None:
            line += [f"--{name.replace('_', '-')}", value]
    told = subprocess.run([str(word) for word in line], check=False, capture_output=True, text=True)
    if told.returncode:
        raise Missing(f"the load generator failed: {told.stderr.strip()}")
    report = json.loads(told.stdout)
    report["answered"] = report["statuses"].get("200", 0)
    failed = report["sent"] - report["answered"] if not refusals else report["broken"] + report["unanswered"]
    if failed:
        raise Missing(f"{failed} of {report['sent']} requests to {targets[0].name} failed: "
                      f"{report['statuses']}, {report['broken']} broken, {report['unanswered']} unanswered; "
                      f"{report['first_refusal']}")
    if isinstance(to, Gateway) and "get" not in options:
        to.answered += report["answered"]
    return report


def loaded(world, target, **options):
    """Makes load, and adds the CPU time of the target for each answer and each piece, in microseconds."""
    before = cpu_time(target.pid)
    report = load(world, target, **options)
    spent = cpu_time(target.pid) - before
    target.forget_log()
    report["cpu"] = spent / max(1, report["sent"])
    report["cpu_of_piece"] = spent / max(1, report["pieces"])
    return report


def cpu_time(pid):
    """Microseconds that the threads of a process have run: exact, unlike the ticks of `stat`."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1000


def memory(pid):
    """Bytes that a process takes for itself, with its share of what others have too."""
    kilobytes = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(kilobytes[1]) * 1024


def spread(values):
    """Median and the quartiles around it."""
    values = sorted(values)
    low, high = values[len(values) // 4], values[(3 * len(values)) // 4]
    return {"median": statistics.median(values), "low": low, "high": high, "rounds": len(values)}


def counted(pid, work):
    """Instructions of a process while `work()` runs, in user space and in the kernel, as `perf` counts them."""
    line = ["perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "-p", str(pid)]
    perf = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(0.3)
    result = work()
    perf.send_signal(signal.SIGINT)
    told = perf.communicate()[1]
    numbers = [int(line.split(",")[0]) for line in told.splitlines() if "instructions" in line]
    return result, numbers


def user_instructions(world, start, ask, counts=(1000, 3000)):
    """Instructions of a request in user space, under callgrind: the difference of two runs.

    `start(wrapper)` starts the process, `ask(process, requests)` makes the load. What starting and ending cost is the
    same in both and falls out.
    """
    totals = []
    for requests in counts:
        out = world.folder / f"callgrind-{time.monotonic_ns()}.out"
        process = start(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"])
        ask(process, requests)
        world.stop(process)
        totals.append(total_of(out))
    return (totals[1] - totals[0]) / (counts[1] - counts[0])


def total_of(out):
    """The instructions that a file of callgrind tells."""
    found = re.search(r"^(?:totals|summary):\s*(\d+)", Path(out).read_text(), re.MULTILINE) if os.path.exists(out) else None
    if not found:
        raise Missing(f"callgrind wrote no totals to {out}: see the logs beside it")
    return int(found[1])
