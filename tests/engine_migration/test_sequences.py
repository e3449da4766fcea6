"""After the migration the database works as if it had always been PostgreSQL."""

import datetime as dt
from pathlib import Path

import psycopg2
import pytest
from django.apps import apps
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.test import RequestFactory
from django_celery_beat.models import ClockedSchedule

from ops.databases.override import override_database, sqlite_wrapper
from tests.engine_migration import support
from tests.engine_migration.factories import AWKWARD
from tests.engine_migration.support import Database, Migration
from tests.otherproject.models import Author, Bestseller, Book, Comic, Everything, Place, Shelf, Sighting, Slot, Tag

AUTHOR = (
    "otherproject_author_id_seq of otherproject_author.id (bigint) was of the type integer. It has the type of the"
    " column now."
)
GROUP = (
    "auth_group_id_seq of auth_group.id (integer) ends at 50, before the column does, and continues with 51, and the"
    " largest number is 51. Type: ALTER SEQUENCE auth_group_id_seq AS integer NO MAXVALUE RESTART WITH 52;"
)
SHELF = (
    "otherproject_shelf_id_seq of otherproject_shelf.id (bigint) ends at 100, before the column does, and starts again"
    " at its end, with numbers that exist. Type: ALTER SEQUENCE otherproject_shelf_id_seq NO MAXVALUE NO CYCLE;"
)
SLOT = "otherproject_slot_id_seq of otherproject_slot.id (smallint) has no number left: the largest is 32767."
LEFT = {"django_migrations", "django_session"}
NOT_COMPARED = LEFT | {"ops_run"}
"""The row of the migration's own run is written last."""


def tables_with_sequences() -> list[type[models.Model]]:
    return [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy and isinstance(model._meta.pk, models.AutoField)
    ]


def next_id(database: Database, model: type[models.Model]) -> int:
    table, column = model._meta.db_table, model._meta.pk.column
    return int(database.value(f"SELECT nextval(pg_get_serial_sequence('{table}', '{column}'))"))


# --- Sequences ----------------------------------------------------------------------------------------------
def test_sequences_continue_after_the_highest_id(migration: Migration, moved: Database) -> None:
    found = tables_with_sequences()
    assert {"otherproject_book_tags", "otherproject_book_similar", "accounts_user_groups"} <= {
        m._meta.db_table for m in found
    }
    for model in found:
        highest = moved.value(f"SELECT coalesce(max(id), 0) FROM {model._meta.db_table}")
        if model._meta.db_table in LEFT:
            continue
        given_out = sqlite_watermark(migration.library, model._meta.db_table)
        assert next_id(moved, model) == max(highest, given_out) + 1, model._meta.db_table


def sqlite_watermark(library: Path, table: str) -> int:
    with support.opened(library) as connection:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", [table]).fetchone()
    return int(row[0]) if row else 0


def test_rows_can_be_added_to_every_kind_of_table(moved: Database) -> None:
    author = Author.objects.create(name="New")
    book = Book.objects.create(title="New", author=author)
    book.tags.add(Tag.objects.create(name="new"))
    book.similar.add(Comic.objects.create(title="New comic", author=author))
    Place.objects.create(shelf=Shelf.objects.create(room="new", number=1), position=1, book=book)
    Slot.objects.create(label="new")
    Everything.objects.create()
    user = get_user_model().objects.create_user("new@example.org", "secret")
    user.user_permissions.add(Permission.objects.first())
    assert book.letters is not None
    connection.check_constraints()


