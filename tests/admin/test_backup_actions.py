"""Actions on one backup, with a real storage: download, pin, note, delete, upload, restore."""

import gzip
import os
import re
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone

from homerack.accounts.models import User
from homerack.inventory.models import Brand
from ops import operations, tasks
from ops.admin.base import PAGE_LOAD
from ops.backups.engines.base import PreviousDatabase
from ops.backups.engines.postgresql.database_swap import DatabaseSwap
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.sources import UNKNOWN_ORIGIN
from ops.conf import conf
from ops.models import Backup, Run
from ops.runs import index
from ops.runs.context import get_context, repository_from_settings
from ops.utils import clock
from tests.admin.support import messages_of, text
from tests.backups import factories
from tests.otherproject.models import Tag

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/ops/backup/"
PASSWORD = "a-password-of-the-tests"

HALF_A_DUMP = gzip.compress(b"--\n-- PostgreSQL database dump\n--\n", mtime=0)


def back_up(**arguments: Any) -> Backup:
    """A real backup of the test database."""
    request = Run(kind=Run.Kind.BACKUP, requested_by="ada@example.com", origin=Run.Origin.COMMAND, arguments=arguments)
    return Backup.objects.get(name=operations.back_up(get_context(), request).backup)


@cache
def dump() -> bytes:
    """The project's tables, without users."""
    database = os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{connection.settings_dict['NAME']}"
    command = [str(Path(os.environ["PG_BIN"], "pg_dump")), "--exclude-table-data=accounts_*", database]
    return subprocess.run(command, capture_output=True, check=True).stdout


def stored_backup(**values: Any) -> Backup:
    """A backup of which no test looks at the content."""
    record = factories.backup(repository_from_settings(), taken_at=timezone.now(), **values)
    index.write_backup(record)
    return Backup.objects.get(name=record.name)


@pytest.fixture
def admin() -> Client:
    user = User.objects.create_superuser("ada@example.com", PASSWORD)
    client = Client()
    client.force_login(user)
    return client


class TestDownload:
    def test_download_streams_the_file_and_records_the_user(self, admin: Client, storage: Path) -> None:
        backup = stored_backup()
        answer = admin.post(f"{LIST}{backup.pk}/download/")
        assert answer.streaming
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{backup.name}"'
        assert int(answer.headers["Content-Length"]) == backup.size
        assert answer.getvalue() == (storage / backup.name).read_bytes()
        run = Run.objects.get(kind="download")
        assert (run.requested_by, run.status, run.backup) == ("ada@example.com", "succeeded", backup.name)
        events = get_context().repository.events(str(run.pk))
        assert [event["event"] for event in events] == ["ended"]

    def test_download_shows_error_when_data_file_is_missing(self, admin: Client, storage: Path) -> None:
        backup = stored_backup()
        (storage / backup.name).unlink()
        answer = admin.post(f"{LIST}{backup.pk}/download/")
        assert answer.status_code == 302
        assert "Its data file is missing." in messages_of(answer)[0]
        assert not Run.objects.filter(kind="download").exists()


class TestNotes:
    def test_pin_and_unpin_change_manifest_and_row(self, admin: Client) -> None:
        backup = stored_backup()
        for value, kept in (("yes", True), ("no", False)):
            admin.post(f"{LIST}{backup.pk}/pin/", {"set": value})
            backup.refresh_from_db()
            manifest = get_context().repository.get(backup.name).manifest
            assert manifest
            assert (backup.pinned, manifest.pinned) == (kept, kept)
        assert list(Run.objects.filter(kind="change").values_list("requested_by", flat=True)) == ["ada@example.com"] * 2

    @pytest.mark.parametrize(
        ("note", "pinned", "sentences"),
        [
            (
                "before the move",
                False,
                ["The retention policy applies to the backup.", "Its note is “before the move”."],
            ),
            ("before the move", True, ["The backup is pinned.", "Its note is “before the move”."]),
            ("", False, ["The retention policy applies to the backup.", "It has no note."]),
        ],
    )
    def test_page_of_the_run_tells_the_note_and_whether_the_backup_is_pinned(
        self, admin: Client, note: str, *, pinned: bool, sentences: list[str]
    ) -> None:
        backup = stored_backup(pinned=pinned, note="old")
        admin.post(f"{LIST}{backup.pk}/note/", {"note": note})
        page = text(admin.get(f"/admin/ops/run/{Run.objects.get(kind='change').pk}/change/"))
        assert "".join(f"<li>{sentence}</li>" for sentence in sentences) in page

    def test_note_is_escaped_on_the_page_of_the_backup(self, admin: Client) -> None:
        backup = stored_backup()
        admin.post(f"{LIST}{backup.pk}/note/", {"note": " <script>alert(1)</script> "})
        page = admin.get(f"{LIST}{backup.pk}/change/").content.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert(1)" not in page


