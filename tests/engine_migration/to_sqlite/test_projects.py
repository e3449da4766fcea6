"""Other projects come back to SQLite: types without code of their own, and constraints that SQLite sees otherwise."""

from typing import Any

import pytest

from tests.engine_migration.test_generic_types import FIELDS, OWN_TYPES, VALUES, plain_fields
from tests.support.projects import Outcome, Project, assert_migrated

CODES = {"dry run of the way back": 0, "way back": 0}
ONLY = """
def only(vendor, *statements):
    def forward(apps, editor):
        if editor.connection.vendor == vendor:
            for statement in statements:
                editor.execute(statement, None)
    return migrations.RunPython(forward, migrations.RunPython.noop)
"""


def on_one(vendor: str, *statements: str) -> tuple[str, str]:
    """A migration with SQL for one kind of database."""
    return ONLY, f"only({vendor!r}, {', '.join(map(repr, statements))})"


def come_home(**project: Any) -> Outcome:
    """It has to come home as it was."""
    outcome = assert_migrated(Project(comes_home=True, **project))
    assert {name: ended.code for name, ended in outcome.home.items()} == CODES, str(outcome)
    return outcome


def refused_at_home(*words: str, **project: Any) -> Outcome:
    """The dry run of the way back names all of `words`."""
    outcome = assert_migrated(Project(comes_home=True, **project))
    assert {ended.code for ended in outcome.home.values()} == {2}, str(outcome)
    said = outcome.home["dry run of the way back"].words
    assert [word for word in words if word not in said] == [], str(outcome)
    return outcome


# --- Types --------------------------------------------------------------------------------------------------------
ZONED = ("tstzrange", "timestamptz[]", "tstzmultirange")
"""Their texts depend on the zone of the session."""
TYPES = [kinds for kinds in VALUES if kinds[0] not in ZONED]
CELLS = [
    (f"c{n}", text if kinds[1] == "text" else value)
    for n, kinds in enumerate(TYPES)
    for value, text in VALUES[kinds].items()
]
"""In the spelling of PostgreSQL."""
KEYS = {
    "cidr": ("10.0.0.0/8", "9.0.0.0/8"),
    "numeric": ("10", "9.5"),
    "integer[]": ("{10}", "{9}"),
    "mood": ("ok", "sad"),
}
MODELS = f"""{FIELDS}
class Item(models.Model):
    n = models.IntegerField(default=0)
{plain_fields(TYPES)}
class Converted(models.Model):
    words = ListField(null=True)
    numbers = WholeList(null=True)
    commas = Commas(null=True)
    document = Document(null=True)
    code = Dashed(null=True)
class Wide(models.Model):
    amount = models.DecimalField(max_digits=30, decimal_places=10, null=True)
    whole = models.DecimalField(max_digits=30, decimal_places=0, null=True)
""" + "".join(
    f"class Key{n}(models.Model):\n    v = Plain(pg={kind!r}, primary_key=True)\n" for n, kind in enumerate(KEYS)
)
FILL = f"""
for name, value in {CELLS!r}:
    Item.objects.create(**{{name: value}})
Item.objects.create()
Converted.objects.create(
    words=['a', 'b,"c', ''], numbers=[1, -2], commas=[3, 4], document={{'a': [1.5]}}, code=uuid.UUID(int=77)
)
Converted.objects.create(words=[], numbers=[], commas=[], document=[])
Converted.objects.create()
for digits in ('0.0000000001', '12345.1234567891', '-99999', '1E+4', '0'):
    Wide.objects.create(amount=decimal.Decimal(digits))
for digits in ('123456789012345', '12345678901234500000', '-1E+29'):
    Wide.objects.create(whole=decimal.Decimal(digits))
""" + "".join(f"Key{n}.objects.create(v={value!r})\n" for n, two in enumerate(KEYS.values()) for value in two)


def test_values_of_any_type_come_home() -> None:
    """Also those that fields store otherwise in SQLite, and keys."""
    come_home(
        settings={"USE_TZ": False, "TIME_ZONE": "America/St_Johns"},
        apps=["django.contrib.postgres"],
        first=OWN_TYPES,
        models=MODELS,
        fill=FILL,
        not_compared=["shop.Item", *(f"shop.Key{n}" for n in range(len(KEYS)))],
    )


