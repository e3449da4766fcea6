"""The live database itself is migrated: its record of the run, its lock, and no secrets anywhere."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.to_sqlite.support import books_in, command, left_in
from tests.engine_migration.to_sqlite.test_interruptions import STOP_AT
from tests.support import forked
from tests.support.backend import eventually

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name <> 'test'"


def of_live_database(new: Path, lab: Database) -> list[str]:
    """The arguments without the URL."""
    words = command(new, lab)
    where = words.index("--postgres-url")
    return [*words[:where], *words[where + 2 :]]


@pytest.fixture
def variables(lab: Database, tmp_path: Path) -> dict[str, str]:
    return support.environment(tmp_path) | {"DATABASE_URL": lab.url}


def manage(variables: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    return forked.run(["manage.py", *words], env=variables)


def runs(lab: Database, variables: dict[str, str]) -> list[tuple[Any, ...]]:
    """Those after the migration to PostgreSQL. From the events: the migration to SQLite reads the database only."""
    assert manage(variables, "rebuild_backup_index").returncode == 0
    return lab.rows("SELECT kind, status, error, hint FROM ops_run WHERE kind <> 'migration' ORDER BY requested_at")


def files_with(text: str, directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.mark.slow
def test_killed_migration_of_the_live_database_is_closed_and_repeated(
    lab: Database, new: Path, variables: dict[str, str]
) -> None:
    process = support.start_and_wait(STOP_AT, "verify", of_live_database(new, lab), variables)
    for words in (["backup_database"], of_live_database(new.with_name("other.db"), lab)):
        refused = manage(variables, *words)
        assert refused.returncode == 4
        assert f"Another operation on the database {lab.name} is running: " in refused.stderr
    support.finish(process, signal.SIGKILL)
    eventually(lambda: not lab.value(SESSIONS, [lab.name]))
    assert not new.exists()
    again = manage(variables, *of_live_database(new, lab))
    assert (again.returncode, again.stderr) == (0, "")
    assert "was killed. It was marked as interrupted." in again.stdout
    assert books_in(new) == 5
    assert left_in(new.parent) == []
    (killed, done) = runs(lab, variables)
    assert killed[:2] == ("migration_to_sqlite", "interrupted")
    assert killed[3] == "The database is unchanged. Start the run again."
    assert done[:3] == ("migration_to_sqlite", "succeeded", "")
    assert files_with(lab.address.password, new.parent) == []


def test_failed_migration_is_recorded(lab: Database, new: Path, variables: dict[str, str]) -> None:
    process = support.start_and_wait(STOP_AT, "verify", of_live_database(new, lab), variables)
    lab.rows("UPDATE otherproject_book SET pages = 1")
    _, error = process.communicate("\n" * 500, timeout=60)
    message = f"Rows of otherproject_book were written during the migration. There is no file {new}."
    assert process.returncode == 1
    assert message in error
    ((kind, status, recorded, hint),) = runs(lab, variables)
    assert (kind, status, recorded) == ("migration_to_sqlite", "failed", message)
    assert hint.startswith("Stop the site, so that no rows are written meanwhile")


def test_storage_that_takes_no_records_refuses_the_migration(
    lab: Database, new: Path, variables: dict[str, str]
) -> None:
    outcome = manage({**variables, "BACKUP_DIR": "/proc/backups"}, *of_live_database(new, lab))
    assert outcome.returncode == 1
    assert "The backup storage does not take the record of this run: " in outcome.stderr
    assert "Nothing was changed." in outcome.stderr
    assert not new.exists()
    assert left_in(new.parent) == []


@pytest.mark.slow
def test_password_in_a_file_or_a_password_file_is_nowhere_else(
    lab: Database, new: Path, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("secrets")
    address, password = lab.address, lab.address.password
    (place / "url").write_text(lab.url)
    (place / "pgpass").write_text(f"*:*:*:*:{password}\n")
    (place / "pgpass").chmod(0o600)
    bare = f"postgresql://{address.user}@{address.host}:{address.port}/{address.database}"
    live = {**variables, "DATABASE_URL": f"sqlite:///{new.parent}/live.db"}
    for number, (words, more) in enumerate(
        [
            (["--postgres-url-file", str(place / "url")], {}),
            (["--postgres-url", bare], {"PGPASSFILE": str(place / "pgpass")}),
        ]
    ):
        path = new.with_name(f"new{number}.db")
        result = new.with_name(f"result{number}.json")
        done = manage({**live, **more}, *of_live_database(path, lab), *words, "--json", str(result))
        assert (done.returncode, done.stderr) == (0, ""), words
        assert password not in done.stdout
        assert books_in(path) == 5
    assert files_with(password, new.parent) == []
