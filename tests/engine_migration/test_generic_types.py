"""Types that have no code of their own: PostgreSQL says what the text of each value is, or that it is none."""

from pathlib import Path

import pytest

from ops.engine_migration.types import GENERIC, column_type
from tests.engine_migration import support
from tests.support.projects import Project, assert_refused, is_sound, migrate

FIELDS = '''
import json
class Plain(models.Field):
    """A column of the type `pg`, without conversions; SQLite has `lite`."""
    def __init__(self, *args, pg="", lite="text", **kwargs):
        self.pg, self.lite = pg, lite
        super().__init__(*args, **kwargs)
    def deconstruct(self):
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "pg": self.pg, "lite": self.lite}
    def db_type(self, connection):
        return self.pg if connection.vendor == "postgresql" else self.lite
class ListField(models.Field):
    """An array in PostgreSQL, JSON in SQLite."""
    kind = "varchar(20)[]"
    def db_type(self, connection):
        return self.kind if connection.vendor == "postgresql" else "text"
    def get_db_prep_value(self, value, connection, prepared=False):
        return value if value is None or connection.vendor == "postgresql" else json.dumps(value)
    def from_db_value(self, value, expression, connection):
        return json.loads(value) if isinstance(value, str) else value
class WholeList(ListField):
    kind = "integer[]"
class Commas(ListField):
    """Separated by commas in SQLite."""
    kind = "integer[]"
    def get_db_prep_value(self, value, connection, prepared=False):
        return value if value is None or connection.vendor == "postgresql" else ",".join(map(str, value))
    def from_db_value(self, value, expression, connection):
        return [int(part) for part in value.split(",") if part] if isinstance(value, str) else value
class Document(models.Field):
    """jsonb in PostgreSQL, JSON in a text of SQLite."""
    def db_type(self, connection):
        return "jsonb" if connection.vendor == "postgresql" else "text"
    def get_db_prep_value(self, value, connection, prepared=False):
        return value if value is None else json.dumps(value)
    def from_db_value(self, value, expression, connection):
        return json.loads(value) if isinstance(value, str) else value
class Dashed(models.Field):
    """A UUID, written with dashes in SQLite."""
    def db_type(self, connection):
        return "uuid" if connection.vendor == "postgresql" else "char(36)"
    def get_db_prep_value(self, value, connection, prepared=False):
        return value if value is None or connection.vendor == "postgresql" else str(value)
    def from_db_value(self, value, expression, connection):
        return uuid.UUID(value) if isinstance(value, str) else value
'''
VALUES: dict[tuple[str, str], dict[object, str]] = {
    ("cidr", "text"): {"10.0.0.0/8": "10.0.0.0/8", "2001:DB8::/32": "2001:db8::/32"},
    ("inet", "text"): {"10.0.0.5/24": "10.0.0.5/24", "10.0.0.5": "10.0.0.5/32", "::1/64": "::1/64"},
    ("macaddr", "text"): {"08-00-2B-01-02-03": "08:00:2b:01:02:03"},
    ("json", "text"): {'{"b":1, "a":  2}': '{"b":1, "a":  2}'},
    ("numeric", "text"): {"1.50": "1.50", "12345678901234567890.123456789": "12345678901234567890.123456789"},
    ("numeric", "decimal"): {1.5: "1.5", 3: "3"},
    ("numeric(8)", "decimal"): {15: "15"},
    ("decimal(12,4)", "text"): {"1.5": "1.5000", "12.3400": "12.3400"},
    ("char(10)", "text"): {"abc": "abc", "it's": "it's"},
    ("bit(3)", "text"): {"101": "101"},
    ("bit varying(8)", "text"): {"10110": "10110"},
    ("int4range", "text"): {"[1,5)": "[1,5)", "(1,5]": "[2,6)", "empty": "empty"},
    ("tstzrange", "text"): {
        '["2026-01-01 00:00:00+02",)': '["2025-12-31 22:00:00+00",)',
        '["2026-01-01 00:00:00",)': '["2026-01-01 03:30:00+00",)',
    },
    ("timestamptz[]", "text"): {'{"2026-07-01 00:00:00"}': '{"2026-07-01 02:30:00+00"}'},
    ("tstzmultirange", "text"): {'{["2026-07-01 00:00:00",)}': '{["2026-07-01 02:30:00+00",)}'},
    ("text[]", "text"): {"{a,b}": "{a,b}", '{"a, b",NULL,"c\\"d"}': '{"a, b",NULL,"c\\"d"}', "{}": "{}"},
    ("integer[]", "text"): {"{{1,2},{3,4}}": "{{1,2},{3,4}}"},
    ("tsvector", "text"): {"'fat':2 'cat':3A": "'cat':3A 'fat':2"},
    ("point", "text"): {"3,4": "(3,4)"},
    ("money", "text"): {"$1,000.50": "$1,000.50", "12.34": "$12.34"},
    ("timestamp", "text"): {"2026-01-01T12:00:00.5": "2026-01-01 12:00:00.5"},
    ("time with time zone", "text"): {"12:00:00+02": "12:00:00+02"},
    ("real", "real"): {1.5: "1.5", 0.1: "0.1"},
    ("interval", "text"): {"1 day 02:00:00": "1 day 02:00:00", "3 mons": "3 mons"},
    ("uuid", "text"): {"6FA459EA-ee8a-3ca4-894e-db77e160355e": "6fa459ea-ee8a-3ca4-894e-db77e160355e"},
    ("oid", "integer"): {5: "5"},
    ("pg_lsn", "text"): {"16/B374D848": "16/B374D848"},
    ("mood", "text"): {"ok": "ok"},
    ("short", "text"): {"abcd": "abcd"},
}
"""By the type in PostgreSQL and in SQLite: stored values, and their text in PostgreSQL."""
OWN_TYPES = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN short AS varchar(9) CHECK (length(value) < 5)"


