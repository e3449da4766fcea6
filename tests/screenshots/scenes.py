"""The sites in the pictures. Each scene yields a running site and the addresses of pages that are found in it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg2
import pyrage

from tests.screenshots.site import PictureSite
from tests.support.bucket import KEYS, NAME, s3_server
from tests.support.postgres import PostgresServer
from tests.support.sshd import sshd_server

HISTORY = "from tests.screenshots import history\n"
BACKUP = """
from ops.models import Backup
print(f"/admin/ops/backup/{Backup.objects.good().order_by('-taken_at')[0].pk}/")
"""
Pages = Mapping[str, str]
"""Paths by name."""
Scene = Callable[[Path], "contextlib.AbstractContextManager[tuple[PictureSite, Pages]]"]


def keys() -> dict[str, str]:
    machine, person = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    return {"BACKUP_AGE_IDENTITY": str(machine), "BACKUP_AGE_RECIPIENTS": str(person.to_public())}


@contextlib.contextmanager
def calm(folder: Path) -> Iterator[tuple[PictureSite, Pages]]:
    """Seven weeks of backups on SQLite, in one place, and nothing to worry about."""
    site = PictureSite(folder)
    site.prepare()
    site.shell(f"{HISTORY}history.fill()")
    backup = site.shell(BACKUP).strip()
    with site.served():
        yield site, {"backup": f"{backup}change/", "restore": f"{backup}restore/"}


@contextlib.contextmanager
def restored(folder: Path) -> Iterator[tuple[PictureSite, Pages]]:
    """After a restore, during another one, and after a preflight check that found a table without a model."""
    site = PictureSite(folder)
    site.prepare()
    site.shell(f"{HISTORY}history.fill(nights=8)")
    result = site.shell(f"{HISTORY}print(history.restore())").strip()
    site.shell(f"{HISTORY}history.preflight()")
    with site.served():
        running = site.shell(f"{HISTORY}print(history.add_running())").strip()
        yield site, {"result": result, "running": running}


@contextlib.contextmanager
def elsewhere(folder: Path) -> Iterator[tuple[PictureSite, Pages]]:
    """Copies in a directory, on an SFTP server that does not answer any more, and in a bucket; one is damaged."""
    with sshd_server() as nas, s3_server() as bucket:
        settings = {
            **keys(),
            "BACKUP_LOCATIONS": "disk nas cloud",
            "BACKUP_LOCATION_DISK": str(folder / "disk"),
            "BACKUP_LOCATION_DISK_ENCRYPTED": "false",
            "BACKUP_LOCATION_NAS": f"sftp://{nas.user}@127.0.0.1:{nas.port}{nas.files}",
            "BACKUP_LOCATION_NAS_HOST_KEY": nas.host_key,
            "BACKUP_LOCATION_NAS_IDENTITY_FILE": str(nas.identity_file),
            "BACKUP_LOCATION_CLOUD": f"s3://{NAME}/rack",
            "BACKUP_LOCATION_CLOUD_ENDPOINT": bucket.endpoint,
            "BACKUP_LOCATION_CLOUD_REGION": "us-east-1",
            "BACKUP_LOCATION_CLOUD_ACCESS_KEY": KEYS["aws_access_key_id"],
            "BACKUP_LOCATION_CLOUD_SECRET_KEY": KEYS["aws_secret_access_key"],
        }
        site = PictureSite(folder, settings)
        site.prepare()
        site.shell(f"{HISTORY}history.add_kits()")
        site.shell(f"{HISTORY}history.fill(nights=3); history.copy()")
        nas.stop()
        site.shell(f"{HISTORY}history.copy()")
        damage(folder / "disk")
        site.shell(f"{HISTORY}history.verify_copy('disk')")
        backup = site.shell("from ops.models import Backup; print(Backup.objects.order_by('-taken_at')[0].pk)").strip()
        with site.served():
            yield site, {"backup": f"/admin/ops/backup/{backup}/change/"}


def damage(directory: Path) -> None:
    newest = max(path for path in directory.iterdir() if path.name.endswith(".sqlite3.gz"))
    content = newest.read_bytes()
    newest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@contextlib.contextmanager
def on_postgresql(folder: Path) -> Iterator[tuple[PictureSite, Pages]]:
    """After a migration to a SQLite file, which waits to be downloaded."""
    server = PostgresServer.start()
    try:
        with contextlib.closing(psycopg2.connect(server.url("postgres"))) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("CREATE DATABASE lab")
        site = PictureSite(folder, {"DATABASE_URL": server.url("lab"), "PG_BIN": str(server.binaries)})
        site.prepare()
        site.shell(f"{HISTORY}history.migrate_to_sqlite()")
        with site.served():
            yield site, {}
    finally:
        server.stop()


SCENES: Mapping[str, Scene] = {
    "calm": calm,
    "restored": restored,
    "elsewhere": elsewhere,
    "on_postgresql": on_postgresql,
}
