"""HomeRack on its own database, operated through ``manage.py``."""

import contextlib
import hashlib
import itertools
import json
import os
import pty
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ops.backups.repository import BackupRepository
from ops.backups.signing import Keys
from ops.backups.storage.local import PrivateFileSystemStorage
from tests.engine_migration.support import Database
from tests.support.forked import PATIENCE, Process

NOT_RESTORED = ("ops_run", "ops_backup", "django_session", "history_changeset_id_seq")
RESTORED_ROWS = {
    "history_changeset": "entry_point <> 'restore'",  # a restore adds an entry
    "sqlite_sequence": "name <> 'history_changeset'",
}
"""Tables that a restore keeps (the history) or empties (the sessions)."""
numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The exit code of a command, its standard output, and its standard error."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def output(self) -> str:
        """Standard output and standard error."""
        return f"{self.out}{self.error}"


@dataclass
class Command:
    """A running command."""

    process: Process
    out: Path
    error: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self) -> Outcome:
        code = self.process.wait(PATIENCE)
        return Outcome(code=code, out=self.out.read_text(), error=self.error.read_text())

    def until_stopped(self) -> "Command":
        """Wait until the command has stopped itself (`stop_at`)."""
        self.until(self.is_stopped)
        return self

    def is_stopped(self) -> bool:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.out.read_text(), self.error.read_text())
            assert Path(f"/proc/{self.pid}").exists(), (self.out.read_text(), self.error.read_text())
            time.sleep(0.01)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> "Command":
        os.kill(self.pid, signal.SIGCONT)
        return self

    def kill(self, number: signal.Signals = signal.SIGKILL) -> Outcome:
        os.kill(self.pid, number)
        return self.wait()


def first(kind: str, *others: str) -> pytest.MarkDecorator:
    """The kind of lab that a test has in the ordinary suite, where the kind is not its point; `others` are slow."""
    kinds = [kind, *(pytest.param(other, marks=pytest.mark.slow) for other in others)]
    return pytest.mark.parametrize("lab", kinds, indirect=True)


sqlite_first = first("sqlite", "postgresql")
postgresql_first = first("postgresql", "sqlite")