def plain_fields(types: list[tuple[str, str]]) -> str:
    return "".join(f"    c{n} = Plain(pg={pg!r}, lite={lite!r}, null=True)\n" for n, (pg, lite) in enumerate(types))


CELLS = [(f"c{n}", value) for n, values in enumerate(VALUES.values()) for value in values]
KEYS = {"cidr": ("10.0.0.0/8", "9.0.0.0/8"), "numeric": ("10", "9.5"), "integer[]": ("{10}", "{9}")}
MODELS = f"""{FIELDS}
class Item(models.Model):
    n = models.IntegerField(default=0)
{plain_fields([*VALUES])}
class Converted(models.Model):
    words = ListField(null=True)
    numbers = WholeList(null=True)
    commas = Commas(null=True)
    document = Document(null=True)
    code = Dashed(null=True)
class Contrib(models.Model):
    numbers = pg.ArrayField(models.IntegerField(), null=True)
    span = pg.IntegerRangeField(null=True)
    days = pg.DateRangeField(null=True)
    words = pgs.SearchVectorField(null=True)
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
""" + "".join(f"Key{n}.objects.create(v={value!r})\n" for n, two in enumerate(KEYS.values()) for value in two)
CONTRIB = "1, '{1,2}', '[1,4)', '[2026-01-01,2026-02-01)', '''fat'':2'"
AFTER = f"""
cursor = connection.cursor()
cursor.execute("SET lc_monetary = 'C'; SET timezone = 'UTC'")
extra = {{'texts': [], 'contrib': [repr(item) for item in Contrib.objects.order_by('pk').values_list()[0]]}}
for number, (name, _) in enumerate({CELLS!r}, 1):
    cursor.execute(f'SELECT {{name}}::text FROM shop_item WHERE id = %s', [number])
    extra['texts'] += cursor.fetchone()
extra['keys'] = [model.objects.count() for model in ({", ".join(f"Key{n}" for n in range(len(KEYS)))})]
"""


