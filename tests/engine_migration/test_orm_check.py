"""What Django reads from PostgreSQL is what it reads from the file, with its type: or the migration fails."""

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import pytest

from ops.engine_migration import orm_check, pipeline
from ops.engine_migration.values import equal
from ops.errors import VerificationFailed
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.engine_migration.test_proof import ROW
from tests.support.projects import Project, assert_migrated, assert_refused, migrate

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


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("moment = moment + '2 hours'", "moment"),
        ("day = day + 1", "day"),
        ("real = 0.5", "real"),
        ("money = 1", "money"),
        ("span = '1 hour'", "span"),
        ("data = '{\"a\": true}'", "data"),
        ("data = NULL", "data"),
        ("blob = '\\x00'", "blob"),
        ("flag = NOT flag", "flag"),
        ("address = '10.0.0.2'", "address"),
    ],
)
def test_any_other_value_is_found(file: Path, migrated: Database, change: str, difference: str) -> None:
    support.put(file, "everything", {"id": 3} | ROW, {"id": 4} | ROW)
    with support.prepared(file) as ready:
        support.copy_and_verify_into(ready, migrated)
        compare(ready, migrated)
        migrated.rows(f"UPDATE everything SET {change} WHERE id = 4")
        with pytest.raises(VerificationFailed) as failure:
            compare(ready, migrated)
    start = "Django would read other values of otherproject.Everything from PostgreSQL than from the file:\n  row 4, "
    assert failure.value.message.startswith(f"{start}{difference}: ")


def compare(ready: pipeline.PreparedMigration, database: Database) -> None:
    orm_check.compare_through_django(
        tables=ready.plan.tables,
        snapshot=ready.snapshot,
        staging=pipeline.StagingDatabase(address=database.address, processes=1),
        preflight=ready.preflight,
        chosen_zone=ready.options.zone,
    )


def test_rows_of_many_to_many_tables_are_compared(library: Path, migrated: Database) -> None:
    with support.prepared(library) as ready:
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
    outcome = support.run(file, database, "--yes")
    assert outcome.code == 1
    assert outcome.error.startswith("Django would read other values of ")
    assert " in the file would be datetime.datetime(" in outcome.error
    assert support.staging_databases(database.name) == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Louder", ["'abc' in the file would be 'ABC'"]),
        ("Counted", ["'abc' in the file would be 3"]),
        ("Broken", ["row 1: ValueError: invalid literal for int() with base 10: 'abc'"]),
    ],
)
def test_fields_that_read_otherwise_in_postgresql_are_named(kind: str, words: list[str]) -> None:
    outcome = migrate(
        Project(
            models=f"{FIELDS}class Item(models.Model):\n    v = {kind}(null=True)\n",
            fill="Item.objects.create(v='abc')",
        )
    )
    assert outcome.real.code == 1
    assert [word for word in ["shop.Item", *words] if word not in outcome.real.words] == [], str(outcome)


OBJECTS = """
class Box:
    \"\"\"Equal to itself only.\"\"\"
    __slots__ = ("text",)
    def __init__(self, text):
        self.text = text
class Stream:
    \"\"\"Compares what it holds.\"\"\"
    def __init__(self, text):
        self.boxes = [Box(text)]
    def __eq__(self, other):
        return self.boxes == other.boxes
class Objects(models.Field):
    def db_type(self, connection):
        return "jsonb" if self.kind == "dict" and connection.vendor == "postgresql" else "text"
    def from_db_value(self, value, expression, connection):
        text = value.strip('"')
        if connection.vendor == "postgresql" and text == "changed":
            text = text.upper()
        return {"list": [Box(text)], "dict": {"a": Box(text)}, "stream": Stream(text)}[self.kind]
    def get_db_prep_value(self, value, connection, prepared=False):
        box = {"list": lambda: value[0], "dict": lambda: value["a"], "stream": lambda: value.boxes[0]}[self.kind]()
        return f'"{box.text}"'
    def value_to_string(self, obj):
        return self.get_db_prep_value(self.value_from_object(obj), None)
class Lists(Objects):
    kind = "list"
class Dicts(Objects):
    kind = "dict"
class Streams(Objects):
    kind = "stream"
class Item(models.Model):
    lists = Lists()
    dicts = Dicts()
    streams = Streams()
"""


def test_objects_that_cannot_be_compared_are_compared_as_they_are_written() -> None:
    """As the blocks of wagtail's streams."""
    fill = "Item.objects.create(lists=[Box('it\\'s')], dicts={'a': Box('ä')}, streams=Stream(''))"
    assert_migrated(Project(models=OBJECTS, fill=fill))


@pytest.mark.parametrize("column", ["lists", "dicts", "streams"])
def test_other_objects_are_found(column: str) -> None:
    values = {"lists": "[Box('a')]", "dicts": "{'a': Box('a')}", "streams": "Stream('a')"}
    values[column] = values[column].replace("'a')", "'changed')")
    fill = f"Item.objects.create({', '.join(f'{name}={value}' for name, value in values.items())})"
    assert_refused(Project(models=OBJECTS, fill=fill), column)


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
