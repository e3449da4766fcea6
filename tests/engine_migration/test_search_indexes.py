"""Search indexes: virtual tables of SQLite, search vectors of PostgreSQL, and models that differ between both."""

import pytest

from tests.support.projects import Project, assert_migrated, assert_refused

ITEM = "class Item(models.Model):\n    name = models.CharField(max_length=20)\n"
ABSENT = "INSERT INTO sqlite_master VALUES ('table', '{0}', '{0}', 0, 'CREATE VIRTUAL TABLE {0} USING {1}')"
SEARCH = """
sql('CREATE VIRTUAL TABLE notes USING fts5(a)')
sql("INSERT INTO notes VALUES ('x')")
sql('CREATE VIRTUAL TABLE places USING rtree(id, low, high)')
sql('INSERT INTO places VALUES (1, 0, 1)')
"""
FILL = "Item.objects.create(name='a')\n"


def test_virtual_tables_are_unknown_tables() -> None:
    outcome = assert_refused(
        Project(models=ITEM, fill=FILL + SEARCH, raw=[ABSENT.format("geo", "absent(a)")]),
        "no model has this table, a virtual table of SQLite",
        "its rows cannot be counted: no such module: absent",
        "notes_content 1 skipped: a part of a virtual table of SQLite",
        "To skip the unknown tables, add --skip-table geo --skip-table notes --skip-table places.",
    )
    assert outcome.dry.code == 2


def test_virtual_tables_are_skipped() -> None:
    """Those that they consist of need not be named."""
    tables = ["notes", "PLACES", "geo", "idx", "notes_data"]
    assert_migrated(
        Project(
            models=ITEM,
            fill=FILL + SEARCH,
            raw=[ABSENT.format("geo", "absent(a)"), ABSENT.format("idx", "spellfix1")],
            arguments=[word for table in tables for word in ("--skip-table", table)],
        )
    )


# --- Search vectors -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("TextField()", "'fat cats'"),
        ("CharField(max_length=20, null=True)", "None"),
        ("JSONField()", "{'a': 'fat cats'}"),
    ],
)
def test_search_vector_in_place_of_another_value_is_refused(field: str, value: str) -> None:
    """The words of the text would be taken for those of a vector."""
    change = "ALTER TABLE shop_item ALTER words TYPE tsvector USING to_tsvector(words::text)"
    assert_refused(
        Project(
            models=f"{ITEM}    words = models.{field}\n",
            fill=f"Item.objects.create(name='a', words={value})",
            operations=[
                (
                    "from django.db import connection",
                    f"*([migrations.RunSQL({change!r})] if connection.vendor == 'postgresql' else [])",
                )
            ],
        ),
        "In PostgreSQL, the column words of the table shop_item is a search vector, which PostgreSQL makes of a text;"
        " the file has another value. Nothing was changed.",
        "--skip-table shop_item",
    )


SEARCHED = """
from django.db import connection
if connection.vendor == 'sqlite':
    class Entry(models.Model):
        rowid = models.IntegerField(primary_key=True)
        body = models.TextField()
        class Meta:
            db_table = 'search'
"""
OPERATIONS = """
operations = [migrations.DeleteModel('Entry')]
if connection.vendor == 'sqlite':
    sql = ('DROP TABLE search', 'CREATE VIRTUAL TABLE search USING fts5(body)')
    operations = [migrations.RunSQL(text) for text in sql]
"""
INDEX_ENTRY = """
from django.db import connection
class {name}(models.Model):
    title = models.TextField() if connection.vendor == 'sqlite' else pgs.SearchVectorField()
    if connection.vendor == 'postgresql':
        title_text = models.TextField()
    class Meta:
        db_table = {table!r}
if connection.vendor == 'sqlite':
    class FullText{name}(models.Model):
        rowid = models.OneToOneField({name}, models.CASCADE, primary_key=True, db_column='rowid')
        title = models.TextField()
        class Meta:
            managed = False
            db_table = {table!r} + '_fts'
"""
FULL_TEXT = """
sql('CREATE VIRTUAL TABLE {table}_fts USING fts5(title)')
sql('CREATE TRIGGER fill_{table} AFTER INSERT ON {table} BEGIN'
    ' INSERT INTO {table}_fts (rowid, title) VALUES (NEW.id, NEW.title); END')
{name}.objects.create(title="fat cats' hats")
"""
IN_POSTGRES = """
from django.db import connection
import django.contrib.postgres.search as pgs
operations = [
    operation
    for name in ('ModelEntry', 'WagtailEntry')
    for operation in (
        migrations.RemoveField(name, 'title'),
        migrations.AddField(name, 'title', pgs.SearchVectorField()),
        migrations.AddField(name, 'title_text', models.TextField()),
    )
] if connection.vendor == 'postgresql' else []
"""


INDEXES = {
    "modelsearch_indexentry": ("ModelEntry", "rebuild_modelsearch_index"),
    "wagtailsearch_indexentry": ("WagtailEntry", "wagtail_update_index"),
}


def test_search_indexes_of_models_are_skipped() -> None:
    """Virtual tables, and the two of wagtail, whose models have other fields in each database."""
    models, fill = ITEM + SEARCHED, FILL + "sql(\"INSERT INTO search (rowid, body) VALUES (1, 'x')\")"
    for table, (name, _) in INDEXES.items():
        models += INDEX_ENTRY.format(table=table, name=name)
        fill += FULL_TEXT.format(table=table, name=name)
    outcome = assert_migrated(
        Project(
            models=models,
            fill=fill,
            operations=[("from django.db import connection" + OPERATIONS, "*operations"), (IN_POSTGRES, "*operations")],
            not_compared=[f"shop.{name}" for name, _ in INDEXES.values()],
        )
    )
    assert "search 1 skipped: a virtual table of SQLite" in outcome.dry.words
    for table, (_, command) in INDEXES.items():
        assert f"{table} 1 skipped:" in outcome.real.words
        assert f"run manage.py {command} there" in outcome.real.words
        assert f"{table}_fts 1 skipped:" in outcome.real.words
