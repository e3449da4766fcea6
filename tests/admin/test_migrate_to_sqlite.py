"""The page of the migration to SQLite, and the file that it offers: who sees it, and until when it is there."""

import datetime as dt
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.utils import timezone

from ops import operations, tasks
from ops.admin import migrate_to_sqlite
from ops.engine_migration.plan import Skipped
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.operations.sqlite_files import find_file, new_path
from ops.runs.context import get_context
from ops.runs.results import FindingGroup, PreflightResult, SqliteMigrationResult
from ops.utils.schema import to_json
from tests.admin.support import add_run, messages_of, text

pytestmark = pytest.mark.django_db
LIST = "/admin/ops/backup/"
PAGE = f"{LIST}migrate-to-sqlite/"
NAME = "homerack_20261130_160000_3fa2.sqlite3"
TAKEN = dt.datetime(2026, 11, 30, 15, 59, 58, tzinfo=dt.UTC)
INFINITE = FindingGroup(table="brands", column="created_at", reason="infinite", count=2, keys=("7", "9"))
PHOTOS = Skipped(table="photos", rows=3, reason="no model has this table")
COLUMN = Skipped(table="devices.colour", rows=0, reason="no model has this column")
QUARANTINE, BY_HAND = "--quarantine refused/", "the database was written by another version of this code"
DOWNLOAD, DELETE = "Download the SQLite file", "Delete it from the server"


def preflight(*groups: FindingGroup, unknown: Sequence[Skipped] = (), reader: Any = "SQLite") -> PreflightResult:
    return PreflightResult(
        reader=reader,
        acceptable=not groups and not unknown,
        rows=1_200,
        size=10,
        estimate=3.0,
        tables=(),
        skipped=(),
        unknown=tuple(unknown),
        notes=(),
        findings=sum(group.count for group in groups),
        groups=groups,
        findings_file="/lab/findings.csv" if groups else "",
    )


def add_preflight(result: PreflightResult, **changes: Any) -> Run:
    stored: Any = to_json(result)
    return add_run(kind=Run.Kind.PREFLIGHT, result=stored, **{"origin": Run.Origin.ADMIN, **changes})


def add_migration(target: str = "", **changes: Any) -> Run:
    """A run of the admin that has made a file."""
    result = SqliteMigrationResult(target=target, tables=(), seconds={"copy": 2.0}, taken_at=TAKEN)
    values = {
        "kind": Run.Kind.MIGRATION_TO_SQLITE,
        "origin": Run.Origin.ADMIN,
        "host": socket.gethostname(),
        "result": to_json(result),
    }
    return add_run(**values | changes)


def add_file(storage: Path, name: str = NAME, *, days: float = 0) -> Path:
    """A file that was made so many `days` ago."""
    file = storage / "sqlite" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"SQLite format 3\0")
    when = (timezone.now() - dt.timedelta(days=days)).timestamp()
    os.utime(file, (when, when))
    return file


def path_of(run: Run) -> str:
    return f"/admin/ops/run/{run.pk}/change/"


def file_url(run: Run) -> str:
    return f"/admin/ops/run/{run.pk}/sqlite-file/"


