"""The file to move: what is refused, what is read although it is awkward, and that it is never touched."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.databases.sqlite import files, snapshot
from ops.databases.sqlite.snapshot import take_snapshot
from ops.engine_migration.to_postgres import pipeline, source
from ops.engine_migration.to_postgres.pipeline import Stage
from tests.engine_migration import support
from tests.engine_migration.support import Database, Migration
from tests.support import forked

NAME_IT = "Specify the SQLite file with --sqlite-path FILE."


def refusal(path: Path, database: Database, *arguments: str) -> str:
    outcome = support.run(path, database, "--yes", *arguments)
    assert outcome.code == 1
    assert outcome.document["status"] == "failed"
    assert database.tables() == []
    return outcome.error


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_collations_and_functions_of_the_application_do_not_matter(
    order: int, library: Path, migrated: Database
) -> None:
    """In indexes, constraints and tables that are skipped; nothing else knows what they do."""
    with support.opened(library) as connection:
        for name in ("byname", "icu de"):
            connection.create_collation(name, lambda one, other: order * ((one > other) - (one < other)))
        connection.create_function("shorten", 1, lambda value: value, deterministic=True)
        connection.executescript(
            """
            CREATE INDEX one ON otherproject_author (name COLLATE byname);
            CREATE UNIQUE INDEX two ON otherproject_book (title COLLATE [icu de] DESC, id);
            CREATE INDEX three ON otherproject_book (shorten(title)) WHERE title > '' COLLATE byname;
            CREATE TABLE words (word text COLLATE byname PRIMARY KEY) WITHOUT ROWID;
            INSERT INTO words VALUES ('b'), ('a');
            """
        )
    migrate(library, migrated, "otherproject_author", "otherproject_book")
    assert migrated.value("SELECT count(*) FROM otherproject_book") == 5


def migrate(path: Path, database: Database, *tables: str) -> None:
    """Load and verify these tables."""
    with support.prepared(path, only=tables) as ready:
        assert ready.preflight.groups == ()
        support.copy_and_verify_into(ready, database)


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_references_to_keys_with_a_collation_of_the_application_are_found(
    order: int, library: Path, migrated: Database
) -> None:
    """The index of the key has an order that only the application knows."""
    key = '"name" varchar(30) NOT NULL PRIMARY KEY'
    support.loosen(library, "otherproject_tag", key, key.replace(" NOT", " COLLATE byname NOT"))
    with contextlib.closing(sqlite3.connect(library)) as connection:
        connection.create_collation("byname", lambda one, other: order * ((one > other) - (one < other)))
        connection.executemany("INSERT INTO otherproject_tag VALUES (?)", [(f"tag {number}",) for number in range(500)])
        connection.execute("REINDEX otherproject_tag")
        connection.execute(
            "INSERT INTO otherproject_book_tags (book_id, tag_id)"
            " SELECT (SELECT max(id) FROM otherproject_book), name FROM otherproject_tag WHERE name LIKE 'tag %'"
        )
        connection.commit()
    books = ("otherproject_author", "otherproject_book", "otherproject_tag", "otherproject_book_tags")
    migrate(library, migrated, *books)
    assert migrated.value("SELECT count(*) FROM otherproject_book_tags WHERE tag_id LIKE 'tag %%'") == 500


def test_a_missing_file_is_not_created(tmp_path: Path, database: Database) -> None:
    path = tmp_path / "missing.db"
    assert refusal(path, database) == f"There is no file {path}.\n{NAME_IT}"
    assert not path.exists()


def test_directory_instead_of_file_is_refused(tmp_path: Path, database: Database) -> None:
    path = tmp_path / "folder.db"
    path.mkdir()
    assert refusal(path, database) == f"{path} is not a file.\n{NAME_IT}"


def test_an_empty_file_is_refused(tmp_path: Path, database: Database) -> None:
    path = tmp_path / "zero.db"
    path.touch()
    words = f"{path} is empty (0 bytes).\nIs it the right file?"
    assert refusal(path, database) == words


@pytest.mark.parametrize("content", [b"hello", os.urandom(8192), b"SQLite format 3"], ids=["text", "random", "short"])
def test_file_without_sqlite_header_is_refused(tmp_path: Path, database: Database, content: bytes) -> None:
    path = tmp_path / "encrypted.db"
    path.write_bytes(content)
    assert refusal(path, database) == (
        f"{path} is not a SQLite file, or it is encrypted.\n"
        "Decrypt an encrypted file first, with the program that wrote it."
    )


def test_a_header_without_a_database_is_refused(tmp_path: Path, database: Database) -> None:
    path = tmp_path / "header.db"
    path.write_bytes(files.HEADER + os.urandom(8176))
    assert refusal(path, database) == (
        f"{path} is damaged: file is not a database.\n"
        f"Save what can be read with: sqlite3 {path} .recover | sqlite3 recovered.db"
    )


def test_a_file_of_another_program_is_refused(tmp_path: Path, database: Database) -> None:
    path = tmp_path / "music.db"
    support.alter(path, "CREATE TABLE songs (name)", "CREATE TABLE albums (name)")
    assert refusal(path, database) == (
        f"{path} is not a file of this project: it has no django_migrations; its tables are albums, songs.\n"
        "Specify the application's data file."
    )


@pytest.mark.parametrize("damage", ["page", "cut"])
def test_a_damaged_file_is_refused(library: Path, database: Database, damage: str) -> None:
    content = bytearray(library.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        (page,) = sqlite_value(library, "SELECT rootpage FROM sqlite_master WHERE name = 'everything'")
        content[(page - 1) * 4096 : page * 4096] = b"\xee" * 4096
    library.write_bytes(content)
    message = refusal(library, database)
    assert message.startswith(f"{library} is damaged: ")
    assert message.endswith(f"\nSave what can be read with: sqlite3 {library} .recover | sqlite3 recovered.db")
    assert list(library.parent.glob("backups/*")) == []


def sqlite_value(path: Path, query: str) -> Any:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchone()


def test_a_file_in_utf16_is_refused(tmp_path: Path, templates: Path, database: Database) -> None:
    """Its texts would arrive as other bytes. Django always writes UTF-8."""
    path = tmp_path / "wide.db"
    with contextlib.closing(sqlite3.connect(path)) as wide:
        wide.execute("PRAGMA encoding = 'UTF-16le'")
        with contextlib.closing(sqlite3.connect(templates / "library.db")) as narrow:
            wide.executescript("\n".join(line for line in narrow.iterdump() if "sqlite_sequence" not in line))
    assert refusal(path, database) == (
        f"{path} stores text as UTF-16le; only UTF-8 can be migrated.\n"
        f"Convert a copy: sqlite3 {path} .dump | sqlite3 converted.db"
    )


# --- Journals -----------------------------------------------------------------------------------------------
def test_rows_in_the_wal_are_migrated(file: Path, database: Database) -> None:
    with contextlib.closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO otherproject_tag VALUES ('from the wal')")
        writer.commit()
        wal = file.with_name(file.name + "-wal")
        assert wal.stat().st_size > 0
        copy = file.with_name("copy.db")
        shutil.copy(file, copy)
        shutil.copy(wal, copy.with_name("copy.db-wal"))
    outcome = support.migrate(copy, database, *support.only(file, "otherproject_tag"))
    assert database.rows("SELECT name FROM otherproject_tag") == [("from the wal",)]
    assert outcome.document["source"]["wal"] is True
    assert f"Source  {copy} and its -wal file: a file of this project" in outcome.out


def test_uncommitted_transaction_is_not_migrated(file: Path, database: Database, migrated: Database) -> None:
    """A program died while it wrote: what its -journal holds has to go back into the file first."""
    crashed = file.with_name("crashed.db")
    with contextlib.closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA cache_size = 5")
        writer.execute("BEGIN")
        writer.executemany("INSERT INTO otherproject_tag VALUES (?)", ((f"tag {number}",) for number in range(20000)))
        shutil.copy(file, crashed)
        shutil.copy(f"{file}-journal", f"{crashed}-journal")
        writer.rollback()
    assert crashed.read_bytes() != file.read_bytes()
    before = digest(crashed)
    assert refusal(crashed, database) == (
        f"{crashed} has a transaction that its program did not finish, in {crashed.name}-journal.\n"
        f"Let SQLite roll it back: sqlite3 {crashed} 'PRAGMA quick_check'"
    )
    assert digest(crashed) == before
    with contextlib.closing(sqlite3.connect(crashed)) as mended:
        assert mended.execute("PRAGMA quick_check").fetchone() == ("ok",)
    migrate(crashed, migrated, "otherproject_tag")
    assert migrated.value("SELECT count(*) FROM otherproject_tag") == 0


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def locked_directory(file: Path) -> Iterator[Path]:
    """The file in WAL mode in a directory that other users can read but not write."""
    directory = Path("/tmp") / f"readonly-{support.new_name()}"  # pytest's own directories are closed to others
    directory.mkdir(mode=0o755)
    yield directory
    shutil.rmtree(directory)


AS_NOBODY = """
import os, sys
from pathlib import Path
from ops.databases.sqlite.snapshot import take_snapshot
from ops.engine_migration.to_postgres import source
from ops.errors import OpsError
# After the imports: the virtual environment may be closed to others.
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with source.open_source(Path(sys.argv[1])) as opened:
        snapshot = take_snapshot(source=opened, destination=Path(sys.argv[2]))
    print("copied", snapshot.size)
