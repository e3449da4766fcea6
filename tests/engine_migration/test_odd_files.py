"""What SQLite allows in a file and Django's models never show: row numbers, collations, and more."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import DatabaseError
from django.db.models.signals import pre_migrate

from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from ops.errors import OpsError
from tests.support.projects import Project, assert_migrated, assert_refused, migrate

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


def test_columns_with_names_of_the_row_number_are_migrated() -> None:
    """Also where cells have to be converted."""
    raw = [f"UPDATE shop_{table} SET code = upper(code)" for table in ("word", "three")]
    assert_migrated(Project(models=ROWIDS, fill=FILL_ROWIDS, raw=raw))


def test_findings_and_quarantine_have_the_right_rows(tmp_path: Path) -> None:
    quarantine = tmp_path / "refused"
    project = Project(
        models=ROWIDS,
        fill=FILL_ROWIDS,
        raw=[
            "UPDATE shop_word SET code = 'x' WHERE id = 2",
            "UPDATE shop_three SET code = 'y' WHERE id = 1",
            "UPDATE shop_nullable SET rowid = 'z' WHERE id = 4",
        ],
        arguments=["--quarantine", str(quarantine)],
    )
    outcome = migrate(project)
    assert (outcome.dry.code, outcome.real.code) == (2, 3), outcome
    assert {path.stem: path.read_text().count("\n") for path in quarantine.iterdir()} == {
        "shop_word": 1,
        "shop_three": 1,
        "shop_nullable": 1,
    }
    assert '"id": 2' in (quarantine / "shop_word.jsonl").read_text()
    assert '"code": "y"' in (quarantine / "shop_three.jsonl").read_text()
    assert '"rowid": "z"' in (quarantine / "shop_nullable.jsonl").read_text()


def test_table_whose_rows_have_no_number_is_refused() -> None:
    columns = "".join(f"    {name} = models.TextField(db_column={name!r})\n" for name in ("rowid", "oid"))
    assert_refused(
        Project(
            models="class Item(models.Model):\n    id = models.UUIDField(primary_key=True, default=uuid.uuid4)\n"
            f"{columns}    third = models.TextField(db_column='_rowid_')\n",
        ),
        "shop_item has columns named rowid, _rowid_, oid, so that its rows have no number.",
    )


def test_rows_at_both_ends_of_64_bits_are_migrated() -> None:
    assert_migrated(
        Project(
            models="".join(f"class {name}(models.Model):\n    name = models.TextField()\n" for name in ("A", "B", "C")),
            fill="""
low, high = -2**63, 2**63 - 1
for model, numbers in ((A, [low, 5]), (B, [low, high, 0]), (C, [high, 5])):
    for number in numbers:
        model.objects.create(id=number, name='a')
""",
        )
    )


def test_numbers_of_other_programs_in_sqlite_sequence_are_ignored() -> None:
    values = {"A": "'abc'", "B": "x'00ff'", "C": "1e30", "D": "NULL", "E": "9.5"}
    outcome = assert_migrated(
        Project(
            models="".join(f"class {name}(models.Model):\n    name = models.TextField()\n" for name in (*values, "F")),
            fill="".join(f"{name}.objects.create(name='a')\n" for name in (*values, "F")),
            raw=[
                *(
                    f"UPDATE sqlite_sequence SET seq = {seq} WHERE name = 'shop_{n.lower()}'"
                    for n, seq in values.items()
                ),
                "UPDATE sqlite_sequence SET seq = 41 WHERE name = 'shop_f'",
            ],
            after="extra = [model.objects.create(name='b').pk for model in (A, B, C, D, E, F)]",
        )
    )
    assert outcome.extra == [2, 2, 2, 2, 2, 42]
    names = ", ".join(f"shop_{name.lower()}" for name in values)
    assert f"Note SQLite's table sqlite_sequence has no number for {names}: there" in outcome.dry.words


# --- Many columns -------------------------------------------------------------------------------------------------
def wide(columns: int, *fields: str) -> str:
    lines = [f"    c{number} = models.{fields[number % len(fields)]}\n" for number in range(columns)]
    return f"class Item(models.Model):\n{''.join(lines)}"


@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        (600, ["TextField(default='x')", "PositiveIntegerField(default=1)", "DateTimeField(null=True)"]),
        slow(600, ["TextField(default='x')"]),
        slow(600, ["JSONField(default=dict)"]),
        slow(1200, ["TextField(default='x')", "UUIDField(null=True)"]),
        slow(1590, ["BooleanField(default=True)"]),
    ],
)
def test_table_with_many_columns_is_migrated(columns: int, fields: list[str]) -> None:
    assert_migrated(Project(models=wide(columns, *fields), fill="Item.objects.create(); Item.objects.create()"))


@pytest.mark.parametrize("columns", [400, slow(1200)])
def test_bad_cells_in_a_table_with_many_columns_are_findings(columns: int) -> None:
    last = columns - 1
    assert_refused(
        Project(
            models=wide(columns, "TextField(default='x')"),
            fill="Item.objects.create(); Item.objects.create()",
            raw=[f"UPDATE shop_item SET c{last} = x'00', c1 = 'a' || char(0) WHERE id = 2"],
        ),
        f"shop_item.c{last}: binary data instead of text",
        "shop_item.c1: a NUL character",
        "primary key 2",
    )


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


def test_references_to_the_same_value_in_another_form_are_migrated() -> None:
    uuids = "UUIDField(default=uuid.uuid4, unique=True)"
    kinds = {
        "Parent": uuids,
        "Child": uuids,
        "Both": uuids,
        "Address": "GenericIPAddressField(unique=True)",
        "Price": "DecimalField(max_digits=8, decimal_places=2, unique=True)",
    }
    outcome = migrate(
        Project(
            models="".join(PAIR.format(*kind) for kind in kinds.items()),
            fill="""