class TestDeleting:
    def test_delete_asks_first_and_then_removes_all_files(self, admin: Client, storage: Path) -> None:
        old, new = stored_backup(), stored_backup()
        path = f"{LIST}{old.pk}/delete/"
        assert "This cannot be undone." in text(admin.get(path))
        assert (storage / old.name).exists()
        assert messages_of(admin.post(path)) == [f"{old.name} was deleted."]
        assert not list(storage.glob(f"{old.name}*"))
        assert list(Backup.objects.values_list("name", flat=True)) == [new.name]
        assert Run.objects.get(kind="deletion").backup == old.name

    def test_delete_refuses_the_last_verified_backup(self, admin: Client, storage: Path) -> None:
        backup = stored_backup()
        path = f"{LIST}{backup.pk}/delete/"
        assert "This is the last verified backup, and it is never deleted." in text(admin.get(path))
        refusal = f"{backup.name} is the last verified backup. Nothing was deleted."
        assert messages_of(admin.post(path)) == [f"{refusal} Create another verified backup first."]
        assert (storage / backup.name).exists()


class TestUploading:
    def send(self, admin: Client, content: bytes, name: str = "mine.sql.gz") -> Any:
        return admin.post(f"{LIST}upload/", {"file": SimpleUploadedFile(name, content)})

    def test_upload_is_added_as_unverified_and_untrusted(self, admin: Client, storage: Path) -> None:
        content = gzip.compress(dump())
        answer = self.send(admin, content)
        upload = Backup.objects.get(origin="upload")
        assert messages_of(answer) == [f"{upload.name} was added. It is unverified and not trusted."]
        assert (upload.created_by, upload.verified_level, upload.note) == (
            "ada@example.com",
            "",
            "Uploaded as mine.sql.gz",
        )
        entry = get_context().repository.get(upload.name)
        assert entry.manifest
        assert entry.manifest.untrusted
        assert gzip.decompress((storage / upload.name).read_bytes()) == dump()
        page = text(admin.get(f"{LIST}{upload.pk}/change/"))
        assert "This file was uploaded." in page
        assert "untrusted" in page

    def test_verified_upload_does_not_count_as_last_verified_backup(self, admin: Client) -> None:
        backup = stored_backup()
        self.send(admin, dump())
        upload = Backup.objects.get(origin="upload")
        asked = Run(
            kind=Run.Kind.VERIFICATION,
            requested_by="ada",
            origin=Run.Origin.ADMIN,
            arguments={"names": [upload.name]},
        )
        operations.verify(get_context(), asked)
        upload.refresh_from_db()
        assert upload.verified_level == "read"
        answer = admin.post(f"{LIST}{backup.pk}/delete/")
        assert "is the last verified backup" in messages_of(answer)[-1]

    def test_upload_can_be_restored_by_administrators_only(
        self, admin: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ops.backups.engines.postgresql.untrusted.require_ordinary_role", lambda _server: None)
        self.send(admin, dump())
        upload = Backup.objects.get(origin="upload")
        page = text(admin.get(f"{LIST}{upload.pk}/restore/"))
        assert UNKNOWN_ORIGIN in page
        User.objects.update(is_superuser=False)
        user = User.objects.get()
        user.user_permissions.set(Permission.objects.filter(codename__in=["view_backup", "restore_backup"]))
        assert admin.get(f"{LIST}{upload.pk}/restore/").status_code == 403

    @pytest.mark.parametrize(("worker", "limit"), [("", 500), ("", 0), ("homerack.celery.app", 0)])
    def test_commands_on_the_restore_page_of_an_upload_accept_an_untrusted_file(
        self, admin: Client, storage: Path, settings: Any, monkeypatch: pytest.MonkeyPatch, worker: str, limit: int
    ) -> None:
        monkeypatch.setattr("ops.backups.engines.postgresql.untrusted.require_ordinary_role", lambda _server: None)
        backup = back_up()
        self.send(admin, (storage / backup.name).read_bytes())
        settings.OPS_CELERY_APP = worker
        monkeypatch.setattr("ops.admin.restore.MAX_PREVIEW_SIZE", limit * 1_000_000)
        for entry, option in ((Backup.objects.get(origin="upload"), " --untrusted"), (backup, "")):
            page = text(admin.get(f"{LIST}{entry.pk}/restore/"))
            found = re.findall("<code>(manage.py restore_database [^<]*)</code>", page)
            assert set(found) == {f"manage.py restore_database {entry.name}{option}"}

    def test_command_instead_of_a_restore_accepts_an_untrusted_file(
        self, admin: Client, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ops.backups.engines.postgresql.untrusted.require_ordinary_role", lambda _server: None)
        self.send(admin, dump())
        upload = Backup.objects.get(origin="upload")
        settings.OPS_CELERY_APP = ""
        form = {"database": get_context().engine.database, "password": PASSWORD}
        message = messages_of(admin.post(f"{LIST}{upload.pk}/restore/", form))[-1]
        assert message.endswith(f"or run: manage.py restore_database {upload.name} --untrusted")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"no dump at all", "is a text file, neither a dump of PostgreSQL nor a SQLite file. Nothing was kept."),
            (HALF_A_DUMP, "cannot be restored. The dump is truncated: its end is missing. Nothing was kept. "),
            (HALF_A_DUMP[:-9], "is truncated: it ends within its compressed data. Nothing was kept. Copy it again"),
            (b"\x1f\x8bbroken" * 9, "is damaged: "),
            (b"", "is empty. Nothing was kept."),
        ],
        ids=["text", "half a dump", "half a gzip file", "damaged", "empty"],
    )
    def test_upload_of_other_content_is_refused_and_removed(
        self, admin: Client, storage: Path, content: bytes, message: str
    ) -> None:
        answer = self.send(admin, content, "notes.txt")
        assert answer.status_code == 200
        (shown,) = messages_of(answer)
        assert shown.startswith(f"notes.txt {message}")
        assert not Backup.objects.exists()
        assert not list(storage.glob("homerack_*"))

    def test_upload_without_migrations_is_refused(self, admin: Client) -> None:
        content = re.sub(rb"COPY public\.django_migrations .*?\n\\\.\n", b"", dump(), flags=re.DOTALL)
        (message,) = messages_of(self.send(admin, gzip.compress(content)))
        expected = "mine.sql.gz has no table django_migrations: it is not a database of this site. Nothing was kept."
        assert message.startswith(expected)
        assert not Backup.objects.exists()

    def test_restore_page_of_an_upload_without_migrations_offers_no_restore(
        self, admin: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.send(admin, gzip.compress(dump()))
        upload = Backup.objects.get(origin="upload")
        # The tests connect as a superuser, which loads no untrusted file.
        monkeypatch.setattr("ops.admin.restore.require_restorable", lambda *_source, **_options: None)
        monkeypatch.setattr("ops.backups.preview.rows_in_backup", lambda _engine, _source: {"lab": 3})
        page = text(admin.get(f"{LIST}{upload.pk}/restore/"))
        assert f"{upload.name} has no table django_migrations: it is not a database of this site." in page
        assert 'name="password"' not in page

    def test_upload_of_sqlite_file_is_refused_on_postgresql(self, admin: Client) -> None:
        (message,) = messages_of(self.send(admin, b"SQLite format 3\x00" + bytes(100), "lab.db"))
        assert message.startswith("lab.db is a SQLite file, but the live database is PostgreSQL. Nothing was kept.")

    def test_upload_above_the_limit_is_refused(self, admin: Client, settings: Any) -> None:
        settings.OPS_UPLOAD_LIMIT = 100_000
        assert conf.OPS_UPLOAD_LIMIT == 100_000
        (message,) = messages_of(self.send(admin, bytes(300_000)))
        assert message.startswith("The file is larger than 100 kB. Nothing was kept.")
        assert not Run.objects.exists()

    @pytest.mark.parametrize("step", ["count_rows", "from_open_file", "require_same_engine"])
    def test_upload_has_no_name_on_the_disk(
        self, admin: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str
    ) -> None:
        """The system deletes it even if the site is killed while the file is read or stored."""
        settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path / "uploads")
        (tmp_path / "uploads").mkdir()
        content = dump()
        upload = import_module("ops.operations.upload")
        real, seen = getattr(upload, step), list[Any]()

        def look(*arguments: Any, **named: Any) -> Any:
            seen.append(list((tmp_path / "uploads").iterdir()))
            return real(*arguments, **named)

        monkeypatch.setattr(upload, step, look)
        self.send(admin, content)
        assert seen == [[]]
        assert Backup.objects.filter(origin="upload").count() == 1

    def test_upload_without_a_file_shows_error(self, admin: Client) -> None:
        assert messages_of(admin.post(f"{LIST}upload/")) == ["Choose a file."]