def test_sequences_start_after_the_ids_of_the_file(file: Path, migrated: Database) -> None:
    """Or after the highest that SQLite has given out. An exhausted one repeats no id."""
    expected = {Shelf: 1, Author: 1, Sighting: 1, Group: 8, ClockedSchedule: 501, Everything: 2**63 - 1}
    support.put(file, "otherproject_author", {"id": -5, "name": "Ada"})
    support.put(file, "otherproject_sighting", {"id": 0})
    support.put(file, "auth_group", {"id": -3, "name": "a"}, {"id": 7, "name": "b"})
    support.put(file, "django_celery_beat_clockedschedule", {"id": 3, "clocked_time": "2026-01-01 00:00:00"})
    support.alter(file, "UPDATE sqlite_sequence SET seq = 500 WHERE name = 'django_celery_beat_clockedschedule'")
    support.put(file, "everything", {"id": 2**63 - 2})
    support.put(file, "otherproject_slot", {"id": 2**15 - 1, "label": "last", "active": 1, "hidden": 0})
    with support.prepared(file) as ready:
        support.copy_and_verify_into(ready, migrated)
    assert {model: next_id(migrated, model) for model in expected} == expected
    with pytest.raises(psycopg2.Error, match="reached maximum value of sequence"):
        next_id(migrated, Slot)


def test_sequences_that_sql_of_a_migration_has_made_are_restarted_and_widened_or_named(
    file: Path, migrated: Database
) -> None:
    """A type smaller than the column's, limits and cycles of their own, and one that no column owns."""
    sighting = "otherproject_sighting"
    for statement in (
        "ALTER SEQUENCE otherproject_author_id_seq AS integer",
        "ALTER SEQUENCE otherproject_shelf_id_seq MAXVALUE 100 CYCLE",
        "ALTER SEQUENCE auth_group_id_seq AS smallint MAXVALUE 50",
        f"ALTER TABLE {sighting} ALTER id DROP IDENTITY",
        f'CREATE SEQUENCE "Not owned"; ALTER TABLE {sighting} ALTER id SET DEFAULT nextval(\'"Not owned"\')',
        "CREATE SEQUENCE of_a_text OWNED BY otherproject_tag.name",
    ):
        migrated.rows(statement)
    support.put(file, "otherproject_author", {"id": 2**31 - 1, "name": "Ada"})
    support.put(file, "otherproject_shelf", {"id": 7, "room": "a", "number": 1})
    support.put(file, "auth_group", {"id": 50, "name": "a"}, {"id": 51, "name": "b"})
    support.put(file, sighting, {"id": 41})
    support.put(file, "otherproject_slot", {"id": 2**15 - 1, "label": "last", "active": 1, "hidden": 0})
    with support.prepared(file) as ready:
        support.copy_and_verify_into(ready, migrated)
        notes = set(ready.load_notes)
    assert (next_id(migrated, Author), next_id(migrated, Shelf)) == (2**31, 8)
    assert migrated.value("""SELECT nextval('"Not owned"')""") == 42
    assert sorted(notes) == [f"The sequence {note}" for note in (GROUP, AUTHOR, SHELF, SLOT)]
    for note in notes:
        if "Type: " in note:
            migrated.rows(note.partition("Type: ")[2])
    assert (next_id(migrated, Group), next_id(migrated, Shelf)) == (52, 9)


# --- Statistics ---------------------------------------------------------------------------------------------
def test_planner_knows_the_rows_of_every_table(moved: Database) -> None:
    estimates = dict(moved.rows("SELECT relname, reltuples::int FROM pg_class WHERE relkind = 'r'"))
    for table in {*moved.tables()} - NOT_COMPARED:
        assert estimates[table] == moved.value(f'SELECT count(*) FROM "{table}"'), table