ODD = {
    "timestamp": ["infinity", "10000-01-01", "0044-03-15 BC"],
    "date[]": ["{infinity}", "{0044-03-15 BC}"],
    "tstzrange": ["[infinity,)", "[10000-01-01,)", "[0044-03-15 BC,)"],
    "daterange": ["[2026-01-01,infinity)", "[0044-03-15 BC,)"],
    "json": ["[" * 3000 + "]" * 3000, '{"b":1,  "a":2}'],
    "interval": ["1 mon", "178000000 years"],
    "numeric": ["NaN", "123456789012345678901234567890"],
    "time": ["24:00"],
    "numeric[]": ["{NaN,1e400}"],
    "real": ["NaN"],
    "point": ["(NaN,1)"],
    "xml": ["<a>ä</a>"],
    "bytea[]": ["{\\x00ff}"],
}
"""By type: values that Python has not, or that SQLite has not."""
PUT = "".join(
    f"sql({f'INSERT INTO shop_odd (n, c{n}) VALUES ({n}, $odd${value}$odd$)'!r})\n"
    for n, values in enumerate(ODD.values())
    for value in values
)


@pytest.mark.slow
def test_odd_values_of_other_types_come_home_as_texts() -> None:
    """Whatever the driver makes of them: SQLite has the texts. It has no NaN."""
    refused_at_home(
        "1 × shop_odd.c9: NaN or negative zero, which SQLite does not store",
        "1 finding:",
        models=f"{FIELDS}class Odd(models.Model):\n    n = models.IntegerField(default=0)\n"
        + plain_fields([(kind, "text") for kind in ODD]),
        after=PUT,
        not_compared_at_home=["shop.Odd"],
    )


AMOUNTS = """
class Amount(models.Model):
    wide = models.DecimalField(max_digits=20, decimal_places=4, null=True)
"""


@pytest.mark.slow
def test_decimals_with_more_digits_than_sqlite_stores_are_findings() -> None:
    """Also where a migration has given the column another type in PostgreSQL than the model."""
    for operations in ([], [on_one("postgresql", "ALTER TABLE shop_amount ALTER wide TYPE numeric")]):
        refused_at_home(
            "2 findings:",
            "× shop_amount.wide: ",
            models=AMOUNTS,
            operations=operations,
            after="for digits in ('1234567890123456.7891', '0.5000', '99999999999.9999', '9999999999999999.9999'):\n"
            "    Amount.objects.create(wide=decimal.Decimal(digits))\n",
            not_compared_at_home=["shop.Amount"],
        )


# --- Constraints --------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_unique_values_that_collide_in_sqlite_are_findings() -> None:
    refused_at_home(
        "1 × shop_item.name: not unique (shop_item.name): another row has the same value",
        "1 × shop_plus: not unique (lower): another row has the same value",
        "1 × shop_word.word: not unique (shop_word.word): another row has the same value",
        models="""
class Item(models.Model):
    name = models.CharField(max_length=9, unique=True)
class Plus(models.Model):
    name = models.CharField(max_length=9)
class Word(models.Model):
    word = models.CharField(max_length=9, primary_key=True)
class Part(models.Model):
    word = models.ForeignKey(Word, models.CASCADE)
""",
        operations=[
            on_one(
                "sqlite",
                "DROP TABLE shop_item",
                "CREATE TABLE shop_item (id integer PRIMARY KEY AUTOINCREMENT, name varchar(9) UNIQUE COLLATE NOCASE)",
                "CREATE UNIQUE INDEX lower ON shop_plus (lower(name))",
                "DROP TABLE shop_word",
                "CREATE TABLE shop_word (word varchar(9) NOT NULL PRIMARY KEY COLLATE NOCASE)",
            )
        ],
        after="""
for name in ('a', 'A', 'ä', 'Ä'):
    Item.objects.create(name=name)
    Plus.objects.create(name=name)
    Part.objects.create(word=Word.objects.create(word=name))
""",
        not_compared=["shop.Item", "shop.Plus", "shop.Word", "shop.Part"],
        not_compared_at_home=["shop.Item", "shop.Plus", "shop.Word", "shop.Part"],
    )