# --- The page -------------------------------------------------------------------------------------------------------
def test_button_is_shown_to_administrators_on_postgresql(
    admin_client: Client, restorer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PAGE in text(admin_client.get(LIST))
    assert PAGE not in text(restorer.get(LIST))
    monkeypatch.setattr(migrate_to_sqlite, "connection", SimpleNamespace(vendor="sqlite"))
    assert PAGE not in text(admin_client.get(LIST))


@pytest.mark.parametrize(("method", "path"), [("get", PAGE), ("post", PAGE), ("post", f"{LIST}make-sqlite-file/")])
def test_nothing_is_offered_on_sqlite(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, queue: list[str], method: str, path: str
) -> None:
    monkeypatch.setattr(migrate_to_sqlite, "connection", SimpleNamespace(vendor="sqlite"))
    answer = getattr(admin_client, method)(path)
    assert messages_of(answer) == ["The database is a SQLite file already. There is nothing to migrate."]
    assert queue == []


@pytest.mark.usefixtures("queue")
def test_page_says_what_happens_before_it_does(admin_client: Client, settings: Any) -> None:
    settings.UNDO_KEEP_DAYS = 5
    page = text(admin_client.get(PAGE))
    for sentence in (
        "PostgreSQL is only read",
        "All or nothing",
        "Sessions are not migrated",
        "writes are blocked",
        "The preflight check shows how long it takes.",
        "the hashes of passwords",
        "It is kept for 5 days in",
        "Rows that are written after the file is made are only in PostgreSQL.",
    ):
        assert sentence in page
    assert DOWNLOAD not in page


def test_page_names_the_command_when_there_is_no_worker(admin_client: Client, settings: Any) -> None:
    settings.OPS_CELERY_APP = ""
    page = text(admin_client.get(PAGE))
    assert "manage.py migrate_to_sqlite --sqlite-path new.db</code>" in page
    assert "Run preflight check" not in page
    answer = admin_client.post(PAGE)
    assert messages_of(answer)[0].endswith("or run: manage.py migrate_to_sqlite --sqlite-path new.db --dry-run")


@pytest.mark.parametrize(
    ("result", "sentences", "advice"),
    [
        (preflight(), ["All 1,200 rows can be migrated as they are."], []),
        (preflight(INFINITE), ["SQLite would refuse or change 2 values."], [QUARANTINE]),
        (preflight(unknown=[PHOTOS]), ["1 table of the database has no model: photos."], ["--skip-table photos"]),
        (
            preflight(INFINITE, unknown=[PHOTOS, COLUMN]),
            [
                "SQLite would refuse or change 2 values.",
                "1 table of the database has no model: photos.",
                "1 column of the database has no field of a model: devices.colour.",
            ],
            [QUARANTINE, "--skip-table photos", BY_HAND],
        ),
    ],
    ids=["clean", "values", "table", "everything"],
)
@pytest.mark.usefixtures("queue")
def test_page_says_what_was_found_in_the_words_of_its_direction(
    admin_client: Client, result: PreflightResult, sentences: list[str], advice: list[str]
) -> None:
    add_preflight(result)
    page = text(admin_client.get(PAGE))
    assert f"<b>{' '.join(sentences)} </b>" in page
    for option in (QUARANTINE, "--skip-table", BY_HAND):
        assert (option in page) is any(option in one for one in advice)
    assert ("It will take about 3.0 s." in page) is result.acceptable
    assert ("/lab/findings.csv" in page) is bool(result.groups)
    assert "PostgreSQL would refuse" not in page


def test_pages_show_preflights_of_their_own_direction_and_of_the_live_database(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_preflight(preflight(reader="PostgreSQL"))
    add_preflight(preflight(), origin=Run.Origin.COMMAND)
    assert "can be migrated as they are" not in text(admin_client.get(PAGE))
    Run.objects.all().delete()
    add_preflight(preflight())
    monkeypatch.setattr("ops.admin.migrate.connection", SimpleNamespace(vendor="sqlite"))
    assert "can be migrated as they are" not in text(admin_client.get(f"{LIST}migrate-to-postgresql/"))


@pytest.mark.parametrize(
    ("path", "kind"), [(PAGE, Run.Kind.PREFLIGHT), (f"{LIST}make-sqlite-file/", Run.Kind.MIGRATION_TO_SQLITE)]
)
def test_click_queues_a_run_that_takes_no_path_from_the_request(
    admin_client: Client, queue: list[str], path: str, kind: Run.Kind
) -> None:
    admin_client.post(path, {"sqlite_path": "/etc/passwd", "path": "/etc/passwd", "prepared": "x"})
    run = Run.objects.get(kind=kind)
    assert (run.status, run.arguments, run.origin) == ("queued", {}, "admin")


@pytest.mark.parametrize("status", ["queued", "running"])
@pytest.mark.usefixtures("queue")
def test_page_leads_to_a_run_that_has_not_ended(admin_client: Client, status: str) -> None:
    run = add_migration(status=status, finished_at=None, result={})
    page = text(admin_client.get(PAGE))
    assert f"The migration to SQLite that ada@example.com requested at {run.requested_at:%H:%M} is {status}." in page
    assert f'href="{path_of(run)}"' in page


@pytest.mark.usefixtures("queue")
def test_page_shows_why_the_last_migration_failed(admin_client: Client) -> None:
    add_preflight(preflight())
    add_migration(status="failed", result={}, error="Rows of devices were written.", hint="Wait until it has ended.")
    page = text(admin_client.get(PAGE))
    assert "<b>Rows of devices were written.</b></p><p>Wait until it has ended.</p>" in page
    assert "can be migrated as they are" not in page


@pytest.mark.usefixtures("queue")
def test_findings_that_blocked_a_migration_are_shown_to_administrators_only(
    admin_client: Client, restorer: Client
) -> None:
    result = SqliteMigrationResult(
        target="", tables=(), seconds={}, taken_at=TAKEN, blocked_by=preflight(INFINITE, unknown=[PHOTOS])
    )
    run = add_migration(status="failed", error="Not all rows can be migrated.", result=to_json(result))
    for path in (PAGE, path_of(run)):
        page = text(admin_client.get(path))
        assert '<th scope="row">brands.created_at</th>' in page
        assert "/lab/findings.csv" in page
    page = text(restorer.get(path_of(run)))
    assert "SQLite would refuse or change 2 values." in page
    assert "brands.created_at" not in page


def test_page_of_a_run_leads_back_to_the_page_of_the_migration(admin_client: Client, restorer: Client) -> None:
    for run in (add_preflight(preflight()), add_migration(status="failed", result={})):
        assert f'href="{PAGE}">Migrate to SQLite…</a>' in text(admin_client.get(path_of(run)))
        assert PAGE not in text(restorer.get(path_of(run)))
    assert PAGE not in text(admin_client.get(path_of(add_run())))


# --- The file -------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("queue")
def test_file_is_offered_on_the_page_and_on_that_of_its_run(
    admin_client: Client, restorer: Client, storage: Path
) -> None:
    file = add_file(storage)
    run = add_migration(str(file))
    for path in (PAGE, path_of(run)):
        page = text(admin_client.get(path))
        assert file_url(run) in page
        assert DELETE in page
        assert f"<code>{file}</code>" in page
        assert "Rows that are written after 2026-11-30 15:59:58 UTC are only in PostgreSQL." in page
    page = text(restorer.get(path_of(run)))
    assert DOWNLOAD not in page
    assert file_url(run) not in page


def test_part_of_the_page_that_needs_no_session_does_not_offer_the_file(admin_client: Client, storage: Path) -> None:
    run = add_migration(str(add_file(storage)))
    page = text(admin_client.get(path_of(run)))
    fragment = page.partition('data-status-url="')[2].partition('"')[0]
    for address in (fragment, fragment.removesuffix("state/")):
        assert file_url(run) not in text(Client().get(address))


def test_download_is_the_file_and_is_recorded(admin_client: Client, storage: Path) -> None:
    file = add_file(storage)
    run = add_migration(str(file))
    answer: Any = admin_client.post(file_url(run))
    assert b"".join(answer.streaming_content) == file.read_bytes()
    assert answer["Content-Disposition"] == f'attachment; filename="{NAME}"'
    assert answer["Content-Length"] == str(file.stat().st_size)
    record = Run.objects.get(kind=Run.Kind.SQLITE_DOWNLOAD)
    assert (record.status, record.requested_by, record.arguments) == ("succeeded", "admin@example.com", {"file": NAME})
    events = [event for event in get_context().repository.events() if event["kind"] == "sqlite_download"]
    assert [event["requested_by"] for event in events] == ["admin@example.com"]


def test_file_is_found_where_this_process_has_backup_dir(admin_client: Client, storage: Path) -> None:
    """The worker may be another container, in which the same volume has another path."""
    file = add_file(storage)
    answer: Any = admin_client.post(file_url(add_migration(f"/elsewhere/sqlite/{NAME}", host="worker")))
    assert b"".join(answer.streaming_content) == file.read_bytes()


NO_FILE = "This run has made no SQLite file."


@pytest.mark.parametrize(
    ("target", "changes", "message"),
    [
        ("/etc/passwd", {}, NO_FILE),
        (f"/lab/..\\{NAME}", {}, NO_FILE),
        ("/lab/homerack_20261130_160000.sql.gz", {}, NO_FILE),
        ("/lab/..", {}, NO_FILE),
        (f"/lab/{NAME}", {"origin": "command"}, NO_FILE),
        (f"/lab/{NAME}", {"status": "failed"}, NO_FILE),
        (f"/lab/{NAME}", {"kind": "preflight"}, NO_FILE),
        (
            f"/lab/{NAME.replace('homerack', 'other')}",
            {},
            f"The file {NAME.replace('homerack', 'other')} is no longer there.",
        ),
    ],
)
def test_only_a_file_that_such_a_run_has_made_can_be_downloaded(
    admin_client: Client, storage: Path, target: str, changes: dict[str, str], message: str
) -> None:
    add_file(storage)
    (storage / "homerack_20261130_160000.sql.gz").write_bytes(b"a backup")
    answer = admin_client.post(file_url(add_migration(target, **changes)))
    assert messages_of(answer)[0].startswith(message)
    assert not Run.objects.filter(kind=Run.Kind.SQLITE_DOWNLOAD).exists()


def test_link_in_place_of_the_file_is_not_followed(admin_client: Client, storage: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    link = storage / "sqlite" / NAME
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    run = add_migration(str(link))
    assert "symbolic link" in messages_of(admin_client.post(file_url(run)))[0]
    assert DOWNLOAD not in text(admin_client.get(path_of(run)))


@pytest.mark.parametrize(
    ("host", "folder", "days", "is_elsewhere"),
    [
        ("worker-1", "", 0, True),
        ("worker-1", "", 4, False),
        (socket.gethostname(), "", 0, False),
        (socket.gethostname(), "/lab", 0, True),
    ],
    ids=["another machine", "expired", "this machine", "another directory"],
)
@pytest.mark.usefixtures("queue")
def test_page_says_where_a_file_is_that_it_does_not_see(
    admin_client: Client, storage: Path, host: str, folder: str, days: int, is_elsewhere: bool
) -> None:
    when = timezone.now() - dt.timedelta(days=days)
    target = f"{folder or storage}/sqlite/{NAME}"
    run = add_migration(target, host=host, requested_at=when, finished_at=when)
    for path in (PAGE, path_of(run)):
        page = text(admin_client.get(path))
        assert ("the site cannot read the BACKUP_DIR of the worker" in page) is is_elsewhere
        assert (f"The worker on {host} has it as <code>{target}</code>" in page) is is_elsewhere
        assert ("has been deleted" in page) is not is_elsewhere
        assert page.count("Next steps") == (1 if path == PAGE or is_elsewhere else 0)
        assert file_url(run) not in page


def test_directory_that_the_site_may_not_read_is_no_deleted_file(
    admin_client: Client, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = add_migration(str(add_file(storage)))
    monkeypatch.setattr("ops.admin.migrate_to_sqlite.find_file", lambda _name: None)  # root may read everything
    monkeypatch.setattr("ops.admin.migrate_to_sqlite.would_be_seen", lambda _path: False)
    page = text(admin_client.get(path_of(run)))
    assert "the site cannot read the BACKUP_DIR of the worker" in page


@pytest.mark.usefixtures("queue")
def test_file_of_another_machine_is_known_to_be_deleted(admin_client: Client) -> None:
    run = add_migration(f"/lab/sqlite/{NAME}", host="worker-1")
    add_run(kind=Run.Kind.SQLITE_DELETION)
    assert "has been deleted" in text(admin_client.get(path_of(run)))


# --- Deletion -------------------------------------------------------------------------------------------------------
def delete(**arguments: Any) -> Any:
    return operations.delete_sqlite_files(get_context(), Run(kind=Run.Kind.SQLITE_DELETION, arguments=arguments))


@pytest.mark.django_db(transaction=True)
class TestDeletion:
    def test_button_queues_the_deletion_for_the_worker(self, admin_client: Client, queue: list[str]) -> None:
        admin_client.post(f"{LIST}delete-sqlite-file/")
        run = Run.objects.get()
        assert (run.kind, run.arguments, queue) == ("sqlite_deletion", {}, [str(run.pk)])

    def test_files_are_deleted_and_nothing_else(self, storage: Path) -> None:
        files = [add_file(storage), add_file(storage, NAME.replace("homerack", "other"))]
        others = [add_file(storage, "mine.sqlite3"), storage / NAME]
        others[1].write_bytes(b"the copy of a migrated file")
        result = delete()
        assert sorted(result.files) == sorted(file.name for file in files)
        assert result.size == 32
        assert [file.exists() for file in [*files, *others]] == [False, False, True, True]

    def test_schedule_deletes_files_that_have_expired(self, storage: Path) -> None:
        file = add_file(storage, days=2.9)
        tasks.drop_expired_previous()
        assert (file.exists(), Run.objects.count()) == (True, 0)
        add_file(storage, days=3.1)
        tasks.drop_expired_previous()
        run = Run.objects.get()
        assert (file.exists(), run.kind, run.origin) == (False, "sqlite_deletion", "schedule")

    @pytest.mark.parametrize("is_named", [True, False], ids=["named in the settings", "open"])
    def test_file_that_is_a_live_database_is_never_deleted(
        self, storage: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool
    ) -> None:
        file = add_file(storage, days=10)
        if is_named:
            monkeypatch.setitem(django_settings.DATABASES, "other", {"NAME": str(file)})
        else:
            file.with_name(f"{NAME}-wal").touch()
        tasks.drop_expired_previous()
        assert not Run.objects.exists()
        with pytest.raises(PreconditionFailed, match=r"has .* open as its database") as refusal:
            delete()
        assert "move the file out of BACKUP_DIR" in refusal.value.hint
        assert file.exists()


@pytest.mark.parametrize(
    ("database", "stem"), [("lab", "lab"), ("../../etc/x", "______etc_x"), ("ü" * 200, "_" * 100), ("", "database")]
)
def test_name_of_the_file_is_found_again_whatever_the_database_is_called(
    storage: Path, database: str, stem: str
) -> None:
    path = new_path(database)
    assert path.parent == storage / "sqlite"
    assert path.name.startswith(f"{stem}_2")
    path.touch()
    assert find_file(path.name)


def test_link_in_place_of_the_directory_is_refused(storage: Path, tmp_path: Path) -> None:
    storage.mkdir(parents=True, exist_ok=True)
    (storage / "sqlite").symlink_to(tmp_path)
    with pytest.raises(PreconditionFailed, match="it is a symbolic link"):
        new_path("lab")
