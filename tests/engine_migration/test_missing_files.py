"""The files that rows name do not move with the rows: the report names those that are missing."""

from pathlib import Path
from typing import Any

import pytest

from homerack.inventory.legacy import FORMAT
from ops.engine_migration import missing_files
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.operations.findings import result_of
from ops.runs.results import PreflightResult, read_result
from ops.utils.schema import to_json
from tests.engine_migration import support
from tests.inventory.test_legacy import SCHEMA
from tests.support.projects import Project, assert_migrated

LOGO, LOST = "/uploads/brand_logos/a.png", "/uploads/brand_logos/b [red].png"
STORAGES = """
from django.core.files.storage import FileSystemStorage, Storage
class Bucket(Storage):
    def exists(self, name): return name.startswith("kept")
class Broken(Storage):
    def exists(self, name): raise ConnectionError("no answer from secret-key-of-the-tests" + "x" * 50)
class Elsewhere(FileSystemStorage):
    def __init__(self): super().__init__(location="elsewhere")
"""
MODELS = """
from shop.storages import Broken, Bucket, Elsewhere
class Photo(models.Model):
    image = models.FileField(null=True, db_column="A b")
    remote = models.FileField(storage=Bucket)
    broken = models.FileField(storage=Broken)
    elsewhere = models.FileField(storage=Elsewhere)
"""
FILL = """
from django.core.files.base import ContentFile
Photo(image=None).save()
Photo(image="lost.jpg", remote="lost").save()
Photo(image="../../etc/passwd", broken="x").save()
photo = Photo(elsewhere="c.txt")
photo.image.save("kept.jpg", ContentFile(b"x"))
Photo.objects.bulk_create(Photo(remote=f"kept {number}") for number in range(1500))
"""
BACK = """
import json, pathlib, tempfile
from django.core.management import call_command
folder = pathlib.Path(tempfile.mkdtemp())
try:
    call_command("migrate_to_sqlite", "--sqlite-path", str(folder / "back.db"), "--yes", "--json", str(folder / "json"))
except SystemExit as ended:
    assert not ended.code
extra = json.loads((folder / "json").read_text())
"""


