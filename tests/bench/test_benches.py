"""Each benchmark starts in an empty environment, and ends with a report."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--rows", "1000", "--rounds", "1")
slow = pytest.mark.slow
BENCHES = {
    "connections": ("--requests", "40", "--rounds", "1"),
    "suspicion": ("--seeds", "1", "--every", "100"),
    "migrate": (*SMALL, "--skip", "bare"),
    "backup": SMALL,
    "console": ("--backups", "20", "--runs", "20", "--devices", "50", "--rounds", "1"),
    "copies": SMALL,
}
ORDINARY = {"connections", "suspicion"}
"""Those that take a few seconds."""
NEEDS = {"copies": ("age", "rclone")}
"""Other programs."""
KEPT = ("PATH", "HOME")
"""What is left of the environment of a test run, in which settings, keys and a database are set."""


def cases() -> list[object]:
    return [pytest.param(name, marks=() if name in ORDINARY else slow) for name in BENCHES]


@pytest.fixture
def folder() -> Iterator[Path]:
    """For temporary files. As root, PostgreSQL runs as another user, who cannot enter pytest's own folders."""
    path = Path(tempfile.mkdtemp(prefix="bench-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def start(folder: Path, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key in KEPT} | {"TMPDIR": str(folder)}
    command = [sys.executable, "-m", f"bench.{name}", *arguments]
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", cases())
def test_bench_ends_with_a_report(name: str, folder: Path) -> None:
    for program in NEEDS.get(name, ()):
        if not shutil.which(program):
            pytest.skip(f"{program} was not found: apt-get install {program}")
    done = start(folder, name, *BENCHES[name])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@slow
@pytest.mark.skipif(not shutil.which("sqlite3"), reason="sqlite3 was not found: apt-get install sqlite3")
def test_bench_of_the_way_back_ends_with_a_report(folder: Path) -> None:
    done = start(folder, "migrate", "--back", *SMALL, "--skip", "db-to-sqlite", "--skip", "pg_dump")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pg_dump in one transaction" in done.stdout


def test_all_benches_are_tested() -> None:
    programs = {path.stem for path in (ROOT / "bench").glob("*.py") if "\nif __name__ ==" in path.read_text()}
    assert set(BENCHES) == programs
