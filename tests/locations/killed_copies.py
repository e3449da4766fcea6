"""Kill copying before each of its writes. Prints a line for each: ``FIRST STEP FOLDER`` are the arguments.

A program of its own, which forks a process for each attempt: the tests' process must not be copied with its threads.
"""

import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from ops.backups.locations import copying  # noqa: E402
from ops.backups.retention import Policy  # noqa: E402
from ops.backups.storage import local  # noqa: E402
from ops.runs import recorder  # noqa: E402
from tests.backups.fault_injection import Faulty  # noqa: E402
from tests.locations.support import DAY, NOW, Installation  # noqa: E402

# The database has no tables, and is not waited for.
recorder.DATABASE_TIMEOUT = 0
POLICY = Policy(days=3)


def installation(folder: Path) -> Installation:
    return Installation(folder, {"name": "near", "encrypted": False}, {"name": "far", "off_site": True}, policy=POLICY)


def prepare(folder: Path) -> None:
    """Two backups have been copied, one of them has expired since; two others are new, and a manifest has changed."""
    lab = installation(folder)
    lab.back_up(NOW - 4 * DAY)
    kept = lab.back_up(NOW - 2 * DAY)
    lab.policy = Policy(days=30)
    lab.copy()
    lab.catalog.change(kept, note="changed")
    lab.back_up(NOW - DAY)
    lab.back_up(NOW)


def copy_until_killed(folder: Path, at: int) -> None:
    faulty = Faulty(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    for module in (local, copying):
        module.os = faulty  # type: ignore[attr-defined]
    installation(folder).copy()


def inspect(folder: Path) -> None:
    """What counts is there and intact; the next run completes everything and leaves nothing unfinished."""
    require_that_copies_are_intact(installation(folder))
    lab = installation(folder)
    errors = [result.error for result in lab.copy().locations.values() if result.error]
    assert not errors, errors
    records = lab.catalog.records()
    assert {record.locations for record in records if record.manifest.taken_at >= NOW - 3 * DAY} == {
        ("local", "near", "far")
    }
    require_that_copies_are_intact(lab)
    for name in ("near", "far"):
        repository = lab.catalog.others[name].repository
        assert len(repository.records()) == 3
        assert all(record.verified for record in repository.records())
    left = [path for path in folder.rglob("*") if "partial" in path.name or path.parent.name == "outgoing"]
    assert not left, left


def require_that_copies_are_intact(lab: Installation) -> None:
    catalog = lab.catalog
    for record in catalog.records():
        for location in record.locations:
            with catalog.open_file(record.require_manifest(), location) as file:
                file.read()


def run(step: Callable[..., Any], *arguments: Any) -> int:
    """The exit code of a process that does it; negative for a signal."""
    if not (child := os.fork()):
        try:
            step(*arguments)
            os._exit(0)
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(first: int, step: int, folder: Path) -> int:
    template = folder / "template"
    template.mkdir()
    assert run(prepare, template) == 0
    for at in range(first, 10_000, step):
        attempt = folder / str(at)
        shutil.copytree(template, attempt)
        code = run(copy_until_killed, attempt, at)
        if run(inspect, attempt):
            sys.stdout.write(f"killed before write {at}: the next run did not complete it\n")
            return 1
        shutil.rmtree(attempt)
        if code == 0:
            sys.stdout.write(f"{at} writes\n")
            return 0
        assert code == -signal.SIGKILL, code
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
