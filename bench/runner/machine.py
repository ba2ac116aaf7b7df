"""The machine: what must be installed, and the programs that are built.

Says in one sentence what is missing and can't be had.
"""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "target"
LUA_MODULE = Path("/usr/share/nginx/modules/ngx_http_lua_module.so")
LUA_REDIS = Path("/usr/share/lua/5.1/nginx/redis.lua")

# A program or file that is needed, and Debian's package that has it.
NEEDED = {
    "nginx": "nginx",
    "haproxy": "haproxy",
    "redis-server": "redis-server",
    "taskset": "util-linux",
    "setpriv": "util-linux",
    "valgrind": "valgrind",
    "perf": "linux-perf",
    LUA_MODULE: "libnginx-mod-http-lua",
    LUA_REDIS: "lua-nginx-redis",
}


class Missing(Exception):
    """A sentence for whoever ran the command."""


def prepare(needed=NEEDED):
    """Installs what is missing, as root on Debian."""
    missing = sorted({package for thing, package in needed.items() if not _is_there(thing)})
    if missing:
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise Missing(f"install the packages {' '.join(missing)} (Debian's names) and run this again")
        # Debian starts a server when it is installed; none of them is wanted.
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        subprocess.run(["apt-get", "update", "-qq"], env=quiet, check=False)
        install = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing]
        if subprocess.run(install, env=quiet, check=False, stdout=subprocess.DEVNULL).returncode:
            raise Missing(f"the packages {' '.join(missing)} could not be installed: apt-get's words are above")


def _is_there(thing):
    return thing.exists() if isinstance(thing, Path) else shutil.which(thing) is not None


def build(profile="dist"):
    """Builds creditgate and the programs of this folder; gives their paths by name. `dist` is what images have."""
    if profile == "dist":
        _run(["scripts/dist"])
        gateway = TARGET / "optimized/creditgate"
    else:
        _run(["cargo", "build", "--locked", "--profile", profile, "--bin", "creditgate", "--target-dir", str(TARGET)])
        gateway = TARGET / profile / "creditgate"
    return {**build_tools(), "creditgate": gateway}


def build_tools():
    """Builds the programs of this folder; gives their paths by name."""
    _run(["cargo", "build", "--locked", "--release", "--manifest-path", "bench/Cargo.toml", "--target-dir", str(TARGET / "bench")])
    return {name: TARGET / "bench/release" / name for name in ("provider", "load", "plain-proxy")}


def _run(command):
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise Missing(f"`{' '.join(command)}` failed: its own words are above")


def counts_instructions():
    """Whether `perf` can count instructions here; many virtual machines can't."""
    command = ["perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "true"]
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    return told.returncode == 0 and "<not" not in told.stderr


def description():
    """The machine and the versions, as lines for a person."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    gigabytes = int(memory[1]) // 1_000_000 if memory else "?"
    commit = _words(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])
    return [
        f"{os.cpu_count()} CPUs {cpu[1] if cpu else platform.machine()}, {gigabytes} GB, Linux {platform.release()}",
        f"creditgate {commit}; {_words(['rustc', '--version'])}",
        f"{_words(['nginx', '-v'])}; {_words(['redis-server', '--version'])}",
        f"load average at the start {os.getloadavg()[0]:.2f}",
    ]


def _words(command):
    told = subprocess.run(command, check=False, capture_output=True, text=True)
    lines = (told.stdout + told.stderr).strip().splitlines()
    return lines[0] if lines else f"{command[0]}: unknown"
