"""Names that one of the databases would change, hide or not tell apart; and those that only look dangerous."""

import contextlib
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from ops.engine_migration.names import check_names, in_postgres, table_in_postgres, table_in_sqlite
from ops.engine_migration.to_postgres import target
from ops.errors import PreconditionFailed
from tests.engine_migration import support
from tests.support.projects import Project, assert_migrated, assert_refused

LONG = "equipment_maintenance_schedule_attachment_of_racks_and_shelve"
RENAME = "Rename one of them in the models (db_table, db_column), and migrate the file with Django first."


LONG_NAMES = f"""
class Tag(models.Model):
    name = models.CharField(max_length=20)
class Base(models.Model):
    tags = models.ManyToManyField(Tag)
    class Meta:
        abstract = True
class Exact(Base):
    class Meta:
        db_table = {"t" * 59!r}
class Longer(Base):
    others = models.ManyToManyField('self')
    class Meta:
        db_table = {LONG!r}
class Named(Base):
    class Meta:
        db_table = {"w" * 70!r}
class Umlauts(models.Model):
    class Meta:
        db_table = {"ä" * 40!r}
class {"Model" * 14}(Base):
    {"n" * 80} = models.TextField()
"""
"""Django shortens names that it makes, PostgreSQL those that it is given."""
FILL_LONG_NAMES = f"""
tag = Tag.objects.create(name='a')
for model in (Exact, Longer, Named):
    model.objects.create().tags.add(tag)
Umlauts.objects.create()
Longer.objects.get().others.add(Longer.objects.create())
{"Model" * 14}.objects.create({"n" * 80}='b').tags.add(tag)
"""
IN_OTHER_CASE = """
class Label(models.Model):
    name = models.TextField()
class Item(models.Model):
    labels = models.ManyToManyField(Label)
class Shelf(models.Model):
    name = models.TextField(db_column='Name', unique=True)
    class Meta:
        db_table = 'LIST'
class Left(models.Model):
    pass
"""
FILL_IN_OTHER_CASE = """
Item.objects.create().labels.add(Label.objects.create(name='a'))
Shelf.objects.create(name='b')
"""


def respelled(table: str, name: str) -> list[str]:
    """Statements that rename the table. SQLite takes names that differ in case for the same."""
    return [f'ALTER TABLE "{table}" RENAME TO other', f'ALTER TABLE other RENAME TO "{name}"']


def respelled_column(table: str, column: str, name: str) -> list[str]:
    return [f"ALTER TABLE {table} RENAME {column} TO other", f"ALTER TABLE {table} RENAME other TO {name}"]


RESPELLED = [
    *respelled("shop_item", "Shop_Item"),
    *respelled("shop_item_labels", "SHOP_ITEM_LABELS"),
    *respelled("LIST", "list"),
    *respelled("auth_group", "AUTH_group"),
    *respelled_column("shop_label", "name", "NAME"),
    *respelled_column("list", "Name", "name"),
]
IN_QUERIES = """
class Line(models.Model):
    line = models.CharField(max_length=9, primary_key=True)
    d0 = models.JSONField()
    ops_row = models.TextField(null=True)
    ops_row_ = models.UUIDField(default=uuid.uuid4)
    copy = models.TextField(unique=True)
class Document(models.Model):
    d0 = models.TextField(primary_key=True)
    d1 = models.JSONField()
    value = models.JSONField()
class Child(models.Model):
    number = models.UUIDField(primary_key=True, default=uuid.uuid4)
    child = models.ForeignKey(Line, models.CASCADE, db_column='parent')
"""
"""Names that queries of the migration use."""
FILL_IN_QUERIES = """
for name in ('b', 'a', 'C'):
    line = Line.objects.create(line=name, d0={'a': name}, ops_row=name, copy=name)
    Document.objects.create(d0=name, d1=name, value=[name])
    Child.objects.create(child=line)
"""
NEED_QUOTES = ["net/device", "it's", "order", "public.line", "{0}", "Größe", " a, b "]
QUOTED = "".join(
    f"class Quoted{number}(models.Model):\n    name = models.TextField(db_column={name!r})\n"
    f"    class Meta:\n        db_table = {name!r}\n"
    for number, name in enumerate(NEED_QUOTES)
)
FILL_QUOTED = "; ".join(f"Quoted{number}.objects.create(name='a')" for number in range(len(NEED_QUOTES)))


def test_odd_names_are_migrated() -> None:
    outcome = assert_migrated(
        Project(
            models=LONG_NAMES + IN_OTHER_CASE + IN_QUERIES + QUOTED,
            fill=FILL_LONG_NAMES + FILL_IN_OTHER_CASE + FILL_IN_QUERIES + FILL_QUOTED,
            raw=[
                *RESPELLED,
                "UPDATE shop_line SET ops_row_ = upper(ops_row_)",
                "UPDATE shop_child SET number = upper(number)",
            ],
            arguments=["--skip-table", "SHOP_left"],
        )
    )
    assert "skipped: by --skip-table" in outcome.dry.words