class TestRestoring:
    def test_restore_page_shows_changed_rows_and_users(self, admin: Client) -> None:
        Brand.objects.create(name="Old", slug="old")
        backup = back_up()
        Brand.objects.all().delete()
        Brand.objects.create(name="New", slug="new")
        User.objects.create_user("eve@example.com", PASSWORD)
        page = " ".join(text(admin.get(f"{LIST}{backup.pk}/restore/")).split())
        row = '<th scope="row">Brands</th><td class="ops-number">1</td><td class="ops-number">1</td>'
        assert f'{row}<td class="ops-number ops-gained">1</td><td class="ops-number ops-lost">1</td>' in page
        assert "<b>1 user will be removed:</b> eve@example.com" in page
        assert "All users will be signed out." in page
        assert "The signature is valid: the backup was made here and has not changed." in page
        assert "The current database will be kept for 3 days. Until then you can undo the restore." in page

    def test_restore_page_does_not_count_excluded_tables_as_lost(self, admin: Client, settings: Any) -> None:
        settings.OPS_BACKUP_EXCLUDED_TABLES = ["otherproject_tag", "otherproject_book_tags"]
        Tag.objects.bulk_create([Tag(name="one"), Tag(name="two")])
        page = " ".join(text(admin.get(f"{LIST}{back_up().pk}/restore/")).split())
        assert "All tags will be removed (2 rows now), because backups do not include them." in page
        assert '<th scope="row">Tags</th>' not in page
        for label in ("Sessions", "Access attempts"):
            assert f'<th scope="row">{label}</th>' not in page
        assert "session " not in page

    def test_restore_is_not_queued_when_confirmation_is_wrong(self, admin: Client, queue: list[str]) -> None:
        backup, name = back_up(), get_context().engine.database
        for typed, complaint in (
            ({"database": "another", "password": PASSWORD}, "Wrong name. Type "),
            ({"database": "", "password": PASSWORD}, "This field is required."),
            ({"database": name, "password": "wrong"}, "The password is wrong."),
        ):
            page = text(admin.post(f"{LIST}{backup.pk}/restore/", typed))
            assert complaint in page
            assert PASSWORD not in page
        assert queue == []

    def test_restore_is_queued_when_confirmation_is_right(self, admin: Client, queue: list[str]) -> None:
        backup, name = back_up(), get_context().engine.database
        answer = admin.post(f"{LIST}{backup.pk}/restore/", {"database": name, "password": PASSWORD})
        run = Run.objects.get(kind="restore")
        assert queue == [str(run.pk)]
        assert answer.headers["Location"] == f"/admin/ops/run/{run.pk}/change/"
        assert run.arguments == {"name": backup.name, "untrusted": False, "pre_backup": True}
        assert PASSWORD not in str(run.arguments)

    @pytest.mark.usefixtures("queue")
    def test_restore_starts_after_the_browser_has_loaded_the_page_of_the_run(
        self, admin: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backup, name = back_up(), get_context().engine.database
        delays: list[float] = []
        monkeypatch.setattr(tasks.execute_run, "apply_async", lambda _, **sent: delays.append(sent["countdown"]))
        admin.post(f"{LIST}{backup.pk}/restore/", {"database": name, "password": PASSWORD})
        admin.post(f"{LIST}make/")
        assert delays == [PAGE_LOAD, 0]

    @pytest.mark.usefixtures("queue")
    def test_restore_skips_the_pre_backup_when_chosen(self, admin: Client) -> None:
        backup, name = back_up(), get_context().engine.database
        form = {"database": name, "password": PASSWORD, "no_pre_backup": "on"}
        admin.post(f"{LIST}{backup.pk}/restore/", form)
        assert Run.objects.get(kind="restore").arguments["pre_backup"] is False

    @pytest.mark.usefixtures("queue")
    def test_restore_page_says_what_happens_in_which_order_and_offers_the_other_one(self, admin: Client) -> None:
        backup, name = back_up(), get_context().engine.database
        page = text(admin.get(f"{LIST}{backup.pk}/restore/"))
        steps = ["is read completely", "loaded into a staging database", "Writes are blocked", "is backed up. The site"]
        assert [page.index(step) for step in steps] == sorted(page.index(step) for step in steps)
        form = {"database": name, "password": PASSWORD, "backup_first": "on"}
        admin.post(f"{LIST}{backup.pk}/restore/", form)
        assert Run.objects.get(kind="restore").arguments["backup_first"] is True

    def test_pages_say_that_the_backup_of_the_previous_database_is_due(
        self, admin: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backup = back_up()
        previous = PreviousDatabase(
            name="lab_ops_undo", replaced_at=clock.now(), run="", backup=backup.name, size=1, backup_due=True
        )
        monkeypatch.setattr(DatabaseSwap, "previous_database", lambda _self: previous)
        monkeypatch.setattr(PostgresEngine, "find_backup_due", lambda _self: previous)
        page = text(admin.get(f"{LIST}{backup.pk}/restore/"))
        assert "The previous database lab_ops_undo has no verified backup yet. Nothing was changed." in page
        assert 'name="password"' not in page
        page = text(admin.get(f"{LIST}drop-previous-database/"))
        assert "It has no verified backup yet. Back up first" in page
        assert 'name="password"' not in page
        assert "It has no verified backup yet: every backup run" in text(admin.get(LIST))

    def test_restore_page_of_damaged_backup_shows_reason_and_no_form(self, admin: Client, storage: Path) -> None:
        backup = back_up()
        (storage / backup.name).write_bytes(b"short")
        page = text(admin.get(f"{LIST}{backup.pk}/restore/"))
        assert "and the manifest says" in page
        assert 'name="password"' not in page

    @pytest.mark.parametrize("name", ["undo", "drop-previous-database"])
    def test_undo_page_redirects_when_no_previous_database_is_kept(self, admin: Client, name: str) -> None:
        assert messages_of(admin.get(f"{LIST}{name}/")) == ["No previous database is kept."]


def test_migration_page_redirects_on_postgresql(admin: Client) -> None:
    answer = admin.get(f"{LIST}migrate-to-postgresql/")
    assert messages_of(answer) == ["The database is PostgreSQL already. There is nothing to migrate."]
    assert "migrate-to-postgresql" not in text(admin.get(LIST))
