"""What Django reads from PostgreSQL is what it reads from the file, with its type: or the migration fails."""

import datetime as dt
import decimal
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from ops.databases.override import override_database, sqlite_wrapper
from ops.engine_migration import orm_check
from ops.engine_migration.to_postgres import pipeline
from ops.engine_migration.to_postgres.target import contents
from ops.engine_migration.values import equal
from ops.errors import VerificationFailed
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.test_proof import ROW
from tests.support.projects import Project, migrate

FIELDS = '''
class ByVendor(models.Field):
    """Reads from PostgreSQL what `read` makes of the value."""
    def db_type(self, connection):
        return "text"
    def from_db_value(self, value, expression, connection):
        return self.read(value) if connection.vendor == "postgresql" and value else value
class Louder(ByVendor):
    read = staticmethod(str.upper)
class Counted(ByVendor):
    read = staticmethod(len)
class Broken(ByVendor):
    read = staticmethod(int)
'''
MIDNIGHT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


CHANGES = {
    "moment": "moment + '2 hours'",
    "day": "day + 1",
    "real": "0.5",
    "money": "1",
    "span": "'1 hour'",
    "data": "'{\"a\": true}'",
    "blob": "'\\x00'",
    "flag": "NOT flag",
    "address": "'10.0.0.2'",
}


def test_any_other_value_is_found(file: Path, migrated: Database) -> None:
    support.put(file, "everything", {"id": 3} | ROW, {"id": 4} | ROW)
    with support.prepared(file, only=["everything"]) as ready:
        support.copy_and_verify_into(ready, migrated)
        compare(ready, migrated)
        migrated.rows("CREATE TABLE before AS SELECT * FROM everything WHERE id = 4")
        for column, value in [*CHANGES.items(), ("data", "NULL")]:
            migrated.rows(f"UPDATE everything SET {column} = {value} WHERE id = 4")
            with pytest.raises(VerificationFailed) as failure:
                compare(ready, migrated)
            words = "Django reads other values of otherproject.Everything from PostgreSQL than from the file:"
            assert failure.value.message.startswith(f"{words}\n  row 4, {column}: ")
            migrated.rows(f"UPDATE everything SET {column} = before.{column} FROM before WHERE everything.id = 4")
        compare(ready, migrated)


def compare(ready: pipeline.PreparedFile, database: Database) -> None:
    orm_check.compare_through_django(
        tables=ready.plan.tables,
        snapshot=ready.snapshot,
        postgres=pipeline.StagingDatabase(address=database.address, processes=1),
        preflight=ready.preflight,
        chosen_zone=ready.options.zone,
    )


def test_rows_with_large_values_are_read_in_parts(file: Path, migrated: Database) -> None:
    rows = 30
    support.put(file, "everything", *({"id": number, "long": "x" * 10**6} for number in range(1, rows + 1)))
    with support.prepared(file, only=["everything"]) as ready:
        support.copy_and_verify_into(ready, migrated)
        tracemalloc.start()
        try:
            compare(ready, migrated)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < rows * 10**6
        migrated.rows(f"UPDATE everything SET number = 7 WHERE id = {rows}")
        with pytest.raises(VerificationFailed, match=f"row {rows}, number: "):
            compare(ready, migrated)


BOOKS = ("otherproject_author", "otherproject_book", "otherproject_tag", "otherproject_book_tags")


def test_rows_of_many_to_many_tables_are_compared(library: Path, migrated: Database) -> None:
    with support.prepared(library, only=BOOKS) as ready:
        support.copy_and_verify_into(ready, migrated)
        compare(ready, migrated)
        migrated.rows("DELETE FROM otherproject_book_tags WHERE id = 1")
        with pytest.raises(VerificationFailed, match=r"otherproject\.Book_tags .*\n  row 1: DoesNotExist"):
            compare(ready, migrated)


def test_wrong_zone_of_the_raw_comparison_is_found(
    file: Path, database: Database, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
    monkeypatch.setattr(pipeline, "source_zone", lambda *_: None)
    support.put(file, "everything", {"id": 1, "moment": "2026-07-01 12:00:00"})
    outcome = support.run(file, database, "--yes", *support.only(file, "everything"))
    assert outcome.code == 1
    assert outcome.error.startswith("Django reads other values of ")
    assert " in the file, datetime.datetime(" in outcome.error
    assert support.staging_databases(database.name) == []


def test_fields_that_read_otherwise_in_postgresql_are_named() -> None:
    outcome = migrate(
        Project(
            models=f"{FIELDS}class Item(models.Model):\n"
            "    louder = Louder(null=True)\n    counted = Counted(null=True)\n    broken = Broken(null=True)\n",
            fill="Item.objects.create(louder='abc', counted='abc')\nItem.objects.create(broken='abc')",
        )
    )
    assert outcome.real.code == 1
    words = (
        "other values of shop.Item from PostgreSQL",
        "row 1, louder: 'abc' in the file, 'ABC' in PostgreSQL",
        "row 1, counted: 'abc' in the file, 3 in PostgreSQL",
        "row 2: ValueError: invalid literal for int() with base 10: 'abc'",
    )
    assert [word for word in words if word not in outcome.real.words] == [], str(outcome)


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, True, False),
        (1, 1.0, False),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ([1], (1,), False),
        (memoryview(b"a"), b"a", True),
        (decimal.Decimal("1.50"), decimal.Decimal("1.5"), True),
        (
            dt.datetime(2026, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
            dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            True,
        ),
        (dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), False),  # noqa: DTZ001
    ],
)
def test_values_are_equal_with_their_types(left: Any, right: Any, same: bool) -> None:
    assert equal(left, right) is same


def test_numbers_in_json_have_no_type_but_their_digits() -> None:
    assert equal([1e3, 1e30, 1.5], [1000, 10**30, 1.5], json=True)
    assert not equal([1], [True], json=True)


def test_fields_that_read_what_the_driver_returns_are_noted() -> None:
    outcome = migrate(
        Project(
            models="""
class Padded(models.Field):
    def db_type(self, connection):
        return "char(5)"
class Plain(models.Field):
    def db_type(self, connection):
        return "integer[]" if connection.vendor == "postgresql" else "text"
class Item(models.Model):
    code = Padded()
    full = Padded()
    numbers = Plain(null=True)
""",
            fill="""
Item.objects.create(code='a', full='bcdef', numbers='{1,2}')
Item.objects.create(code='b', full='12345')
""",
        )
    )
    assert (outcome.dry.code, outcome.real.code) == (0, 0), str(outcome)
    start = "reads what the driver of the database returns: "
    for column, values in (("code", "'a' in the file is 'a    '"), ("numbers", "'{1,2}' in the file is [1, 2]")):
        assert f"Note The field shop.Item.{column} {start}{values} in PostgreSQL (row 1).\n" in outcome.dry.out
    assert "shop.Item.full" not in outcome.dry.out


@isolate_apps("tests.otherproject")
def test_rows_of_a_table_are_read_by_its_name_in_the_database() -> None:
    class Item(models.Model):
        others = models.ManyToManyField("self")

        class Meta:
            app_label = "otherproject"
            db_table = "t" * 60

    with override_database(sqlite_wrapper(":memory:")) as wrapper, wrapper.cursor() as cursor:
        cursor.execute("CREATE TABLE other (id integer, from_item_id integer, to_item_id integer)")
        cursor.execute("INSERT INTO other VALUES (7, 1, 1)")
        assert contents("other", Item.others.through) == ["(7,)"]