except OpsError as error:
    print(error)
"""


def snapshot_as_nobody(path: Path, directory: Path) -> str:
    destination = directory / "open"
    destination.mkdir()
    destination.chmod(0o777)
    done = forked.run(["-c", AS_NOBODY, str(path), str(destination / "snapshot.db")])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to change the user")


@root_only
def test_wal_in_read_only_directory_is_refused(file: Path, locked_directory: Path) -> None:
    path = locked_directory / "lab.db"
    shutil.copy(file, path)
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO otherproject_tag VALUES ('x')")
        writer.commit()
        shutil.copy(f"{path}-wal", locked_directory / "kept")
    shutil.move(locked_directory / "kept", f"{path}-wal")
    Path(f"{path}-shm").unlink(missing_ok=True)
    assert snapshot_as_nobody(path, locked_directory) == (
        f"{path} has changes in lab.db-wal, and its directory is read-only: they cannot be read there.\n"
        "Copy the file and its -wal to a directory that you can write to, and use that copy."
    )


@root_only
def test_wal_mode_file_in_read_only_directory_is_read(file: Path, locked_directory: Path) -> None:
    path = locked_directory / "lab.db"
    shutil.copy(file, path)
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
    assert not Path(f"{path}-wal").exists()
    assert snapshot_as_nobody(path, locked_directory) == f"copied {path.stat().st_size}"


@root_only
def test_unreadable_file_is_refused(file: Path, locked_directory: Path) -> None:
    path = locked_directory / "lab.db"
    shutil.copy(file, path)
    path.chmod(0o600)
    assert snapshot_as_nobody(path, locked_directory) == f"{path} cannot be read: permission denied.\nRun as its owner."


@root_only
def test_file_in_inaccessible_directory_is_refused(file: Path, locked_directory: Path) -> None:
    closed = locked_directory / "closed"
    closed.mkdir(mode=0o700)
    shutil.copy(file, closed / "lab.db")
    message = f"{closed / 'lab.db'} cannot be read: permission denied.\nRun as its owner."
    assert snapshot_as_nobody(closed / "lab.db", locked_directory) == message


# --- Other programs -----------------------------------------------------------------------------------------
def test_a_locked_file_is_refused(file: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_TIMEOUT", 0.2)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        message = refusal(file, database)
    assert message == f"{file} is locked by another program.\n{files.STOP_WRITERS}"


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_file_written_during_the_migration_is_refused(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    with contextlib.closing(sqlite3.connect(library)) as writer:
        writer.execute(f"PRAGMA journal_mode = {mode}")
        real = pipeline.add_missing_permissions

        def write_and_go_on() -> None:
            writer.execute("INSERT INTO otherproject_tag VALUES ('late')")
            writer.commit()
            real()

        monkeypatch.setattr(pipeline, "add_missing_permissions", write_and_go_on)
        message = refusal(library, database, *support.only(library, "otherproject_tag"))
    assert message == (
        f"{library} was written to during the migration. The database {database.address} is unchanged.\n"
        f"{files.STOP_WRITERS}"
    )
    assert support.staging_databases(database.name) == []


def test_snapshot_with_busy_writer_is_consistent(file: Path, tmp_path: Path) -> None:
    """Every transaction writes a parent and its child; no snapshot may hold one without the other."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    stop = threading.Event()

    def write() -> None:
        with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection:
            number = 0
            while not stop.is_set():
                number += 1
                connection.execute("INSERT INTO otherproject_author (id, name) VALUES (?, ?)", [number, "x" * 50])
                connection.execute(
                    "INSERT INTO otherproject_book (id, title, author_id, pages, price) VALUES (?, ?, ?, 1, 1)",
                    [f"{number:032x}", str(number), number],
                )
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        counts = [count_pairs(file, tmp_path / f"snapshot{number}.db") for number in range(15)]
    finally:
        stop.set()
        writer.join()
    assert all(authors == books for authors, books in counts)
    assert len(set(counts)) > 1