for parent in (ParentParent, ChildParent, BothParent):
    parent.objects.create()
ParentChild.objects.create(parent=ParentParent.objects.get())
ChildChild.objects.create(parent=ChildParent.objects.get())
BothChild.objects.create(parent=BothParent.objects.get())
AddressChild.objects.create(parent=AddressParent.objects.create(code='::1'))
PriceChild.objects.create(parent=PriceParent.objects.create(code='1.50'))
""",
            raw=[
                f"UPDATE shop_parentparent SET code = {DASHED.format('code')}",
                "UPDATE shop_childchild SET parent_id = upper(parent_id)",
                "UPDATE shop_bothparent SET code = upper(code)",
                f"UPDATE shop_bothchild SET parent_id = {DASHED.format('parent_id')}",
                "UPDATE shop_addresschild SET parent_id = '0:0:0:0:0:0:0:1'",
                "UPDATE shop_priceparent SET code = '1.50'",
            ],
        )
    )
    assert (outcome.dry.code, outcome.real.code) == (0, 0), outcome
    # The only kind of value that Django reads from SQLite as it is written there.
    assert outcome.differences == [
        "shop.AddressChild: {'id': '1', 'parent_id': \"'0:0:0:0:0:0:0:1'\"} became {'id': '1', 'parent_id': \"'::1'\"}"
    ]


def test_references_to_missing_rows_are_findings_in_any_form(tmp_path: Path) -> None:
    """With a quarantine, rows that refer to refused ones go along; those whose row has a double do not."""
    quarantine = tmp_path / "refused"
    one, two, three = (str(number) * 32 for number in (1, 2, 3))
    project = Project(
        models="""
class Parent(models.Model):
    id = models.UUIDField(primary_key=True)
    n = models.IntegerField()
class Child(models.Model):
    parent = models.ForeignKey(Parent, models.CASCADE)
""",
        fill=f"""
for code in ({one!r}, {two!r}):
    Child.objects.create(parent=Parent.objects.create(id=code, n=1))
""",
        raw=[
            "UPDATE shop_child SET parent_id = upper(parent_id)",
            f"INSERT INTO shop_child (id, parent_id) VALUES (3, '{three}')",
            f"UPDATE shop_parent SET n = 'x', id = {DASHED.format('id')} WHERE id = '{two}'",
            f"INSERT INTO shop_parent (id, n) VALUES ({DASHED.format(repr(one))}, 2)",
        ],
        arguments=["--quarantine", str(quarantine)],
    )
    outcome = migrate(project)
    assert (outcome.dry.code, outcome.real.code) == (2, 3), outcome
    assert (quarantine / "shop_child.jsonl").read_text().count("\n") == 2
    assert (quarantine / "shop_parent.jsonl").read_text().count("\n") == 2


COLLATE = "UPDATE sqlite_master SET sql = replace(sql, '\"code\" varchar(9)', '\"code\" varchar(9) COLLATE {}')"
"""The declaration of the column `code`."""


def test_references_that_only_a_collation_makes_are_findings() -> None:
    key = "CharField(max_length=9, unique=True)"
    kinds = {"Hand": key, "Trimmed": key, "Missing": key}
    assert_refused(
        Project(
            models="".join(PAIR.format(*kind) for kind in kinds.items())
            + "class Key(models.Model):\n    code = models.CharField(max_length=9, primary_key=True)\n"
            "class Lock(models.Model):\n    key = models.ForeignKey(Key, models.CASCADE)\n",
            fill="""
for parent, child in ((HandParent, HandChild), (TrimmedParent, TrimmedChild), (MissingParent, MissingChild)):
    child.objects.create(parent=parent.objects.create(code='hp'))
Lock.objects.create(key=Key.objects.create(code='hp'))
""",
            raw=[
                *(
                    COLLATE.format(collation) + f" WHERE name = 'shop_{table}'"
                    for table, collation in (
                        ("handparent", "NOCASE"),
                        ("trimmedparent", "RTRIM"),
                        ("missingparent", "NOCASE"),
                        ("key", "NOCASE"),
                    )
                ),
                "UPDATE shop_handchild SET parent_id = 'HP'",
                "UPDATE shop_trimmedchild SET parent_id = 'hp  '",
                "UPDATE shop_missingchild SET parent_id = 'dell'",
                "UPDATE shop_lock SET key_id = 'Hp'",
            ],
        ),
        "shop_handchild.parent_id: equals its row of shop_handparent only by the file's collation NOCASE; PostgreSQL"
        " compares all characters, so write the value of shop_handparent.code here primary key 1 text 'HP'",
        "shop_trimmedchild.parent_id: equals its row of shop_trimmedparent only by the file's collation RTRIM",
        "shop_lock.key_id: equals its row of shop_key only by the file's collation NOCASE",
        "shop_missingchild.parent_id: refers to a missing row of shop_missingparent primary key 1 text 'dell'",
    )


def test_references_by_a_collation_to_the_same_text_are_migrated() -> None:
    assert_migrated(
        Project(
            models=PAIR.format("", "CharField(max_length=9, unique=True)"),
            fill="Child.objects.create(parent=Parent.objects.create(code='hp'))",
            raw=[COLLATE.format("NOCASE") + " WHERE name = 'shop_parent'"],
        )
    )


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
        ("editor.execute('PRAGMA user_version = 4')", 'syntax error at or near "PRAGMA".'),
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
