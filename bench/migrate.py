"""Migrations from SQLite to PostgreSQL: `migrate_to_postgres` against

- pgloader (of Debian), data only, into the schema that Django creates, with a small prefetch;
- a bare ``COPY`` of prepared text files on one connection; indexes and keys are dropped before and rebuilt after.
"""

import shutil
import time
from pathlib import Path

import msgspec

from bench.lab_file import TABLES, django, rows_of_file
from bench.measuring import stopwatch
from bench.results import Results, Sample
from bench.session import Session, say

OURS, PGLOADER, BARE = "`migrate_to_postgres`", "pgloader", "bare `COPY` of prepared files, keys and indexes rebuilt"


def run(session: Session, results: Results) -> None:
    texts = session.folder / "texts"
    prepare_texts(session, texts)
    programs = {
        OURS: lambda: migrate(session),
        PGLOADER: lambda: load_with_pgloader(session),
        BARE: lambda: copy_bare(session, texts),
    }
    session.compare(results, programs, needs={PGLOADER: "pgloader"})
    shutil.rmtree(texts)
    results.ratio(OURS, PGLOADER, name="migration, everything / pgloader", at_most=0.9)
    results.ratio(OURS, BARE, of=copy_and_build, name="migration, copy and build / bare `COPY`", at_most=1.0)
    results.ratio(OURS, PGLOADER, of=copy_and_build, name="migration, copy and build / pgloader")
    results.value("migration, largest process", OURS, lambda sample: sample.megabytes, unit="MB", at_most=100)


def copy_and_build(sample: Sample) -> float:
    return sample.parts["copy"] + sample.parts["build"]


def migrate(session: Session) -> Sample:
    sample = session.migrate(session.file, "ours")
    session.drop("ours")
    return sample


def load_with_pgloader(session: Session) -> Sample:
    with session.database(filled=False) as database:
        url = session.server.url(database)
        django(url, "migrate", "--verbosity", "0")
        names = ", ".join(f"'{name}'" for name in TABLES)
        script = session.folder / "migration.load"
        script.write_text(
            f"LOAD DATABASE FROM sqlite://{session.file} INTO {url}"
            " WITH data only, drop indexes, reset sequences, prefetch rows = 10000"
            f" INCLUDING ONLY TABLE NAMES LIKE {names};"
        )
        sample = session.run(["pgloader", "--quiet", script])
        compare_counts(rows_of_file(session.file), session.rows_of(database))
    return sample


def compare_counts(expected: dict[str, int], found: dict[str, int]) -> None:
    for table, rows in expected.items():
        if found[table] != rows:
            say(f"  note: {table} has {found[table]} of {rows} rows")


# --- COPY ---------------------------------------------------------------------------------------------------------
def prepare_texts(session: Session, texts: Path) -> None:
    """The rows in the text format of PostgreSQL, from a database that the command filled."""
    texts.mkdir()
    with session.connected(session.template) as connection, connection.cursor() as cursor:
        for table in TABLES:
            with (texts / table).open("wb") as file:
                cursor.copy_expert(f"COPY {table} TO STDOUT", file)


def copy_bare(session: Session, texts: Path) -> Sample:
    """Copy in this process, whose memory is not reported."""
    from ops.databases.postgres import constraints

    with session.database(filled=False) as database:
        django(session.server.url(database), "migrate", "--verbosity", "0")
        with stopwatch(session.server) as watch:
            start = time.perf_counter()
            with session.connected(database) as connection, connection.cursor() as cursor:
                parts = constraints.drop_indexes_and_keys(cursor, constraints.read_indexes_and_keys(cursor, TABLES))
                for table in TABLES:
                    cursor.execute(f"TRUNCATE {table}")
                    with (texts / table).open("rb") as rows:
                        cursor.copy_expert(f"COPY {table} FROM STDIN (FREEZE)", rows, size=1 << 20)
                copied = time.perf_counter() - start
                for part in (*parts.indexes, *parts.keys):
                    cursor.execute(part.create)
                cursor.execute("ANALYZE")
                connection.commit()
    build = watch.seconds - copied
    return msgspec.structs.replace(watch.sample, parts={"copy": round(copied, 3), "build": round(build, 3)})