@pytest.mark.slow
def test_rows_that_violate_constraints_of_sqlite_only_are_findings() -> None:
    refused_at_home(
        "1 × shop_item: violates the check constraint five",
        "1 × shop_item.note: NULL in a column that is NOT NULL",
        models="class Item(models.Model):\n    n = models.IntegerField(default=0)\n"
        "    note = models.TextField(null=True, default='')\n",
        operations=[
            on_one(
                "sqlite",
                "DROP TABLE shop_item",
                "CREATE TABLE shop_item (id integer PRIMARY KEY AUTOINCREMENT, n integer CONSTRAINT five CHECK (n < 5),"
                " note text NOT NULL)",
            )
        ],
        after="Item.objects.create(n=7); Item.objects.create(note=None)",
        not_compared=["shop.Item"],
    )


MANY = "".join(f"    c{n} = models.CharField(max_length=9, null=True, db_index={n < 3})\n" for n in range(300))
NAMES = ["it's", "q{0}", "ä" * 31, "x" * 63, "order", "a.b", "ÄRGER"]


@pytest.mark.slow
def test_odd_names_wide_and_empty_tables_come_home() -> None:
    named = "".join(
        f"class Named{n}(models.Model):\n    v = models.IntegerField(db_column={name!r}, unique=True)\n"
        f"    w = models.TextField(db_column={name + 'w' if len(name) < 60 else 'w'!r})\n"
        f"    class Meta:\n        db_table = {name!r}\n"
        for n, name in enumerate(NAMES)
    )
    outcome = come_home(
        models=f"class Wide(models.Model):\n{MANY}class Empty(models.Model):\n    n = models.IntegerField()\n{named}",
        fill="Wide.objects.create(c7='x'); Wide.objects.create(c299='%s'); Wide.objects.create()\n"
        + "".join(
            f"Named{n}.objects.create(v=5, w='%'); Named{n}.objects.create(v=6, w='')\n" for n in range(len(NAMES))
        ),
    )
    assert "c299" not in outcome.home["way back"].out


@pytest.mark.slow
def test_triggers_virtual_tables_and_generated_columns_of_the_file_are_left_to_sqlite() -> None:
    """Triggers do not run for rows that are copied; generated columns have their values."""
    outcome = come_home(
        models="""
class Item(models.Model):
    name = models.CharField(max_length=20)
    loud = models.GeneratedField(
        expression=functions.Upper('name'), output_field=models.CharField(max_length=20), db_persist=True
    )
""",
        operations=[
            on_one(
                "sqlite",
                "CREATE VIRTUAL TABLE found USING fts5(name)",
                "CREATE TRIGGER noted AFTER INSERT ON shop_item BEGIN INSERT INTO found VALUES (NEW.name); END",
                "CREATE TRIGGER kept BEFORE DELETE ON shop_item BEGIN SELECT RAISE(ABORT, 'kept'); END",
            ),
            on_one(
                "postgresql",
                "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
                "CREATE TRIGGER shout BEFORE INSERT ON shop_item FOR EACH ROW EXECUTE FUNCTION shout()",
            ),
        ],
        fill="for name in ('a', 'b'): Item.objects.create(name=name)",
        arguments=["--skip-table", "found"],
    )
    said = outcome.home["way back"].words
    assert (
        "found is a virtual table of SQLite, such as a search index: it is empty in the file, so fill it there." in said
    )
    assert "Triggers of the file did not run for the rows that were copied: kept, noted." in said


@pytest.mark.slow
def test_partitioned_tables_and_tables_of_another_schema_come_home() -> None:
    come_home(
        models="class Item(models.Model):\n    name = models.CharField(max_length=20)\n"
        "class Part(models.Model):\n    n = models.IntegerField()\n"
        "    item = models.ForeignKey(Item, models.CASCADE)\n",
        operations=[
            on_one(
                "postgresql",
                "DROP TABLE shop_part",
                "CREATE TABLE shop_part (id bigint GENERATED BY DEFAULT AS IDENTITY, n integer NOT NULL, item_id bigint"
                " NOT NULL REFERENCES shop_item DEFERRABLE INITIALLY DEFERRED, PRIMARY KEY (id))"
                " PARTITION BY RANGE (id)",
                "CREATE TABLE low PARTITION OF shop_part FOR VALUES FROM (0) TO (3)",
                "CREATE TABLE high PARTITION OF shop_part FOR VALUES FROM (3) TO (1000)",
            )
        ],
        fill="for n in range(6): Part.objects.create(n=n, item=Item.objects.create(name='x'))",
        database_sql=["CREATE SCHEMA app", "ALTER DATABASE {name} SET search_path = app, public"],
    )
