"""A backup with an encrypted copy in a second location against the usual pipe, and the copy alone.

- a backup as the command makes it (verified by reading it back), and its copy in a second directory: encrypted for two
  keys, written, read back and compared;
- ``pg_dump | gzip -6 | age`` for two keys followed by ``rclone copy`` to a second directory, which compares nothing but
  sizes; both need Debian's `age` and `rclone`;
- of the same file: `copy_backups` to a directory that is not encrypted, and ``cp`` with ``sync``.
"""

import shutil
from pathlib import Path

import msgspec
import pyrage

from bench.results import Results, Sample
from bench.session import Session, recorded

OURS, PIPE = "backup and encrypted copy, verified", "`pg_dump \\| gzip -6 \\| age` and `rclone copy`"
PLAIN, CP = "`copy_backups` of one backup, read back", "`cp` and `sync` of the same file"


def run(session: Session, results: Results) -> None:
    folder = session.folder / "copies"
    folder.mkdir()
    machine, person = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    keys = [str(machine.to_public()), str(person.to_public())]
    variables = {
        "BACKUP_DIR": f"{folder}/backups",
        "BACKUP_LOCATIONS": "second",
        "BACKUP_LOCATION_SECOND": f"{folder}/second",
        "BACKUP_AGE_IDENTITY": str(machine),
        "BACKUP_AGE_RECIPIENTS": keys[1],
    }
    with session.database() as database:
        url = session.server.url(database)
        programs = {
            OURS: lambda: back_up_and_copy(session, url, variables),
            PIPE: lambda: dump_and_copy(session, database, folder, keys),
        }
        needs = {PIPE: "age"} if shutil.which("rclone") else {PIPE: "rclone"}
        session.compare(results, programs, needs=needs)
        plain = {
            PLAIN: lambda: copy_one(session, url, folder, variables),
            CP: lambda: copy_file(session, newest(folder), folder),
        }
        session.compare(results, plain)
    shutil.rmtree(folder)
    results.ratio(OURS, PIPE, name=f"backup and encrypted copy / {PIPE}", at_most=1.0)
    results.ratio(PLAIN, CP, name=f"copy of a backup, read back / {CP}")


def newest(folder: Path) -> Path:
    return max((folder / "backups").glob("*.sql.gz"))


def back_up_and_copy(session: Session, url: str, variables: dict[str, str]) -> Sample:
    sample, document = session.operate(url, "backup_database", **variables)
    seconds, _ = recorded(url, document["copies"]["run"])
    return msgspec.structs.replace(sample, seconds=sample.seconds + seconds, parts={"copy": seconds})


def dump_and_copy(session: Session, database: str, folder: Path, keys: list[str]) -> Sample:
    first, second = folder / "theirs", folder / "theirs-second"
    shutil.rmtree(first, ignore_errors=True)
    shutil.rmtree(second, ignore_errors=True)
    first.mkdir()
    file, recipients = first / "lab.sql.gz.age", " ".join(f"-r {key}" for key in keys)
    dump = f"pg_dump {database} | gzip -6 | age {recipients} > {file} && sync {file}"
    return session.pipe(f"{dump} && rclone copy --config /dev/null {first} {second}")


def copy_one(session: Session, url: str, folder: Path, variables: dict[str, str]) -> Sample:
    """Copy the newest backup, the only one of a directory, to an empty location."""
    source, target = folder / "one", folder / "plain"
    shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    source.mkdir(mode=0o700)
    for path in (folder / "backups").glob(f"{newest(folder).name}*"):
        shutil.copy(path, source)
    location = {
        "BACKUP_DIR": str(source),
        "BACKUP_LOCATIONS": "plain",
        "BACKUP_LOCATION_PLAIN": str(target),
        "BACKUP_LOCATION_PLAIN_ENCRYPTED": "false",
    }
    return session.operate(url, "copy_backups", **variables | location)[0]


def copy_file(session: Session, file: Path, folder: Path) -> Sample:
    return session.pipe(f"cp {file} {folder}/cp && sync {folder}/cp")