def count_pairs(file: Path, destination: Path) -> Any:
    with source.open_source(file) as opened:
        take_snapshot(source=opened, destination=destination)
    return sqlite_value(
        destination, "SELECT (SELECT count(*) FROM otherproject_author), (SELECT count(*) FROM otherproject_book)"
    )


# --- The copy -----------------------------------------------------------------------------------------------
def test_migration_does_not_change_the_file(library: Path, database: Database) -> None:
    before = library.stat().st_mtime_ns, digest(library), directory_listing(library)
    support.migrate(library, database, *support.only(library, "otherproject_tag"))
    made = {"backups"}
    after = sorted(name for name in directory_listing(library) if name not in made)
    assert (library.stat().st_mtime_ns, digest(library), after) == before


def directory_listing(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir())


def test_a_verified_copy_is_kept_for_its_owner_only(migration: Migration) -> None:
    (copy,) = migration.backups.glob("*.sqlite3")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.parent.stat().st_mode & 0o777 == 0o700
    assert digest(copy) == migration.outcome.document["source"]["sha256"]
    assert copy.name.startswith("library_")
    assert copy.suffix == ".sqlite3"
    assert f"A verified copy of the file: {copy}" in migration.outcome.out


def test_no_copy_is_kept_without_backup(library: Path, database: Database) -> None:
    outcome = support.migrate(library, database, "--no-backup", *support.only(library, "otherproject_tag"))
    assert list((library.parent / "backups").glob("*.sqlite3")) == []
    assert "verified copy" not in outcome.out


def test_copy_that_cannot_be_written_leaves_nothing(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(snapshot, "check_pages", fail)
    with source.open_source(library) as opened, pytest.raises(sqlite3.OperationalError):
        take_snapshot(source=opened, destination=tmp_path / "copy.db")
    assert list(tmp_path.glob("copy.db*")) == []


def test_a_backup_directory_that_is_a_file_is_refused(library: Path, database: Database, settings: Any) -> None:
    settings.BACKUP_DIR = library
    assert refusal(library, database) == (
        f"The directory {library} cannot be used: File exists.\nSet BACKUP_DIR to a directory that you can write to."
    )


def test_stages_are_reported_in_order(migration: Migration) -> None:
    assert list(migration.outcome.document["seconds"]) == [
        Stage.SNAPSHOT,
        Stage.PREFLIGHT,
        Stage.SCHEMA,
        Stage.COPY,
        Stage.BUILD,
        Stage.VERIFY,
        Stage.CUT_OVER,
    ]