# --- Content types, permissions and sessions ----------------------------------------------------------------
def test_content_types_and_permissions_keep_the_ids_of_the_file_and_missing_ones_are_added(
    file: Path, database: Database
) -> None:
    """Rows of other tables refer to them by number. `migrate` would add those of a model without a migration later."""
    lacking = "codename LIKE '%_tag' OR codename = 'add_book'"
    types = "SELECT id, app_label, model FROM django_content_type WHERE model <> 'tag' ORDER BY id"
    permissions = f"SELECT id, codename FROM auth_permission WHERE NOT ({lacking}) ORDER BY id"
    with support.opened(file) as before:
        before.execute(f"DELETE FROM auth_permission WHERE {lacking}")
        before.execute("DELETE FROM django_content_type WHERE model = 'tag'")
        before.execute("UPDATE auth_permission SET content_type_id = content_type_id + 1000, id = id + 5000")
        before.execute("UPDATE auth_group_permissions SET permission_id = permission_id + 5000")
        before.execute("UPDATE django_content_type SET id = id + 1000")
        expected = [before.execute(query).fetchall() for query in (types, permissions)]
    support.migrate(file, database)
    assert list(map(database.rows, (types, permissions))) == expected
    added = database.rows(f"SELECT codename FROM auth_permission WHERE {lacking} ORDER BY 1")
    assert [name for (name,) in added] == ["add_book", "add_tag", "change_tag", "delete_tag", "view_tag"]


def test_users_keep_their_permissions(moved: Database) -> None:
    ada = get_user_model().objects.get(email="ada@example.org")
    assert ada.get_all_permissions() == {"otherproject.add_book", "otherproject.change_book"}
    assert Permission.objects.filter(codename="lend", content_type=ContentType.objects.get_for_model(Book)).exists()
    assert authenticate(RequestFactory().get("/"), username="ada@example.org", password="correct horse") == ada


def test_sessions_are_skipped_and_reported(migration: Migration, moved: Database) -> None:
    skipped = {entry["table"]: (entry["rows"], entry["reason"]) for entry in migration.outcome.document["skipped"]}
    assert skipped["django_session"] == (1, "all users must sign in again")
    assert skipped["django_migrations"][1] == "created in PostgreSQL by `migrate`"
    assert moved.value("SELECT count(*) FROM django_session") == 0
    with support.opened(migration.library) as connection:
        applied = connection.execute("SELECT app, name FROM django_migrations ORDER BY 1, 2").fetchall()
    assert moved.rows('SELECT app COLLATE "C", name FROM django_migrations ORDER BY 1, 2') == applied


# --- Rows and values ----------------------------------------------------------------------------------------
def test_rows_hidden_by_the_default_manager_are_migrated(moved: Database) -> None:
    assert Slot.objects.count() == 1
    assert Slot._base_manager.count() == 2


def test_inherited_and_proxied_rows_are_migrated_once(moved: Database) -> None:
    assert Book.objects.count() == Bestseller.objects.count() == 5
    comic = Comic.objects.get()
    assert (comic.title, comic.colour, comic.pages, comic.letters) == ("Comic", False, 1, 2000)


def test_circular_references_are_migrated(moved: Database) -> None:
    first, second, _ = Author.objects.order_by("pk")
    assert second.mentor == first
    assert first.favourite.title == "Book 3"


def test_special_characters_are_migrated_unchanged(moved: Database) -> None:
    rows = Everything.objects.order_by("pk")[: len(AWKWARD)]
    assert [row.long for row in rows] == list(AWKWARD)
    assert [row.short for row in rows] == [text[:20] for text in AWKWARD]
    assert [row.data for row in rows] == [{"text": text, "list": [text, None, True]} for text in AWKWARD]


def test_null_and_empty_text_stay_different(moved: Database) -> None:
    empty = Everything.objects.get(short="")
    assert (empty.long, empty.blob, empty.day) == ("", None, None)
    assert Everything.objects.filter(blob=b"").count() == 1
    assert Everything.objects.get(data="null").span == dt.timedelta(0)


def test_django_reads_the_same_from_both_databases(migration: Migration, moved: Database) -> None:
    theirs = all_rows()
    with override_database(sqlite_wrapper(str(migration.library))):
        ours = all_rows()
    assert ours == theirs
    assert sum(map(len, ours.values())) > 150


def all_rows() -> dict[str, list[tuple[object, ...]]]:
    return {
        model._meta.label: sorted((tuple(map(plain, row)) for row in model._base_manager.values_list()), key=repr)
        for model in apps.get_models(include_auto_created=True)
        if model._meta.db_table not in NOT_COMPARED
    }


def plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value
