"""Copying that is killed before any of its writes: what counts is intact, and the next run completes the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "step"),
    [(5, 97), pytest.param(380, 1, marks=pytest.mark.slow), pytest.param(1, 1, marks=pytest.mark.slow)],
    ids=["some writes", "the last writes", "every write"],
)
def test_copying_killed_before_a_write_is_completed_by_the_next_run(first, step, tmp_path):
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/index.db",
        "SECRET_KEY": "of the tests",
        "LOG_LEVEL": "ERROR",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.locations.killed_copies", str(first), str(step), str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"[-6000:]
    assert int(done.stdout.split()[-2]) > 40