# --- Files of another program ---------------------------------------------------------------------------------------
@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A file of HomeRack 1.0.1 whose brands and models name pictures, of which one is still there."""
    path = tmp_path / "legacy.db"
    with support.opened(path) as connection:
        connection.executescript(SCHEMA)
    for number, logo in enumerate((LOGO, LOST, "https://www.example.com/c.png", None, "", "/uploads/../secret"), 1):
        support.put(path, "brands", {"id": number, "name": str(number), "slug": str(number), "logo_url": logo})
    return path


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    (tmp_path / "secret").touch()
    (tmp_path / "uploads" / "brand_logos").mkdir(parents=True)
    (tmp_path / "uploads" / "brand_logos" / "a.png").touch()
    return tmp_path / "uploads"


def test_files_of_a_legacy_program_are_notes_and_no_findings(lab: Path) -> None:
    with support.prepared(lab, legacy=FORMAT) as ready:
        assert ready.acceptable
        assert ready.file_notes == (
            f"3 rows of brands.logo_url name files that are not migrated: {LOGO}, {LOST}, /uploads/../secret",
            "manage.py migrate_to_postgres --media-dir DIR looks for them in the uploads of HomeRack 1.0.1.",
            f"All of these files: {ready.missing.path}",
        )


def test_only_files_that_are_not_in_media_dir_are_named(lab: Path, uploads: Path) -> None:
    with support.prepared(lab, legacy=FORMAT, media_dir=uploads) as ready:
        assert ready.file_notes == (
            f"2 rows of brands.logo_url name files that are not in {uploads}: {LOST}, /uploads/../secret",
            f"1 row of brands.logo_url names a file in {uploads}. Files are not migrated: keep them.",
            f"All of these files: {ready.missing.path}",
        )
        assert support.read_findings(ready.missing.path) == [
            ("brands", "2", "logo_url", "text", LOST, f"not in {uploads}"),
            ("brands", "6", "logo_url", "text", "/uploads/../secret", f"not in {uploads}"),
        ]


def test_command_names_missing_files_in_its_report_and_in_json(
    lab: Path, uploads: Path, database: support.Database, settings: Any
) -> None:
    settings.OPS_LEGACY_FORMAT = "homerack.inventory.legacy.FORMAT"
    outcome = support.migrate(lab, database, "--media-dir", str(uploads))
    note = f"2 rows of brands.logo_url name files that are not in {uploads}: {LOST}, /uploads/../secret"
    assert f"Note {note}" in outcome.out
    assert note in outcome.document["notes"]
    missing = outcome.document["missing_files"]
    assert (missing["count"], Path(missing["file"]).exists()) == (2, True)
    assert missing["groups"] == [
        {
            "table": "brands",
            "column": "logo_url",
            "reason": f"not in {uploads}",
            "count": 2,
            "files": [LOST, "/uploads/../secret"],
        }
    ]
    assert database.value("SELECT legacy_fields FROM brands WHERE id = 1") == {"logo_url": LOGO}


def test_media_dir_that_is_no_directory_is_refused(lab: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with (
        pytest.raises(PreconditionFailed, match=f"--media-dir {missing} is not a directory. Nothing was changed"),
        support.prepared(lab, legacy=FORMAT, media_dir=missing),
    ):
        pass


def test_media_dir_is_refused_for_a_file_of_this_project(file: Path, tmp_path: Path) -> None:
    outcome = support.run(file, None, "--media-dir", str(tmp_path), "--postgres-url", support.server().url, "--dry-run")
    assert outcome.code == 1
    assert "--media-dir is for files of other programs" in outcome.error


# --- Files of Django's storages -------------------------------------------------------------------------------------
def test_files_of_file_fields_are_looked_for_in_their_storages_in_both_directions() -> None:
    outcome = assert_migrated(Project(models=MODELS, fill=FILL, files={"shop/storages.py": STORAGES}, after=BACK))
    media = next(word for word in outcome.real.words.split() if word.endswith("/media:")).rstrip(":")
    for words in (outcome.dry.words, outcome.real.words, " ".join(outcome.extra["notes"])):
        for note in (
            f"2 rows of shop_photo.A b name files that are not in {media}: lost.jpg, ../../etc/passwd",
            "1 row of shop_photo.remote names a file that is not in Bucket: lost",
            "Only the files of the first 1,000 rows of shop_photo.remote were looked for in Bucket.",
            "The files of shop_photo.broken could not be looked for in Broken: ConnectionError: no answer from ",
            "1 row of shop_photo.elsewhere names a file that is not in ",
        ):
            assert note in words, words
    assert outcome.extra["missing_files"]["count"] == 4
    assert outcome.extra["status"] == "migrated"


def test_result_of_the_preflight_in_the_console_has_the_notes(lab: Path) -> None:
    """Also with a path that no text of a result may contain."""
    with support.opened(lab) as connection:
        connection.execute("UPDATE brands SET logo_url = ? WHERE id = 1", ["/uploads/a\0b\n\x1b[31m"])
    with support.prepared(lab, legacy=FORMAT) as ready:
        document = to_json(result_of(ready))
    result = read_result(Run.Kind.PREFLIGHT, document)
    assert isinstance(result, PreflightResult)
    named = f"/uploads/a\ufffdb \ufffd[31m, {LOST}, /uploads/../secret"
    assert f"3 rows of brands.logo_url name files that are not migrated: {named}" in result.notes


def test_search_ends_after_its_seconds(lab: Path, uploads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_files, "SECONDS", -1)
    with support.prepared(lab, legacy=FORMAT, media_dir=uploads) as ready:
        assert ready.file_notes == (
            f"Only the files of the first 0 rows of brands.logo_url were looked for in {uploads}.",
        )


def test_many_missing_files_are_all_in_a_file(lab: Path) -> None:
    for number in range(10, 20):
        path = f"/uploads/{number}" + "x" * 200
        support.put(lab, "brands", {"id": number, "name": number, "slug": number, "logo_url": path})
    with support.prepared(lab, legacy=FORMAT) as ready:
        note, _, where = ready.file_notes
        assert (
            note == f"13 rows of brands.logo_url name files that are not migrated: {LOGO}, {LOST}, /uploads/../secret …"
        )
        assert where == f"All of these files: {ready.missing.path}"
        assert len(support.read_findings(ready.missing.path)) == 13
