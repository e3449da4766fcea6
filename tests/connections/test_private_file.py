"""The SQLite file is private from its creation on, for the site and for commands."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.slow import slow_except
from tests.support.web import WebServer

MAKERS = {
    "migrate": ["manage.py", "migrate", "--verbosity", "0"],
    "shell": [
        "manage.py",
        "shell",
        "--verbosity",
        "0",
        "--command",
        "from django.db import connection as c; c.cursor()",
    ],
    "check": ["manage.py", "check", "--database", "default"],
    "check_database": ["manage.py", "check_database"],
    "worker": [
        "-c",
        "from homerack.celery import app; app.set_default(); from django.db import connection as c; c.cursor()",
    ],
}


def environment(path: Path) -> dict[str, str]:
    return os.environ | {
        "DATABASE_URL": f"sqlite:///{path}",
        "DJANGO_SETTINGS_MODULE": "homerack.settings",
        "BACKUP_DIR": str(path.parent / "backups"),
        "REDIS_URL": "",
    }


class Watcher(threading.Thread):
    """Looks at a file and its journals all the time, and remembers every mode it has seen."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.seen, self.over = path, set[tuple[str, int]](), threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.0005):
            self.look()
        # A process may end before this thread has looked at the file that it has made.
        self.look()

    def look(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            try:
                mode = os.stat(f"{self.path}{suffix}").st_mode & 0o777  # noqa: PTH116
            except FileNotFoundError:
                continue
            self.seen.add((suffix, mode))


@pytest.mark.parametrize("maker", slow_except(list(MAKERS), "migrate", "worker"))
def test_new_file_has_mode_0600(tmp_path: Path, maker: str) -> None:
    path = tmp_path / "lab.db"
    watcher = Watcher(path)
    watcher.start()
    ended = forked.run(MAKERS[maker], env=environment(path), umask=0o022)
    watcher.over.set()
    watcher.join()
    assert path.exists(), ended.stderr
    assert {mode for _, mode in watcher.seen} == {0o600}
    if maker == "migrate":
        assert {"-wal", "-shm"} <= {suffix for suffix, _ in watcher.seen}


def test_site_creates_its_file_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "lab.db"
    web = WebServer.start(umask=0o022, **environment(path))
    web.get("/health/")
    web.stop()
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("mode", "becomes"), [(0o644, 0o600), (0o666, 0o600), (0o640, 0o640), (0o600, 0o600)])
def test_world_readable_file_becomes_private(tmp_path: Path, mode: int, becomes: int) -> None:
    path = tmp_path / "lab.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE kept (n int)")
    for suffix in ("", "-wal", "-shm"):
        if path.with_name(path.name + suffix).exists():
            path.with_name(path.name + suffix).chmod(mode)
    forked.run(MAKERS["shell"], env=environment(path), umask=0o022, check=True)
    connection.close()
    assert path.stat().st_mode & 0o777 == becomes
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("lab.db*") if file.is_file()} <= {becomes, 0o600}