@pytest.mark.parametrize("role", [None, "NOCREATEDB"])
def test_values_of_any_type_are_migrated(role: str | None) -> None:
    """Also those that fields store otherwise in SQLite, those of contrib.postgres, and keys.

    Times without an offset are those of the time zone of the project.
    """
    outcome = migrate(
        Project(
            role=role,
            settings={"USE_TZ": False, "TIME_ZONE": "America/St_Johns"},
            apps=["django.contrib.postgres"],
            first=OWN_TYPES,
            models=MODELS,
            fill=FILL,
            raw=[f"INSERT INTO shop_contrib VALUES ({CONTRIB})", "INSERT INTO shop_contrib (id) VALUES (2)"],
            after=AFTER,
        )
    )
    assert (outcome.dry.code, outcome.real.code, outcome.left) == (0, 0, []), str(outcome)
    assert dict(zip(CELLS, outcome.extra["texts"], strict=True)) == {
        (f"c{n}", value): text for n, values in enumerate(VALUES.values()) for value, text in values.items()
    }
    assert [difference for difference in outcome.differences if difference.startswith("shop.Converted")] == []
    assert outcome.extra["contrib"][1:] == [
        "[1, 2]",
        "NumericRange(1, 4, '[)')",
        "DateRange(datetime.date(2026, 1, 1), datetime.date(2026, 2, 1), '[)')",
        "\"'fat':2\"",
    ]
    assert outcome.extra["keys"] == [2, 2, 2]


def test_types_of_extensions_are_read_after_a_restore_in_the_same_process() -> None:
    """They have other OIDs in each database."""
    outcome = migrate(
        Project(
            apps=["django.contrib.postgres"],
            first_operations="pgo.HStoreExtension(), pgo.CITextExtension(),",
            models=f"{FIELDS}class Item(models.Model):\n    pairs = pg.HStoreField()\n"
            "    more = Plain(pg='hstore[]')\n    words = Plain(pg='citext[]')\n",
            raw=["""INSERT INTO shop_item VALUES (1, '"a"=>"1"', '{"\\"b\\"=>NULL"}', '{Ä,a}')"""],
            after="extra = [*Item.objects.values_list('pairs', 'more', 'words')[0]]",
            not_compared=["shop.Item"],
            restored=True,
        )
    )
    is_sound(outcome)
    assert outcome.extra == [{"a": "1"}, [{"b": None}], ["Ä", "a"]]


BAD = {
    ("cidr", "text"): "10.0.0.5/8",
    ("int4range", "text"): "abc",
    ("json", "text"): "{",
    ("char(3)", "text"): "abcd",
    ("varchar(3)[]", "text"): "{abcd}",
    ("bit(3)", "text"): "10",
    ("mood", "text"): "glad",
    ("short", "text"): "longer",
    ("integer[]", "text"): "[3, 4]",
}
CHANGED = {
    ("numeric(8)", "text"): "1.6",
    ("timestamp(0)", "text"): "2026-01-01 12:00:00.6",
    ("real", "real"): 0.1234567891,
    ("money", "text"): "12.345",
    ("numeric(6,2)[]", "text"): "{1.005}",
    ("name", "text"): "x" * 64,
}


def test_values_that_postgresql_refuses_are_findings() -> None:
    fill = "".join(f"Item.objects.create(c{n}={value!r})\n" for n, value in enumerate(BAD.values()))
    outcome = assert_refused(
        Project(
            models=f"{FIELDS}class Item(models.Model):\n{plain_fields([*BAD])}",
            first=OWN_TYPES,
            fill=f"{fill}Item.objects.create()",
        ),
        *(f"1 × shop_item.c{number}: " for number in range(len(BAD))),
    )
    assert outcome.dry.code == 2
    assert "PostgreSQL would cut or round it" not in outcome.dry.words


UNREADABLE = {"words": "[1", "commas": "1,x", "code": "no"}


