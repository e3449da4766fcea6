"""Each bench runs in an empty environment, with few rows and all programs that are installed."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import document, lab_file, results
from bench.__main__ import BENCHES

ROOT = Path(__file__).resolve().parents[2]
GROUPS = (
    ("backup_sqlite", "copies", "suspicion"),
    ("migrate", "fixtures", "migrate_back"),
    ("backup", "blocked"),
    ("connections", "console", "start"),
    ("growth",),
)
"""Those of a group share a server and a file. Each program that a bench starts costs a second or two of CPU."""
KEPT = ("PATH", "HOME")
"""What is left of the environment of a test run, in which settings, keys and a database are set."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """For temporary files. As root, PostgreSQL runs as another user, who cannot enter pytest's own folders."""
    path = Path(tempfile.mkdtemp(prefix="bench-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def run_benches(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key in KEPT} | {"TMPDIR": str(folder)}
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(
        command, check=False, cwd=ROOT, env=environment | variables, capture_output=True, text=True, timeout=300
    )


def documents() -> list[bytes]:
    return [file.read_bytes() for file in (results.FILE, *document.FILES)]


@pytest.mark.parametrize("group", GROUPS, ids="-".join)
def test_benches_end_with_figures_and_write_nothing_when_they_are_tiny(group: tuple[str, ...], folder: Path) -> None:
    before = documents()
    done = run_benches(folder, "--tiny", *group)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [name for name in group if f"python -m bench {name}" not in done.stdout] == []
    assert documents() == before
    file = f"bench_1000_{lab_file.digest_of_sources()}.sqlite3"
    # A connection that only reads leaves SQLite's two files for WAL.
    assert {path.name for path in folder.iterdir()} <= {file, f"{file}-shm", f"{file}-wal"}


@pytest.mark.parametrize(
    "source", ["bench/lab_file.py", "ops/migrations/0001_release.py", "bench/lab/migrations/0002_new.py"]
)
def test_changed_or_new_source_gets_a_file_of_its_own(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in lab_file.sources():
        copy = tmp_path / name.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, copy)
    monkeypatch.setattr(lab_file, "ROOT", tmp_path)
    before = lab_file.digest_of_sources()
    with (tmp_path / source).open("a") as file:
        file.write("# changed\n")
    assert lab_file.digest_of_sources() != before


def test_all_benches_are_in_a_group() -> None:
    assert sorted(BENCHES) == sorted(name for group in GROUPS for name in group)
