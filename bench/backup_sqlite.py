"""Backups and restores of SQLite.

A backup as the command makes it (snapshot, digests, compression, signature, and the verification, which reads
everything back) against sqlite3's ``.backup`` and ``VACUUM INTO``, which leave an uncompressed file, the former also
with gzip, and django-dbbackup. A restore without a backup before it (unpack, check, compare, migrate, swap) against
gunzip and django-dbbackup.
"""

import shutil
from pathlib import Path

from bench.backup import BACKUP, DBBACKUP, DBRESTORE, RESTORE, back_up, restore, run_dbbackup, size, writing
from bench.results import Results, Sample
from bench.session import PEERS, Session

COPY, VACUUM = "`sqlite3 .backup`", "`sqlite3 'VACUUM INTO'`"
GZIP, GUNZIP = "`sqlite3 .backup`, `gzip -6`", "`gunzip`"


def run(session: Session, results: Results) -> None:
    folder = session.folder / "backup-sqlite"
    folder.mkdir()
    file, copy, packed, vacuumed = (folder / name for name in ("lab.sqlite3", "copy", "copy.gz", "vacuumed"))
    shutil.copy(session.file, file)
    url, directory = f"sqlite:///{file}", str(folder / "backups")
    backups = {
        BACKUP: lambda: back_up(session, url, BACKUP_DIR=directory),
        COPY: writing(copy, lambda to: session.run(["sqlite3", file, f".backup {to}"])),
        GZIP: writing(packed, lambda to: session.pipe(f"sqlite3 {file} '.backup {copy}' && gzip -6 -c {copy} > {to}")),
        VACUUM: writing(vacuumed, lambda to: session.pipe(f"rm -f {to} && sqlite3 {file} \"VACUUM INTO '{to}'\"")),
        DBBACKUP: writing(
            folder / "dbbackup", lambda to: run_dbbackup(session, to, "dbbackup", DBBACKUP_SQLITE=str(file))
        ),
    }
    sqlite3 = dict.fromkeys((COPY, GZIP, VACUUM), "sqlite3")
    session.compare(results, backups, needs={**sqlite3, DBBACKUP: PEERS / "django-admin"})
    restored = folder / "restored"
    restores = {
        RESTORE: lambda: restore(session, url, BACKUP_DIR=directory),
        GUNZIP: lambda: session.pipe(f"gunzip -c {packed} > {restored}"),
        DBRESTORE: lambda: dbrestore(session, folder / "dbbackup", restored),
    }
    session.compare(results, restores, needs={GUNZIP: "sqlite3", DBRESTORE: PEERS / "django-admin"})
    shutil.rmtree(folder)
    results.ratio(BACKUP, GZIP, name=f"SQLite: backup, verified / {GZIP}")
    results.ratio(BACKUP, GZIP, of=size, to=size, name=f"SQLite: backup, bytes / {GZIP}")
    for other in (COPY, VACUUM, DBBACKUP):
        results.ratio(BACKUP, other, name=f"SQLite: backup, verified / {other}")
    for other in (GUNZIP, DBRESTORE):
        results.ratio(RESTORE, other, name=f"SQLite: restore, compared / {other}")


def dbrestore(session: Session, folder: Path, file: Path) -> Sample:
    file.unlink(missing_ok=True)
    return run_dbbackup(session, folder, "dbrestore", "--noinput", DBBACKUP_SQLITE=str(file))