def test_values_that_would_change_or_that_no_field_reads_go_into_quarantine(tmp_path: Path) -> None:
    """With the rows that refer to them. Values of columns that look secret are not shown."""
    outcome = migrate(
        Project(
            models=f"{FIELDS}class Item(models.Model):\n{plain_fields([*CHANGED])}"
            "class Part(models.Model):\n    item = models.ForeignKey(Item, models.CASCADE)\n"
            "class Converted(models.Model):\n    words = ListField(null=True)\n    commas = Commas(null=True)\n"
            "    code = Dashed(null=True)\n"
            "class Access(models.Model):\n    token = Commas(null=True)\n    key = Plain(pg='cidr')\n",
            fill="".join(f"Item.objects.create(c{n}={value!r})\n" for n, value in enumerate(CHANGED.values()))
            + "for item in (Item.objects.earliest('pk'), Item.objects.create()):\n    Part.objects.create(item=item)\n"
            "Converted.objects.create(words=['a'])\n",
            raw=[
                *(f"INSERT INTO shop_converted ({name}) VALUES ('{value}')" for name, value in UNREADABLE.items()),
                "INSERT INTO shop_access (token, key) VALUES ('4,secret', 'secret')",
            ],
            arguments=["--quarantine", str(tmp_path / "refused")],
            after="extra = [Item.objects.count(), Part.objects.count(), Converted.objects.get().words]",
        )
    )
    assert (outcome.dry.code, outcome.real.code) == (2, 3), str(outcome)
    words = [
        *(f"1 × shop_item.c{number}: PostgreSQL would cut or round it" for number in range(len(CHANGED))),
        *("shop_converted.words: JSONDecodeError: ", "shop_converted.commas: ValueError: "),
        *("shop_converted.code: ValueError: ", "shop_access.token: ValueError"),
        "shop_access.key: PostgreSQL: invalid input syntax for type cidr",
    ]
    assert [word for word in words if word not in outcome.dry.words] == [], str(outcome)
    assert "secret" not in outcome.dry.words
    assert outcome.extra == [1, 1, ["a"]]
    assert {path.name: path.read_text().count("\n") for path in (tmp_path / "refused").iterdir()} == {
        "shop_item.jsonl": len(CHANGED),
        "shop_part.jsonl": 1,
        "shop_converted.jsonl": len(UNREADABLE),
        "shop_access.jsonl": 1,
    }


def test_no_field_of_django_and_of_other_apps_is_generic(file: Path) -> None:
    with support.prepared(file) as ready:
        columns = [(table.name, column) for table in ready.plan.tables for column in table.columns]
    assert len(columns) > 100
    assert [f"{table}.{column.name}: {column.db_type}" for table, column in columns if column.type is GENERIC] == []


def test_type_that_does_not_exist_is_named() -> None:
    assert_refused(
        Project(models=f"{FIELDS}class Item(models.Model):\n{plain_fields([('nosuchtype', 'text')])}"), "nosuchtype"
    )


@pytest.mark.parametrize(
    ("db_type", "stored_as"),
    [
        *(("varchar(20)[]", "text"), ("char(10)", "char(10)"), ("uuid", "char(36)"), ("uuid", "text")),
        *(("time(0) without time zone", "time"), ("timestamp(3) with time zone", "datetime"), ("numeric", "decimal")),
        *(("decimal(12,4)", "text"), ("bit(3)", "text"), ("interval", "text"), ("citext", "text")),
    ],
)
def test_other_pairs_of_types_are_generic(db_type: str, stored_as: str) -> None:
    assert column_type(db_type, stored_as=stored_as) is GENERIC


@pytest.mark.parametrize(
    ("db_type", "stored_as"),
    [
        *(("character varying(20)", "varchar(20)"), ("text", "text"), ("numeric(12, 4)", "decimal")),
        *(("bigint", "integer"), ("integer", "integer unsigned"), ("smallint", "smallint unsigned")),
        *(("timestamp with time zone", "datetime"), ("time without time zone", "time"), ("uuid", "char(32)")),
        *(("jsonb", "text"), ("bytea", "BLOB"), ("interval", "bigint"), ("inet", "char(39)"), ("boolean", "bool")),
    ],
)
def test_the_types_of_djangos_fields_are_not_generic(db_type: str, stored_as: str) -> None:
    assert column_type(db_type, stored_as=stored_as) is not GENERIC
