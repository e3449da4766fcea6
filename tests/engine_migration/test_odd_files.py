"""What SQLite allows in a file and Django's models never show: row numbers, collations, and more."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import DatabaseError
from django.db.models.signals import pre_migrate

from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from ops.errors import OpsError
from tests.support.projects import Project, assert_migrated, assert_refused, is_sound, migrate

slow = functools.partial(pytest.param, marks=pytest.mark.slow)
ITEM = "class Item(models.Model):\n    name = models.TextField()\n"
FILL = "Item.objects.create(name='a')\n"

# --- The number of a row ------------------------------------------------------------------------------------------
ROWIDS = """
class Word(models.Model):
    name = models.TextField(db_column='rowid')
    code = models.UUIDField(default=uuid.uuid4)
class Nullable(models.Model):
    rowid = models.IntegerField(null=True)
class Upper(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.TextField(db_column='ROWID')
class Three(models.Model):
    a = models.TextField(db_column='rowid')
    b = models.TextField(db_column='OID')
    c = models.TextField(db_column='_rowid_')
    code = models.UUIDField(default=uuid.uuid4)
class Many(models.Model):
    rowid = models.IntegerField()
"""
FILL_ROWIDS = """
for name in 'ba':
    Word.objects.create(name=name)
    Upper.objects.create(name=name)
    Three.objects.create(a=name, b='x', c='y')
for number in (5, None, 3, 5):
    Nullable.objects.create(rowid=number)
Many.objects.bulk_create([Many(rowid=number // 3000) for number in range(5000)])
"""
ENDS = "".join(f"class {name}(models.Model):\n    name = models.TextField()\n" for name in ("Low", "Both", "High"))
"""Their rows have the lowest and the highest number."""
FILL_ENDS = """
low, high = -2**63, 2**63 - 1
for model, numbers in ((Low, [low, 5]), (Both, [low, high, 0]), (High, [high, 5])):
    for number in numbers:
        model.objects.create(id=number, name='a')
"""
SEQUENCES = {"A": "'abc'", "B": "x'00ff'", "C": "1e30", "D": "NULL", "E": "9.5", "F": "41"}
"""What sqlite_sequence has instead of a number, but for the last."""


def test_table_whose_rows_have_no_number_is_refused() -> None:
    columns = "".join(f"    {name} = models.TextField(db_column={name!r})\n" for name in ("rowid", "oid"))
    assert_refused(
        Project(
            models="class Item(models.Model):\n    id = models.UUIDField(primary_key=True, default=uuid.uuid4)\n"
            f"{columns}    third = models.TextField(db_column='_rowid_')\n",
        ),
        "shop_item has columns named rowid, _rowid_, oid, so that its rows have no number.",
    )


# --- Many columns -------------------------------------------------------------------------------------------------
def wide(columns: int, *fields: str) -> str:
    lines = [f"    c{number} = models.{fields[number % len(fields)]}\n" for number in range(columns)]
    return f"class Wide(models.Model):\n{''.join(lines)}"


FILL_WIDE = "Wide.objects.create(); Wide.objects.create()\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        (600, ["TextField(default='x')"]),
        (600, ["JSONField(default=dict)"]),
        (1200, ["TextField(default='x')", "UUIDField(null=True)"]),
        (1590, ["BooleanField(default=True)"]),
    ],
)
def test_table_with_many_columns_is_migrated(columns: int, fields: list[str]) -> None:
    assert_migrated(Project(models=wide(columns, *fields), fill=FILL_WIDE))


# --- References ---------------------------------------------------------------------------------------------------
PAIR = """
class {0}Parent(models.Model):
    code = models.{1}
class {0}Child(models.Model):
    parent = models.ForeignKey({0}Parent, models.CASCADE, to_field='code')
"""
DASHED = (
    "substr({0}, 1, 8) || '-' || substr({0}, 9, 4) || '-' || substr({0}, 13, 4) || '-' || substr({0}, 17, 4) || '-'"
    " || substr({0}, 21)"
)
TEXT_KEY = "CharField(max_length=9, unique=True)"
COLLATE = "UPDATE sqlite_master SET sql = replace(sql, '\"code\" varchar(9)', '\"code\" varchar(9) COLLATE {}')"
"""The declaration of the column `code`."""
FORMS = {
    "Parent": "UUIDField(default=uuid.uuid4, unique=True)",
    "Child": "UUIDField(default=uuid.uuid4, unique=True)",
    "Both": "UUIDField(default=uuid.uuid4, unique=True)",
    "Address": "GenericIPAddressField(unique=True)",
    "Price": "DecimalField(max_digits=8, decimal_places=2, unique=True)",
    "Collated": TEXT_KEY,
}
"""Kinds of keys whose values are written in one way in the row and in another in what refers to it."""
FILL_FORMS = """
for parent in (ParentParent, ChildParent, BothParent):
    parent.objects.create()
ParentChild.objects.create(parent=ParentParent.objects.get())
ChildChild.objects.create(parent=ChildParent.objects.get())
BothChild.objects.create(parent=BothParent.objects.get())
AddressChild.objects.create(parent=AddressParent.objects.create(code='::1'))
PriceChild.objects.create(parent=PriceParent.objects.create(code='1.50'))
CollatedChild.objects.create(parent=CollatedParent.objects.create(code='hp'))
"""
OTHER_FORMS = [
    f"UPDATE shop_parentparent SET code = {DASHED.format('code')}",
    "UPDATE shop_childchild SET parent_id = upper(parent_id)",
    "UPDATE shop_bothparent SET code = upper(code)",
    f"UPDATE shop_bothchild SET parent_id = {DASHED.format('parent_id')}",
    "UPDATE shop_addresschild SET parent_id = '0:0:0:0:0:0:0:1'",
    "UPDATE shop_priceparent SET code = '1.50'",
    COLLATE.format("NOCASE") + " WHERE name = 'shop_collatedparent'",
]


# --- All in one file ----------------------------------------------------------------------------------------------
def test_odd_tables_are_migrated() -> None:
    """Columns with names of the row number, also where cells have to be converted; row numbers at both ends of 64 bits;
    numbers of other programs in sqlite_sequence; many columns; references to the same value in another form, or by a
    collation to the same text.
    """
    outcome = migrate(
        Project(
            models=ROWIDS
            + ENDS
            + "".join(f"class {name}(models.Model):\n    name = models.TextField()\n" for name in SEQUENCES)
            + wide(600, "TextField(default='x')", "PositiveIntegerField(default=1)", "DateTimeField(null=True)")
            + "".join(PAIR.format(*kind) for kind in FORMS.items()),
            fill=FILL_ROWIDS
            + FILL_ENDS
            + "".join(f"{name}.objects.create(name='a')\n" for name in SEQUENCES)
            + FILL_WIDE
            + FILL_FORMS,
            raw=[
                *(f"UPDATE shop_{table} SET code = upper(code)" for table in ("word", "three")),
                *(
                    f"UPDATE sqlite_sequence SET seq = {seq} WHERE name = 'shop_{name.lower()}'"
                    for name, seq in SEQUENCES.items()
                ),
                *OTHER_FORMS,
            ],
            after="extra = [model.objects.create(name='b').pk for model in (A, B, C, D, E, F)]",
        )
    )
    # The only kind of value that Django reads from SQLite as it is written there.
    assert outcome.differences == [
        "shop.AddressChild: {'id': '1', 'parent_id': \"'0:0:0:0:0:0:0:1'\"} became {'id': '1', 'parent_id': \"'::1'\"}"
    ], outcome
    is_sound(dataclasses.replace(outcome, differences=[]))
    assert outcome.dry.code == 0, outcome
    assert outcome.extra == [2, 2, 2, 2, 2, 42], "numbers that are none are ignored"
    assert "Note SQLite's table sqlite_sequence has no number for shop_a, shop_b, shop_c, shop_d, shop_e: there" in (
        outcome.dry.words
    )


def test_findings_and_quarantine_have_the_right_rows(tmp_path: Path) -> None:
    """Of tables with columns that are named like the row number, with many columns, and with references in any form.

    Rows that refer to refused ones go along; those whose row has a double do not.
    """
    quarantine = tmp_path / "refused"
    one, two, three = (str(number) * 32 for number in (1, 2, 3))
    outcome = migrate(
        Project(
            models=ROWIDS
            + wide(400, "TextField(default='x')")
            + """
class Parent(models.Model):
    id = models.UUIDField(primary_key=True)
    n = models.IntegerField()
class Child(models.Model):
    parent = models.ForeignKey(Parent, models.CASCADE)
""",
            fill=FILL_ROWIDS
            + FILL_WIDE
            + f"""
for code in ({one!r}, {two!r}):
    Child.objects.create(parent=Parent.objects.create(id=code, n=1))
""",
            raw=[
                "UPDATE shop_word SET code = 'x' WHERE id = 2",
                "UPDATE shop_three SET code = 'y' WHERE id = 1",
                "UPDATE shop_nullable SET rowid = 'z' WHERE id = 4",
                "UPDATE shop_wide SET c399 = x'00', c1 = 'a' || char(0) WHERE id = 2",
                "UPDATE shop_child SET parent_id = upper(parent_id)",
                f"INSERT INTO shop_child (id, parent_id) VALUES (3, '{three}')",
                f"UPDATE shop_parent SET n = 'x', id = {DASHED.format('id')} WHERE id = '{two}'",
                f"INSERT INTO shop_parent (id, n) VALUES ({DASHED.format(repr(one))}, 2)",
            ],
            arguments=["--quarantine", str(quarantine)],
        )
    )
    assert (outcome.dry.code, outcome.real.code) == (2, 3), outcome
    assert {path.stem: path.read_text().count("\n") for path in quarantine.iterdir()} == {
        "shop_word": 1,
        "shop_three": 1,
        "shop_nullable": 1,
        "shop_wide": 1,
        "shop_child": 2,
        "shop_parent": 2,
    }
    for table in ("shop_word", "shop_wide"):
        assert '"id": 2' in (quarantine / f"{table}.jsonl").read_text()
    assert '"code": "y"' in (quarantine / "shop_three.jsonl").read_text()
    assert '"rowid": "z"' in (quarantine / "shop_nullable.jsonl").read_text()
    assert "shop_wide.c399: binary data instead of text" in outcome.dry.words
    assert "shop_wide.c1: a NUL character" in outcome.dry.words


def test_references_that_only_a_collation_makes_are_findings() -> None:
    collations = {"HandParent": "NOCASE", "TrimmedParent": "RTRIM", "MissingParent": "NOCASE", "Key": "NOCASE"}
    outcome = assert_refused(
        Project(
            models="".join(PAIR.format(kind, TEXT_KEY) for kind in ("Hand", "Trimmed", "Missing"))
            + "class Key(models.Model):\n    code = models.CharField(max_length=9, primary_key=True)\n"
            "class Lock(models.Model):\n    key = models.ForeignKey(Key, models.CASCADE)\n",
            fill="""
for parent, child in ((HandParent, HandChild), (TrimmedParent, TrimmedChild), (MissingParent, MissingChild)):
    child.objects.create(parent=parent.objects.create(code='hp'))
Lock.objects.create(key=Key.objects.create(code='hp'))
""",
            raw=[
                *(
                    COLLATE.format(collation) + f" WHERE name = 'shop_{model.lower()}'"
                    for model, collation in collations.items()
                ),
                "UPDATE shop_handchild SET parent_id = 'HP'",
                "UPDATE shop_trimmedchild SET parent_id = 'hp  '",
                "UPDATE shop_missingchild SET parent_id = 'dell'",
                "UPDATE shop_lock SET key_id = 'Hp'",
            ],
        ),
        "shop_handchild.parent_id: equals its row of shop_handparent only by the file's collation; PostgreSQL compares"
        " all characters, so write the value of shop_handparent.code here primary key 1 text 'HP'",
        "shop_trimmedchild.parent_id: equals its row of shop_trimmedparent only by the file's collation",
        "shop_lock.key_id: equals its row of shop_key only by the file's collation",
        "shop_missingchild.parent_id: refers to a missing row of shop_missingparent primary key 1 text 'dell'",
    )
    assert outcome.dry.code == 2


# --- Schema in PostgreSQL -----------------------------------------------------------------------------------------
def test_apps_without_migrations_are_migrated() -> None:
    assert_migrated(
        Project(
            models=ITEM
            + "    others = models.ManyToManyField('self')\n"
            + "class Line(models.Model):\n    item = models.ForeignKey(Item, models.CASCADE)\n",
            fill="item = Item.objects.create(name='a')\nitem.others.add(Item.objects.create(name='b'))\n"
            "Line.objects.create(item=item)",
            migrations=False,
        )
    )


RUN_PYTHON = "def forward(apps, editor):\n    vendor = editor.connection.vendor\n    {}\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("if vendor == 'postgresql': raise RuntimeError('no data\\nfile.')", "RuntimeError: no data file."),
        ("if vendor == 'postgresql': raise SystemExit(7)", "SystemExit: 7."),
        slow("editor.execute('PRAGMA user_version = 4')", 'syntax error at or near "PRAGMA".'),
        slow("1 / (vendor == 'sqlite')", "ZeroDivisionError: division by zero."),
        slow("if vendor == 'postgresql': apps.get_model('shop', 'Nothing')", "LookupError: "),
        slow("editor.execute('SELECT ifnull(1, 2)')", "function ifnull(integer, integer) does not exist."),
    ],
)
def test_migration_that_fails_in_postgresql_is_named(body: str, words: str) -> None:
    assert_refused(
        Project(models=ITEM, fill=FILL, operations=[(RUN_PYTHON.format(body), "migrations.RunPython(forward)")]),
        f"The migration shop.0002_extra failed in PostgreSQL: {words}",
        "No database in use was changed.",
    )


def test_collation_of_sqlite_in_a_model_is_named() -> None:
    assert_refused(
        Project(
            models="class Item(models.Model):\n    name = models.CharField(max_length=9, db_collation='NOCASE')\n",
            fill=FILL,
        ),
        'The migration shop.0001_initial failed in PostgreSQL: collation "NOCASE" for encoding "UTF8" does not exist.',
    )


@pytest.fixture
def failing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Code that `migrate` calls before the first migration raises this."""

    def fail(**_: object) -> None:
        raise request.param

    pre_migrate.connect(fail)
    yield
    pre_migrate.disconnect(fail)


@pytest.mark.parametrize(
    "failing", [ValueError("no\n  file"), SystemExit(), DatabaseError("\nlost\nmore")], indirect=True
)
def test_failure_outside_of_a_migration_is_named(failing: None) -> None:
    with override_database(sqlite_wrapper(":memory:")), pytest.raises(OpsError) as failed:
        run_migrations()
    reason = {"ValueError": "ValueError: no file", "SystemExit": "SystemExit", "DatabaseError": "lost"}
    assert failed.value.message == (
        f"The command migrate failed in SQLite: {reason[type(failed.value.__cause__).__name__]}."
        " No database in use was changed."
    )


@pytest.mark.parametrize("failing", [KeyboardInterrupt()], indirect=True)
def test_interrupted_migrate_is_interrupted(failing: None) -> None:
    with override_database(sqlite_wrapper(":memory:")), pytest.raises(KeyboardInterrupt):
        run_migrations()
