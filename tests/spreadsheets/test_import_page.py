"""The page that imports spreadsheets, and those of imports, without a worker."""

import csv
import datetime as dt
import html
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from openpyxl import Workbook

from homerack.accounts.models import User
from homerack.history.models import ChangeSet
from homerack.inventory.models import Brand, Rack
from homerack.spreadsheets import jobs, pages, tasks
from homerack.spreadsheets.files import ImportFolder, Reporter
from homerack.spreadsheets.models import SpreadsheetImport, State
from ops.maintenance import MaintenanceState, mode_from_settings
from tests.inventory.factories import make_rack

pytestmark = pytest.mark.django_db

PAGE = "/admin/spreadsheets/"
RACKS = "name,location\nNorth,Cellar\nSouth,Attic\n"


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    """Where the files of imports are. There is no worker."""
    settings.REDIS_URL = ""
    settings.IMPORT_DIR = tmp_path / "imports"
    return settings.IMPORT_DIR


def upload(client: Client, *files: tuple[str, str | bytes]) -> Any:
    """The page that follows."""
    content = [SimpleUploadedFile(name, text.encode() if isinstance(text, str) else text) for name, text in files]
    return client.post(PAGE, {"files": content}, follow=True)


def act(client: Client, shown: Any, do: str = "import") -> Any:
    return client.post(shown.request["PATH_INFO"], {"do": do}, follow=True)


def text_of(response: Any) -> str:
    return " ".join(html.unescape(response.content.decode()).split())


def racks() -> list[tuple[str, str | None]]:
    return list(Rack.objects.values_list("name", "location"))


def stored_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.name.isdecimal())


def test_files_are_shown_and_then_imported(editor_client: Client, folder: Path) -> None:
    shown = upload(editor_client, ("racks.csv", RACKS), ("brands.csv", "name;website\nÄ;\n".encode("cp1252")))
    text = text_of(shown)
    assert "1 new brand and 2 new racks</b> will be imported." in text
    assert "brands.csv: brands, 1 row (Windows-1252, separated by semicolons)" in text
    assert 'Racks</th><td class="import-number" data-label="New">2</td>' in text
    assert racks() == []
    assert stored_files(folder) == ["0", "1"]
    done = act(editor_client, shown)
    assert "Imported 1 new brand and 2 new racks." in text_of(done)
    assert racks() == [("North", "Cellar"), ("South", "Attic")]
    assert Brand.objects.get().name == "Ä"
    change_set = ChangeSet.objects.get(pk=SpreadsheetImport.objects.get().change_set)
    assert (change_set.entry_point, change_set.user_name) == ("import", "Editors@example.com")
    assert f'href="/admin/history/changeset/{change_set.pk}/">Show it in the history</a>' in text_of(done)
    assert stored_files(folder) == []


def test_an_import_is_undone_from_its_page(editor_client: Client) -> None:
    make_rack("North", location="Hall")
    done = act(editor_client, upload(editor_client, ("racks.csv", RACKS)))
    undo = f"/admin/history/changeset/{SpreadsheetImport.objects.get().change_set}/revert/"
    assert f'href="{undo}">Undo this import…</a>' in text_of(done)
    assert racks() == [("North", "Cellar"), ("South", "Attic")]
    assert editor_client.get(undo).status_code == 200
    editor_client.post(undo, follow=True)
    assert racks() == [("North", "Hall")]


def test_files_are_private(editor_client: Client, folder: Path) -> None:
    upload(editor_client, ("racks.csv", RACKS))
    (own,) = folder.iterdir()
    assert own.stat().st_mode & 0o077 == 0


def test_changed_cells_are_shown(editor_client: Client) -> None:
    make_rack("North", location="Hall")
    shown = upload(editor_client, ("racks.csv", RACKS))
    cells = ("Column", "location"), ("Now", "Hall"), ("In the file", "Cellar")
    row = "".join(f'<td data-label="{label}">{text}</td>' for label, text in cells)
    assert f"Rack North</th>{row}" in text_of(shown)
    assert "Imported 1 new rack and 1 changed rack." in text_of(act(editor_client, shown))
    assert racks() == [("North", "Cellar"), ("South", "Attic")]


