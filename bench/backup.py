"""Backups and restores of PostgreSQL.

A backup as the command makes it (snapshot, digests, dump, compression, signature, and the verification, which reads
everything back and counts it) against `pg_dump` and django-dbbackup, which verify nothing. A restore without a backup
before it (load, compare, migrate, swap) against loading the same rows into an empty database with psql, pg_restore and
django-dbbackup, followed by the ANALYZE that the restore includes.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.lab_file import rows_of_file
from bench.measuring import Program
from bench.migrate import compare_counts
from bench.results import Results, Sample
from bench.session import PEERS, Session

BACKUP, RESTORE = "`backup_database`, verified", "`restore_database`, compared"
GZIP, GUNZIP = "`pg_dump \\| gzip -6`", "`gunzip \\| psql -1`"
CUSTOM, DIRECTORY = "`pg_dump -Fc`", "`pg_dump -Fd -j 2`"
DBBACKUP, DBRESTORE = "django-dbbackup: `dbbackup`", "django-dbbackup: `dbrestore`"
ANALYZE = 'psql -q -c "ANALYZE"'


def run(session: Session, results: Results) -> None:
    folder = session.folder / "backup"
    folder.mkdir()
    dbbackup = PEERS / "django-admin"
    with session.database() as database:
        url, directory = session.server.url(database), str(folder / "backups")
        backups = {
            BACKUP: lambda: back_up(session, url, BACKUP_DIR=directory),
            GZIP: writing(folder / "plain.sql.gz", lambda to: session.pipe(f"pg_dump {database} | gzip -6 > {to}")),
            CUSTOM: writing(folder / "custom", lambda to: session.run(["pg_dump", "-Fc", "-f", to, database])),
            DIRECTORY: writing(
                folder / "directory", lambda to: session.run(["pg_dump", "-Fd", "-j2", "-f", to, database])
            ),
            DBBACKUP: writing(
                folder / "dbbackup", lambda to: run_dbbackup(session, to, "dbbackup", PGDATABASE=database)
            ),
        }
        session.compare(results, backups, needs={DBBACKUP: dbbackup})
        unpack = f"gunzip -c {folder}/plain.sql.gz | psql -q -1 -v ON_ERROR_STOP=1"
        pg_restore = 'pg_restore -j 2 -d "$PGDATABASE"'
        restores = {
            RESTORE: lambda: restore(session, url, BACKUP_DIR=directory),
            GUNZIP: loading(session, unpack),
            "`pg_restore -j 2` of `-Fc`": loading(session, f"{pg_restore} {folder}/custom"),
            "`pg_restore -j 2` of `-Fd`": loading(session, f"{pg_restore} {folder}/directory"),
            DBRESTORE: lambda: dbrestore(session, folder / "dbbackup"),
        }
        session.compare(results, restores, needs={DBRESTORE: dbbackup})
    shutil.rmtree(folder)
    results.ratio(BACKUP, GZIP, name=f"backup, verified / {GZIP}", at_most=0.45)
    results.ratio(BACKUP, GZIP, of=size, to=size, name=f"backup, bytes / {GZIP}", at_most=1.08)
    for other in (CUSTOM, DIRECTORY, DBBACKUP):
        results.ratio(BACKUP, other, name=f"backup, verified / {other}")
    results.ratio(RESTORE, GUNZIP, name=f"restore, compared / {GUNZIP}", at_most=0.9)
    for other in restores:
        if other not in {RESTORE, GUNZIP}:
            results.ratio(RESTORE, other, name=f"restore, compared / {other}")
    for name, program in (("backup", BACKUP), ("restore", RESTORE)):
        results.value(f"{name}, largest process", program, lambda sample: sample.megabytes, unit="MB", at_most=100)


def size(sample: Sample) -> float:
    return sample.size


def back_up(session: Session, url: str, **variables: str) -> Sample:
    sample, document = session.operate(url, "backup_database", **variables)
    return msgspec.structs.replace(sample, size=document["size"])


def restore(session: Session, url: str, *arguments: str, **variables: str) -> Sample:
    return session.operate(url, "restore_database", "--latest", "--yes", "--no-pre-backup", *arguments, **variables)[0]


def writing(path: Path, program: Callable[[Path], Sample]) -> Program:
    """`program` writes a file, or a directory of files, at `path`."""

    def run_and_weigh() -> Sample:
        if path.is_dir():
            shutil.rmtree(path)
        sample = program(path)
        files = path.iterdir() if path.is_dir() else [path]
        return msgspec.structs.replace(sample, size=sum(file.stat().st_size for file in files))

    return run_and_weigh


def loading(session: Session, command: str) -> Program:
    """The shell `command` fills an empty database, PGDATABASE, which is analyzed."""

    def run_into_empty_database() -> Sample:
        with session.database(filled=False) as database:
            sample = session.pipe(f"{command} && {ANALYZE}", PGDATABASE=database)
            compare_counts(rows_of_file(session.file), session.rows_of(database))
        return sample

    return run_into_empty_database


def dbrestore(session: Session, folder: Path) -> Sample:
    with session.database(filled=False) as database:
        loaded = run_dbbackup(session, folder, "dbrestore", "--noinput", PGDATABASE=database)
        sample = loaded + session.pipe(ANALYZE, PGDATABASE=database)
        compare_counts(rows_of_file(session.file), session.rows_of(database))
    return sample


def run_dbbackup(session: Session, folder: Path, *arguments: str, **variables: str) -> Sample:
    folder.mkdir(exist_ok=True)
    settings = {"DJANGO_SETTINGS_MODULE": "bench.dbbackup_settings", "DBBACKUP_DIRECTORY": str(folder)}
    return session.run([PEERS / "python", "-m", "django", *arguments], **settings, **variables)
