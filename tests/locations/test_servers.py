"""Copying to real servers, which restart, stop and fill up while it writes."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops import operations
from ops.models import Run
from ops.utils.progress import Progress
from tests.backups import factories
from tests.locations.support import DAY, NOW, Installation
from tests.support.bucket import S3
from tests.support.sshd import Sshd

pytestmark = pytest.mark.django_db(transaction=True)
SIZE = 30_000_000
"""Bytes that no compression makes smaller, so that a transfer can be met in its middle."""


def sftp(sshd: Sshd, **changes: Any) -> dict[str, Any]:
    options = sshd.options()
    return {
        "name": "server",
        "url": f"sftp://{options['user']}@127.0.0.1:{sshd.port}{sshd.files}",
        "host_key": options["host_key"],
        "identity_file": options["identity_file"],
    } | changes


def bucket(s3: S3, name: str = "lab-backups", **changes: Any) -> dict[str, Any]:
    options = s3.options()
    return {
        "name": "bucket",
        "url": f"s3://{name}/rack",
        "endpoint": s3.endpoint,
        "region": "us-east-1",
        "access_key": options["access_key"],
        "secret_key": options["secret_key"],
    } | changes


def copy_and(lab: Installation, disturb: Callable[[], None]) -> str:
    """Copy, and call `disturb` once in the middle of the first transfer. Returns the error of the run."""
    pending = [disturb]

    def on_progress(progress: Progress) -> None:
        if progress.item and progress.done > SIZE // 4 and pending:
            pending.pop()()

    run = Run(kind=Run.Kind.COPY, requested_by="ada")
    with contextlib.suppress(Exception):
        operations.copy_backups(lab.context, run, on_progress)
    assert not pending, "nothing was transferred"
    return Run.objects.get(pk=run.pk).error


def test_sftp_server_that_restarts_in_the_middle_gets_the_copy_with_the_next_run(sshd: Sshd, tmp_path: Path) -> None:
    lab = Installation(tmp_path, sftp(sshd))
    name = lab.back_up(content=os.urandom(SIZE))

    def restart() -> None:
        sshd.stop()
        sshd.start()

    error = copy_and(lab, restart)
    assert error.startswith("Not every storage location is up to date. server: ")
    assert lab.catalog.get(name).reachable == ("local",)
    assert not (sshd.files / f"{name}.age").exists()
    result = lab.copy()
    assert result.locations["server"].copied == (name,)
    assert sorted(path.name for path in sshd.files.iterdir()) == [
        "events",
        f"{name}.age",
        f"{name}.json.age",
        "location.json",
    ]


@pytest.mark.slow
def test_s3_server_that_restarts_in_the_middle_gets_the_copy_with_the_next_run(s3: S3, tmp_path: Path) -> None:
    """moto's server forgets everything with its process, so that the bucket and the marker are new as well."""
    lab = Installation(tmp_path, bucket(s3))
    name = lab.back_up(content=os.urandom(SIZE))
    lab.copy()
    assert lab.catalog.get(name).locations == ("local", "bucket")
    second = lab.back_up(NOW - DAY, content=os.urandom(SIZE))

    def restart() -> None:
        s3.stop()
        s3.start()

    assert copy_and(lab, restart).startswith("Not every storage location is up to date. bucket: ")
    assert lab.catalog.get(second).reachable == ("local",)
    lost = lab.copy().locations["bucket"].error
    assert "marker" in lost or "NoSuchBucket" in lost
    assert lab.catalog.get(name).reachable == ("local",)


@pytest.mark.slow
def test_frozen_sftp_server_ends_the_run_and_blocks_no_backup(sshd: Sshd, tmp_path: Path) -> None:
    lab = Installation(tmp_path, sftp(sshd))
    lab.back_up(content=os.urandom(SIZE))
    made: list[str] = []

    def freeze() -> None:
        sshd.freeze()
        backing_up = threading.Thread(target=lambda: made.append(lab.back_up(NOW - DAY)))
        backing_up.start()
        backing_up.join(20)

    try:
        error = copy_and(lab, freeze)
    finally:
        sshd.thaw()
    assert made
    assert "server" in error
    assert set(lab.copy().locations["server"].copied) == {record.name for record in lab.catalog.records()}


MEMORY = """
import os, resource, sys
from pathlib import Path
import django; django.setup()
from ops.runs import recorder
recorder.DATABASE_TIMEOUT = 0
from tests.locations.support import Installation
lab = Installation(Path(sys.argv[1]), *eval(os.environ["LOCATIONS"]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
errors = [each.error for each in lab.copy().locations.values() if each.error]
print(errors, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["directory", "sftp", "s3"])
def test_copy_of_a_gigabyte_adds_less_than_150_mb(kind: str, sshd: Sshd, s3: S3, tmp_path: Path) -> None:
    locations = {"directory": {"name": "nas"}, "sftp": sftp(sshd), "s3": bucket(s3)}
    lab = Installation(tmp_path, locations[kind])
    block = os.urandom(1 << 20)
    engine = lab.context.engine
    name = lab.catalog.next_name(factories.Kind.SQL, NOW)
    stored = lab.catalog.store(name, (block for _ in range(1000)))
    values = {"engine": engine.kind, "database": engine.database, "kind": factories.Kind.SQL, "taken_at": NOW}
    values |= {"size": stored.size, "sha256": stored.sha256, "uncompressed_size": stored.uncompressed_size}
    lab.catalog.publish(factories.manifest(name=name, **values))
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "DATABASE_URL": f"sqlite:///{tmp_path}/index.db",
        "SECRET_KEY": "of the tests",
        "LOG_LEVEL": "ERROR",
        "LOCATIONS": repr([locations[kind]]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEMORY, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    errors, megabytes = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert errors == "[]"
    assert int(megabytes) < 150