def test_what_is_there_already_needs_no_import(editor_client: Client) -> None:
    act(editor_client, upload(editor_client, ("racks.csv", RACKS)))
    shown = upload(editor_client, ("racks.csv", RACKS))
    assert "Nothing is new, and nothing differs." in text_of(shown)
    assert 'value="import"' not in text_of(shown)


def mistaken(number: int) -> str:
    rows = [f"Rack {line},{-line}\n" for line in range(1, number + 1)]
    return "".join(["name,total_height_u\n", "Good,42\n", *rows])


def report(client: Client, shown: Any) -> list[list[str]]:
    response = client.get(f"{shown.request['PATH_INFO']}problems.csv")
    assert response["Content-Disposition"] == 'attachment; filename="problems.csv"'
    text = b"".join(response.streaming_content).decode()
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text[1:], newline="")))


def test_all_problems_are_named_and_nothing_is_imported(editor_client: Client, folder: Path) -> None:
    shown = upload(editor_client, ("racks.csv", mistaken(20)))
    text = text_of(shown)
    assert "20 problems." in text
    assert 'data-label="New">1</td>' in text
    assert 'data-label="Refused">20</td>' in text
    assert "Nothing is imported while there is one" in text
    assert 'value="import"' not in text
    header, *lines = report(editor_client, shown)
    assert header == ["File", "Line", "Column", "Reason"]
    assert [line[:2] for line in lines] == [["racks.csv", str(number)] for number in range(3, 23)]
    assert {column for _, _, column, _ in lines} == {"height (U)"}
    assert all(reason in text for *_, reason in lines)
    assert stored_files(folder) == []
    act(editor_client, shown)
    assert racks() == []


def test_the_report_has_the_problems_that_the_page_leaves_out(editor_client: Client) -> None:
    shown = upload(editor_client, ("racks.csv", mistaken(130)))
    assert "The first 100 of 130 problems" in text_of(shown)
    assert len(report(editor_client, shown)) == 131


def test_cells_of_the_report_are_no_formulas(editor_client: Client) -> None:
    shown = upload(editor_client, ("=racks.csv", "name\n=1+1\n"), ("@cmd.csv", "what\nx\n"))
    cells = [cell for line in report(editor_client, shown) for cell in line]
    assert any(cell.startswith("'@cmd.csv") for cell in cells)
    assert not [cell for cell in cells if cell[:1] in {"=", "+", "-", "@"}]


def test_names_and_cells_are_shown_as_text(editor_client: Client) -> None:
    shown = upload(editor_client, ("racks.csv", "name,total_height_u\n<b>bold</b>,<i>\n"))
    assert "<i>" not in shown.content.decode()
    assert "&lt;i&gt;" in shown.content.decode()


def test_archives_and_workbooks_are_read(editor_client: Client) -> None:
    workbook, file, archive = Workbook(), io.BytesIO(), io.BytesIO()
    workbook.active.title = "racks"
    for row in (["name", "location"], ["West", "Roof"]):
        workbook.active.append(row)
    workbook.save(file)
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("lab/racks.csv", RACKS)
        made.writestr("__MACOSX/lab/._racks.csv", b"\0")
    shown = upload(editor_client, ("lab.zip", archive.getvalue()), ("more.xlsx", file.getvalue()))
    assert "3 new racks</b> will be imported." in text_of(shown)
    act(editor_client, shown)
    assert [name for name, _ in racks()] == ["North", "South", "West"]


def damaged_archive() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("racks.csv", RACKS)
    return archive.getvalue().replace(b"Cellar", b"cellar")


def large_archive() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made, made.open("racks.csv", "w") as file:
        for _ in range(3):
            file.write(bytes(1_000_000))
    return archive.getvalue()


def empty_archive() -> bytes:
    archive = io.BytesIO()
    zipfile.ZipFile(archive, "w").close()
    return archive.getvalue()