@dataclass
class Lab:
    """One HomeRack. `folder` has its backups, and its database if that is a SQLite file."""

    kind: str
    """``postgresql``, ``sqlite``, or ``schema``: PostgreSQL with a role that cannot create databases."""
    name: str
    url: str
    folder: Path
    database: Database | None = None
    statements: str = ""
    """The folder that `tests.support.replayed_migrations` needs."""
    commands: list[Command] = field(default_factory=list)

    @property
    def backups(self) -> Path:
        return self.folder / "backups"

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.db"

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "DATABASE_URL": self.url,
            "BACKUP_DIR": str(self.backups),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "COLUMNS": "200",
            "REDIS_URL": "",
            "DB_CONNECT_RETRY_DELAY": "0.1",
        }
        return os.environ | own

    @property
    def full_disk(self) -> int:
        """A `largest_file` that has room for the database's journal, but not for a backup."""
        return 10_000 if self.database else 200_000

    # --- Commands ----------------------------------------------------------------------------------------------
    def start(
        self,
        *arguments: str,
        typed: str = "",
        stop_at: str = "",
        largest_file: int = 0,
        constants: dict[str, Any] | None = None,
        **changes: str,
    ) -> Command:
        """Start a command with `typed` as its standard input; `constants` as in `Process`."""
        with tempfile.TemporaryFile("w+") as stdin:
            stdin.write(typed)
            stdin.seek(0)
            return self.start_with(
                stdin.fileno(), arguments, changes, stop_at=stop_at, largest_file=largest_file, constants=constants
            )

    def start_with(self, stdin: int, arguments: Sequence[str], changes: dict[str, str], **limits: Any) -> Command:
        out, error = (self.folder / f"{next(numbers)}.{kind}" for kind in ("out", "error"))
        with out.open("w") as out_file, error.open("w") as error_file:
            files = [stdin, out_file.fileno(), error_file.fileno()]
            command = Command(
                Process(
                    ["manage.py", *arguments],
                    files=files,
                    env=self.environment | changes,
                    statements=self.statements,
                    **limits,
                ),
                out,
                error,
            )
        self.commands.append(command)
        return command

    def end(self) -> None:
        """Kill the commands that a failed test has left running."""
        for command in self.commands:
            command.process.kill()

    def manage(self, *arguments: str, **how: Any) -> Outcome:
        """Run a command and wait for it; `how` as in `start`."""
        return self.start(*arguments, **how).wait()

    def run(self, *arguments: str, **how: Any) -> Outcome:
        """Run a command that must succeed."""
        outcome = self.manage(*arguments, **how)
        assert outcome.code == 0, outcome
        return outcome

    def run_json(self, *arguments: str, **changes: str) -> Any:
        """The JSON of a command that must succeed."""
        return self.run(*arguments, "--json", **changes).json

    @contextlib.contextmanager
    def typing(self, *arguments: str, **changes: str) -> Iterator[tuple[Command, int]]:
        """A command whose standard input is a terminal, and the file descriptor that types into it."""
        keyboard, terminal = pty.openpty()
        try:
            yield self.start_with(terminal, arguments, changes), keyboard
        finally:
            os.close(keyboard)
            os.close(terminal)

    def back_up(self, *arguments: str) -> str:
        """Make a backup, and return its name."""
        return str(self.run_json("backup_database", *arguments)["backup"])

    def listed(self) -> list[str]:
        """The names of the backups, the newest first."""
        storage = PrivateFileSystemStorage(location=str(self.backups))
        return [record.name for record in BackupRepository(storage, Keys(["any"]), "homerack").records()]

    # --- The database -------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def connected(self) -> Iterator[Any]:
        """A cursor in the live database, in a session of its own."""
        if self.database:
            with contextlib.closing(self.database.connect()) as connection, connection.cursor() as cursor:
                yield cursor
        else:
            with contextlib.closing(sqlite3.connect(self.file, timeout=20)) as connection, connection:
                yield connection.cursor()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connected() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, query: str) -> Any:
        ((value,),) = self.rows(query)
        return value

    def content(self) -> dict[str, tuple[int, str]]:
        """The number of rows and a hash of them, by table; on PostgreSQL also by sequence."""
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%'"
        if self.database:
            names = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')"
        tables = {}
        with self.connected() as cursor:
            cursor.execute(names)
            for (name,) in cursor.fetchall():
                if not name.startswith(NOT_RESTORED):
                    # log_cnt changes without a change of the rows.
                    columns = "last_value, is_called" if name.endswith("_id_seq") else "*"
                    cursor.execute(f'SELECT {columns} FROM "{name}" WHERE {RESTORED_ROWS.get(name, "true")}')
                    rows = sorted(map(repr, cursor.fetchall()))
                    tables[name] = len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()
        return tables

    def project_content(self) -> dict[str, tuple[int, str]]:
        """`content` without the tables that Django fills itself: their ids and times differ between databases."""
        own = ("django_", "auth_permission", "auth_group_permissions", "sqlite_sequence")
        return {name: found for name, found in self.content().items() if not name.startswith(own)}

    # --- The history --------------------------------------------------------------------------------------------
    def runs(self) -> list[tuple[str, str]]:
        """Kind and status of every run in the database, by the time of the request."""
        return [(kind, status) for kind, status in self.rows("SELECT kind, status FROM ops_run ORDER BY requested_at")]

    def last_run(self, kind: str) -> tuple[str, str, str]:
        """Status, error and hint of the last run of this kind in the database."""
        named = f"FROM ops_run WHERE kind = '{kind}' ORDER BY requested_at DESC LIMIT 1"
        return self.rows(f"SELECT status, error, hint {named}")[0]

    def recovered(self) -> list[str]:
        """What is cleaned up after earlier runs, in sentences."""
        return list(self.run_json("rebuild_backup_index")["recovered"])

    def last_restore(self) -> dict[str, str]:
        """What health says of the last restore."""
        return dict(self.manage("check_database", "--json").json["checks"]["last_restore"])

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted((self.backups / "events").glob("*.json"))]

    def files(self) -> list[str]:
        """The files of the backup directory, without its folders."""
        return sorted(path.name for path in self.backups.glob("*") if path.is_file())
