"""The machine and the versions that a run was measured with."""

import os
import platform
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import django

from bench.results import Machine
from tests.support.postgres import find_binaries

ROOT = Path(__file__).resolve().parents[1]


def describe() -> Machine:
    return Machine(
        cpu=cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        disk=disk_kind(Path(tempfile.gettempdir())),
        system=system_name(),
        versions={
            "Python": platform.python_version(),
            "PostgreSQL": output_of(str(find_binaries() / "postgres"), "--version").split()[2],
            "SQLite": sqlite3.sqlite_version,
            "Django": django.get_version(),
        },
    )


def cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def disk_kind(path: Path) -> str:
    """What the files of the benches are on, as Linux describes it: a virtual disk does not say what is below it."""
    number = path.stat().st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not device.exists():
        return "memory" if path.is_relative_to("/dev/shm") else "unknown"
    disk = next((folder for folder in (device, device.resolve().parent) if (folder / "queue").exists()), device)
    name = disk.resolve().name
    if name.startswith(("vd", "xvd")):
        return "virtual"
    return "magnetic" if (disk / "queue/rotational").read_text().strip() == "1" else "solid state"


def system_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def commit() -> str:
    """The commit of the checkout, with a note if files differ from it other than those that benches write."""
    try:
        changed = output_of("git", "status", "--porcelain", "--", ".", ":!docs/performance.*")
        return output_of("git", "rev-parse", "--short=10", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