@pytest.mark.parametrize(
    ("files", "mistake"),
    [
        ([], "Choose a file."),
        ([("a.zip", b"PK\x03\x04")], "The archive a.zip is damaged: File is not a zip file"),
        ([("a.zip", damaged_archive())], "The archive a.zip is damaged: Bad CRC-32 for file 'racks.csv'"),
        ([("a.zip", empty_archive())], "There are no files in a.zip."),
        ([("a.zip", large_archive())], "The files have more than 2 MB when they are unpacked."),
        ([(f"racks{number}.csv", "name\n") for number in range(51)], "There are more than 50 files."),
    ],
)
def test_an_upload_that_cannot_be_read_says_why(
    editor_client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch, files: list[Any], mistake: str
) -> None:
    monkeypatch.setattr("homerack.spreadsheets.files.MAX_UNPACKED", 2_000_000)
    response = upload(editor_client, *files)
    assert response.status_code == 422
    assert mistake in text_of(response)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_files_are_limited_together(editor_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_UPLOAD", 1_000_000)
    half = b"#" * 600_000
    response = upload(editor_client, ("a.csv", half), ("b.csv", half))
    assert "The files have more than 1 MB. Nothing was kept." in text_of(response)
    assert "manage.py import_inventory" in text_of(response)


def test_without_a_worker_rows_are_limited(
    editor_client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LARGEST_WITHOUT_WORKER", 2)
    monkeypatch.setattr(jobs, "LARGE", 2)
    response = upload(editor_client, ("racks.csv", RACKS + "West,\n"))
    assert "The files have more than 2 rows, and there is no worker to import them" in text_of(response)
    assert list(folder.iterdir()) == []


# --- Who may -----------------------------------------------------------------------------------------------------
def test_viewers_export_and_import_nothing(viewer_client: Client) -> None:
    page = viewer_client.get(PAGE)
    assert page.status_code == 200
    assert "Export everything" in text_of(page)
    assert 'type="file"' not in text_of(page)
    assert upload(viewer_client, ("racks.csv", RACKS)).status_code == 403


def test_an_upload_needs_the_token_of_its_form(editor_client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = editor_client.cookies
    assert upload(strict, ("racks.csv", RACKS)).status_code == 403


def test_editors_import_no_users(editor_client: Client, admin_client: Client) -> None:
    users = ("users.csv", "e-mail address,full name\nada@example.com,Ada\n")
    assert "You may not add and change users." in text_of(upload(editor_client, users))
    act(admin_client, upload(admin_client, users))
    ada = User.objects.get(email="ada@example.com")
    assert not ada.has_usable_password()
    assert not ada.is_staff


def test_an_import_is_its_users_own(editor_client: Client, admin_client: Client) -> None:
    shown = upload(editor_client, ("racks.csv", RACKS))
    path = shown.request["PATH_INFO"]
    for address in (path, f"{path}status/", f"{path}problems.csv"):
        assert admin_client.get(address).status_code == 404
        own = editor_client.get(address)
        assert own.status_code == 200
        list(own)
    assert act(admin_client, shown).status_code == 404
    assert racks() == []


def test_a_user_who_may_no_longer_import_does_not(editor_client: Client) -> None:
    shown = upload(editor_client, ("racks.csv", RACKS))
    job = SpreadsheetImport.objects.get()
    job.user.groups.clear()
    assert act(editor_client, shown).status_code == 403
    assert jobs.confirm(job)
    jobs.run(str(job.pk))
    job.refresh_from_db()
    assert job.note == "Editors@example.com may no longer add and change rows. Nothing was imported."
    assert racks() == []


# --- What else happens -------------------------------------------------------------------------------------------
def test_a_changed_inventory_is_shown_before_it_is_imported(editor_client: Client) -> None:
    shown = upload(editor_client, ("racks.csv", RACKS))
    make_rack("North", location="Hall")
    again = act(editor_client, shown)
    assert "The inventory has changed since the preview. Nothing was imported." in text_of(again)
    assert racks() == [("North", "Hall")]
    act(editor_client, again)
    assert racks() == [("North", "Cellar"), ("South", "Attic")]


def test_a_row_that_breaks_a_rule_meanwhile_is_named(editor_client: Client) -> None:
    shown = upload(editor_client, ("brands.csv", "name,slug\nAcme,acme\n"))
    Brand.objects.create(name="Other", slug="acme")
    failed = text_of(act(editor_client, shown))
    assert "Nothing was imported." in failed
    assert "Brand with this Short name already exists." in failed
    assert Brand.objects.get().name == "Other"


def test_a_second_click_imports_once(editor_client: Client) -> None:
    shown = upload(editor_client, ("racks.csv", RACKS))
    act(editor_client, shown)
    Rack.objects.all().delete()
    assert "Imported 2 new racks." in text_of(act(editor_client, shown))
    assert racks() == []


def test_while_writes_are_blocked_nothing_is_imported(editor_client: Client, settings: Any, tmp_path: Path) -> None:
    settings.BACKUP_DIR = tmp_path
    upload(editor_client, ("racks.csv", RACKS))
    job = SpreadsheetImport.objects.get()
    jobs.confirm(job)
    mode = mode_from_settings()
    mode.enable(MaintenanceState(reason="A restore is running.", since=dt.datetime.now(dt.UTC)))
    try:
        jobs.run(str(job.pk))
    finally:
        mode.disable()
    job.refresh_from_db()
    assert job.note.startswith("Changes are blocked at the moment: A restore is running. Nothing was imported.")
    assert racks() == []


def test_a_killed_process_is_noticed(editor_client: Client, folder: Path) -> None:
    shown = upload(editor_client, ("racks.csv", RACKS))
    job = SpreadsheetImport.objects.get()
    jobs.confirm(job)
    job.refresh_from_db()
    jobs.begin(job)
    path = shown.request["PATH_INFO"]
    with ImportFolder(job.pk).locked():
        assert "data-finished" not in text_of(editor_client.get(f"{path}status/"))
    assert "data-finished" in text_of(editor_client.get(f"{path}status/"))
    assert "Its process has ended before it was done" in text_of(editor_client.get(path))
    assert stored_files(folder) == []


def test_a_step_that_was_given_up_imports_nothing(editor_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(editor_client, ("racks.csv", RACKS))
    job = SpreadsheetImport.objects.get()
    jobs.confirm(job)
    carry_out = jobs.import_inventory

    def thaw_later(*arguments: Any, **options: Any) -> Any:
        made = carry_out(*arguments, **options)
        assert len(racks()) == 2
        SpreadsheetImport.objects.update(state=State.FAILED, note=jobs.INTERRUPTED)
        return made

    monkeypatch.setattr(jobs, "import_inventory", thaw_later)
    jobs.run(str(job.pk))
    assert racks() == []


def test_a_fault_imports_nothing_and_is_said(editor_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = upload(editor_client, ("racks.csv", RACKS))

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(jobs, "preview_of", fail)
    with pytest.raises(ZeroDivisionError):
        act(editor_client, shown)
    assert racks() == []
    assert jobs.FAULT in text_of(editor_client.get(shown.request["PATH_INFO"]))


# --- Files are not kept ------------------------------------------------------------------------------------------
@pytest.fixture
def job_of(editor_client: Client, folder: Path) -> Callable[[], list[str]]:
    upload(editor_client, ("racks.csv", RACKS))
    assert stored_files(folder) == ["0"]
    return lambda: [path.name for path in folder.iterdir()]


def test_discarded_files_are_deleted(editor_client: Client, job_of: Callable[[], list[str]]) -> None:
    (key,) = job_of()
    page = editor_client.post(f"{PAGE}import/{key}/", {"do": "discard"}, follow=True)
    assert "The files were deleted. Nothing was imported." in text_of(page)
    assert job_of() == []
    assert not SpreadsheetImport.objects.exists()


def test_the_next_upload_replaces_what_was_not_confirmed(
    editor_client: Client, job_of: Callable[[], list[str]]
) -> None:
    (key,) = job_of()
    upload(editor_client, ("racks.csv", RACKS))
    (other,) = job_of()
    assert other != key


def test_imports_are_deleted_after_a_day(job_of: Callable[[], list[str]]) -> None:
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=23)):
        jobs.prune()
        assert len(job_of()) == 1
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=25)):
        with ImportFolder(job_of()[0]).locked():
            jobs.prune()
            assert len(job_of()) == 1
        jobs.prune()
    assert job_of() == []


def test_folders_without_a_row_are_deleted_after_a_day(job_of: Callable[[], list[str]]) -> None:
    SpreadsheetImport.objects.all().delete()
    jobs.prune()
    assert len(job_of()) == 1
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=25)):
        jobs.prune()
    assert job_of() == []