# --- Refused ------------------------------------------------------------------------------------------------------
def test_name_of_a_system_column_is_refused() -> None:
    assert_refused(
        Project(models="class Item(models.Model):\n    name = models.TextField(db_column='ctid')\n"),
        "shop.Item has a column ctid, and PostgreSQL has a system column of that name in every table.",
    )


@isolate_apps("tests.otherproject")
def test_name_of_a_system_table_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class One(models.Model):
        class Meta:
            app_label = "otherproject"
            db_table = "pg_class"

    monkeypatch.setattr(target, "concrete_models", lambda: [One])
    with (
        contextlib.closing(support.server().address.connect()) as connection,
        pytest.raises(PreconditionFailed) as refused,
    ):
        target.require_free_names(connection)
    assert refused.value.message == (
        "otherproject.One has the table pg_class, and PostgreSQL has a system table of that name."
    )


def refusal(*found: Any) -> str:
    with pytest.raises(PreconditionFailed) as refused:
        check_names(found)
    return str(refused.value)


@pytest.mark.parametrize(
    ("first", "second", "where"),
    [
        ("n" * 64 + "a", "n" * 64 + "b", "PostgreSQL, which keeps 63 bytes"),
        ("ä" * 32, "ä" * 31, "PostgreSQL, which keeps 63 bytes"),
        ("name", "NAME", "SQLite, which ignores case"),
        ("Ärger", "Ä" + "RGER", "SQLite, which ignores case"),
    ],
)
@isolate_apps("tests.otherproject")
def test_names_that_would_be_one_are_refused(first: str, second: str, where: str) -> None:
    class One(models.Model):
        left = models.TextField(db_column=first)
        right = models.TextField(db_column=second)

        class Meta:
            app_label = "otherproject"

    assert refusal(One) == f"The columns of otherproject.One {first} and {second} have one name in {where}.\n{RENAME}"

    class Left(models.Model):
        class Meta:
            app_label = "otherproject"
            db_table = first

    class Right(models.Model):
        class Meta:
            app_label = "otherproject"
            db_table = second

    assert refusal(Left, Right) == f"The tables {first} and {second} have one name in {where}.\n{RENAME}"


@pytest.mark.parametrize("name", ["ctid", "xmin", "tableoid"])
@isolate_apps("tests.otherproject")
def test_system_columns_are_refused(name: str) -> None:
    class One(models.Model):
        left = models.TextField(db_column=name)

        class Meta:
            app_label = "otherproject"

    assert refusal(One).startswith(f"otherproject.One has a column {name}, and PostgreSQL has a system column")


@pytest.mark.parametrize(("table", "column"), [("5%", "name"), ("shop_item", "100%"), ("%s", "%(name)s")])
@isolate_apps("tests.otherproject")
def test_names_with_a_percent_sign_are_refused(table: str, column: str) -> None:
    class One(models.Model):
        left = models.TextField(db_column=column)

        class Meta:
            app_label = "otherproject"
            db_table = table

    name = table if "%" in table else column
    assert refusal(One).startswith(f"otherproject.One has the name {name}, and Django cannot read names with a % from")


@isolate_apps("tests.otherproject")
def test_names_that_differ_are_accepted() -> None:
    class One(models.Model):
        left = models.TextField(db_column="n" * 62 + "a")
        right = models.TextField(db_column="n" * 62 + "b")
        other = models.TextField(db_column="ÄRGER")
        again = models.TextField(db_column="äRGER")
        upper = models.TextField(db_column="CTID")

        class Meta:
            app_label = "otherproject"

    check_names([One])


# --- Names of tables ----------------------------------------------------------------------------------------------
@isolate_apps("tests.otherproject")
def test_table_has_the_name_that_django_gives_in_each_database() -> None:
    class Long(models.Model):
        class Meta:
            app_label = "otherproject"
            db_table = LONG

    class Tagged(models.Model):
        longs = models.ManyToManyField(Long, db_table="x" * 70)
        equipment_maintenance_schedules_of_all_racks_and_shelves = models.ManyToManyField(Long, related_name="+")

        class Meta:
            app_label = "otherproject"

    named, automatic = (field.remote_field.through for field in Tagged._meta.local_many_to_many)
    assert table_in_sqlite(Long) == table_in_postgres(Long) == LONG
    assert (table_in_sqlite(named), table_in_postgres(named)) == ("x" * 70, "x" * 63)
    full = "otherproject_tagged_equipment_maintenance_schedules_of_all_racks_and_shelves"
    assert table_in_sqlite(automatic) == full
    # With a hash, as in Django.
    assert table_in_postgres(automatic) == full[:59] + "c9e2"
    assert in_postgres("ä" * 40) == "ä" * 31