# --- With a worker -----------------------------------------------------------------------------------------------
def test_large_files_wait_for_a_worker(editor_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(jobs, "LARGE", 1)
    monkeypatch.setattr(tasks.run_import, "apply_async", lambda arguments, **_options: sent.append(arguments[0]))
    shown = upload(editor_client, ("racks.csv", RACKS))
    assert "Waiting for a worker" in text_of(shown)
    assert "No worker has begun" not in text_of(shown)
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)):
        assert "No worker has begun since" in text_of(editor_client.get(shown.request["PATH_INFO"]))
        assert 'value="again"' in text_of(act(editor_client, shown, "again"))
    key, *again = sent
    assert again == [key]
    tasks.run_import(key)
    planned = editor_client.get(shown.request["PATH_INFO"])
    assert "2 new racks</b> will be imported." in text_of(planned)
    act(editor_client, planned)
    assert sent == [key, key, key]
    assert racks() == []
    tasks.run_import(key)
    tasks.run_import(key)  # the queue may deliver it twice
    assert "Imported 2 new racks." in text_of(editor_client.get(shown.request["PATH_INFO"]))


def test_an_unreachable_queue_is_said(editor_client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(jobs, "LARGE", 1)

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(tasks.run_import, "apply_async", refuse)
    assert tasks.UNREACHABLE in text_of(upload(editor_client, ("racks.csv", RACKS)))


def test_progress_is_shown(editor_client: Client, job_of: Callable[[], list[str]]) -> None:
    job = SpreadsheetImport.objects.get()
    jobs.confirm(job)
    job.refresh_from_db()
    jobs.begin(job)
    folder = ImportFolder(job.pk)
    with folder.locked():
        Reporter(folder)("writing", 1, 2)
        text = text_of(editor_client.get(f"{PAGE}import/{job.pk}/"))
    assert "Writing</b>: 1 of 2" in text
    assert 'value="50"' in text


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", b"a\r\nb\r\nc\r\n", 3),
        ("a.csv", b"a\rb\r", 2),
        ("a.csv", "a\nb\n".encode("utf-16"), 2),
        ("a.xlsx", b"no archive", 0),
    ],
)
def test_rows_are_counted_before_they_are_read(folder: Path, name: str, content: bytes, rows: int) -> None:
    own = ImportFolder("00000000-0000-0000-0000-000000000000")
    own.store([(name, io.BytesIO(content))])
    assert own.rows([name], at_most=100) == rows


def test_rows_of_workbooks_are_counted_up_to_a_limit(folder: Path) -> None:
    workbook, file = Workbook(), io.BytesIO()
    for number in range(30):
        workbook.active.append([number])
    workbook.save(file)
    own = ImportFolder("00000000-0000-0000-0000-000000000000")
    own.store([("a.xlsx", file)])
    assert own.rows(["a.xlsx"], at_most=100) == 30
    assert own.rows(["a.xlsx"], at_most=10) == 10


def test_users_with_one_table_import_it(sign_in: Callable[..., Client]) -> None:
    client = sign_in()
    user = User.objects.get()
    user.user_permissions.set(Permission.objects.filter(codename__in=["add_rack", "change_rack"]))
    assert "A file holds one table: racks." in text_of(client.get(PAGE))
    act(client, upload(client, ("racks.csv", RACKS)))
    assert len(racks()) == 2
