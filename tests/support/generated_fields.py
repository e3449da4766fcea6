"""Columns of random Django projects: how each kind is declared, and how to make a value of it."""

import random
from collections.abc import Callable
from dataclasses import dataclass

Values = Callable[[random.Random], str]
"""The source of a random value in Python."""

TEXTS = [
    *("", "a", "A", "ä", "a ", "Ω" * 9, "'", '"', "\\", "\\N", "NULL", "\t", "\n", "\r\n", "{}", "{c}", "%s", "\u202e"),
    *("👍🏽", "e\u0301", "\ufeff", "0", "1e5", "ß", "i", "I", "\x7f", "\u2028", "\\.", "--"),
]
DOCUMENTS = [{}, [], {"ä": [1, 2.5, None, True]}, "text", 1, {"b": 1, "a": {"\\": "\n"}}, 10**20, [1e-7]]
WORDS = [[], ["a", "b"], ["", "NULL", 'a"b'], ["a,b", "{}", "\\", "'"], ["ä", "Ω\n"]]
PORTABLE = '''
import json
from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange, NumericRange
class JsonInSqlite:
    """The field in PostgreSQL, a text with JSON in SQLite: what projects do that are developed on SQLite."""
    def db_type(self, connection):
        return super().db_type(connection) if connection.vendor == "postgresql" else "text"
    def get_placeholder(self, value, compiler, connection):
        own = getattr(super(), "get_placeholder", None)
        return own(value, compiler, connection) if own and connection.vendor == "postgresql" else "%s"
    def get_db_prep_value(self, value, connection, prepared=False):
        if value is None or connection.vendor == "postgresql":
            return super().get_db_prep_value(value, connection, prepared)
        return json.dumps(self.dump(value))
    def from_db_value(self, value, expression, connection):
        return self.load(json.loads(value)) if connection.vendor == "sqlite" and value is not None else value
    def dump(self, value):
        return value
    load = dump
class Array(JsonInSqlite, pg.ArrayField):
    pass
class HStore(JsonInSqlite, pg.HStoreField):
    pass
class Ends(JsonInSqlite):
    def dump(self, value):
        return None if value.isempty else [value.lower, value.upper]
    def load(self, value):
        if value is None:
            return self.range_type(empty=True)
        return self.range_type(*value, "()" if value[0] is None else "[)")
class Times(Ends):
    def dump(self, value):
        return None if value.isempty else [end and end.isoformat() for end in (value.lower, value.upper)]
    def load(self, value):
        return super().load(value and [end and self.end.fromisoformat(end) for end in value])
class Integers(Ends, pg.IntegerRangeField):
    pass
class BigIntegers(Ends, pg.BigIntegerRangeField):
    pass
class Days(Times, pg.DateRangeField):
    end = dt.date
class Moments(Times, pg.DateTimeRangeField):
    end = dt.datetime
class Vector(pgs.SearchVectorField):
    def db_type(self, connection):
        return "tsvector" if connection.vendor == "postgresql" else "text"
class CaseInsensitive(models.TextField):
    def db_type(self, connection):
        return "citext" if connection.vendor == "postgresql" else "text"
class Collated(models.CharField):
    """SQLite has other collations than PostgreSQL."""
    def db_parameters(self, connection):
        found = super().db_parameters(connection)
        lite = "NOCASE" if self.db_collation == "any_case" else None
        return found if connection.vendor == "postgresql" else {**found, "collation": lite}
'''
"""Fields that have one type in PostgreSQL and another one in SQLite."""
EXTENSIONS = {
    "HStore": "pgo.HStoreExtension(),",
    " CaseInsensitive(": "pgo.CITextExtension(),",
    "any_case": "pgo.CreateCollation('any_case', 'und-u-ks-level2', provider='icu', deterministic=False),",
    "numeric_order": "pgo.CreateCollation('numeric_order', 'en-u-kn-true', provider='icu'),",
}
"""By what is in the models: the operation that they need before them."""


def one_of(*values: object) -> Values:
    return lambda rng: repr(rng.choice(values))


def code(*values: str) -> Values:
    return lambda rng: rng.choice(values)


def integer(bits: int, low: int | None = None) -> Values:
    low, high = (-(2**bits) if low is None else low), 2**bits - 1
    return lambda rng: repr(rng.choice([0, 1, low, high, rng.randint(low, high)]))


def day(rng: random.Random, *years: int) -> str:
    return f"{rng.choice(years)}, {rng.randint(1, 12)}, {rng.randint(1, 28)}"


def short_text(rng: random.Random) -> str:
    return repr("".join(rng.choices(TEXTS, k=2))[:20])


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of column. `declaration` is without the arguments that each has; `can`: u(nique), i(ndexed), k(ey)."""

    declaration: str
    values: Values
    can: str = "ui"


def kind(declaration: str, values: Values, can: str = "ui") -> Kind:
    return Kind(declaration=declaration, values=values, can=can)


DJANGO = [
    kind("models.SmallIntegerField(", integer(15), "uik"),
    kind("models.IntegerField(", integer(31), "uik"),
    kind("models.BigIntegerField(", integer(63), "uik"),
    kind("models.PositiveSmallIntegerField(", integer(15, 0)),
    kind("models.PositiveIntegerField(", integer(31, 0), "uik"),
    kind("models.PositiveBigIntegerField(", integer(63, 0)),
    kind("models.CharField(max_length=40, ", short_text, "uik"),
    kind("models.TextField(", lambda rng: repr("".join(rng.choices(TEXTS, k=rng.choice([0, 3, 30])))), "u"),
    kind("models.SlugField(", one_of("a", "b-c", "x" * 50), "uik"),
    kind("models.URLField(", one_of("http://x/ä", "")),
    kind("models.EmailField(", one_of("A@x.de", "a@x.de")),
    kind("models.FileField(", one_of("a/b c.txt", "")),
    kind("models.FilePathField(", one_of("/tmp/ä", "")),
    kind("models.UUIDField(", lambda rng: f"uuid.UUID(int={rng.getrandbits(128)})", "uik"),
    kind("models.BooleanField(", one_of(True, False), "i"),
    kind("models.FloatField(", one_of(0.0, -0.0, 0.1, 1e308, 5e-324, 1 / 3, 1e15, 123456789.123)),
    kind(
        "models.DecimalField(max_digits=10, decimal_places=2, ",
        lambda rng: f"decimal.Decimal({one_of('0', '-0.01', '99999999.99', '1.10', '12345678.9')(rng)})",
        "uik",
    ),
    kind("models.DateField(", lambda rng: f"dt.date({day(rng, 1, 1582, 1970, 2026, 9999)})", "uik"),
    kind(
        "models.TimeField(", lambda rng: f"dt.time({rng.randrange(24)}, 59, 59, {rng.choice([0, 1, 999999, 120000])})"
    ),
    kind(
        "models.DateTimeField(",
        lambda rng: f"aware(dt.datetime({day(rng, 2, 1969, 2026, 9998)}, {rng.randrange(24)}, 5, 1, 999))",
    ),
    kind(
        "models.DurationField(",
        lambda rng: f"dt.timedelta(days={rng.choice([0, -1, 36500])}, microseconds={rng.choice([0, 1])})",
    ),
    kind("models.BinaryField(", lambda rng: repr(rng.randbytes(rng.randrange(9))), ""),
    kind("models.JSONField(", one_of(*DOCUMENTS), ""),
    kind("models.GenericIPAddressField(", one_of("10.0.0.1", "::1", "2001:db8::a", "::ffff:1.2.3.4"), "uik"),
]
OTHERS = [
    kind("Array(models.IntegerField(), ", one_of([], [1, -2], [2**31 - 1]), "i"),
    kind("Array(models.CharField(max_length=20), ", one_of(*WORDS), "i"),
    kind("Array(pg.ArrayField(models.SmallIntegerField()), ", one_of([[1, 2], [3, 4]], [[0]]), ""),
    kind("Array(models.BooleanField(), size=3, ", one_of([True, False], []), ""),
    kind("HStore(", one_of({}, {"a": "1", "ä": None}, {"'": '"', "\\": "=>"}), ""),
    kind("Integers(", code("NumericRange(1, 5, '[)')", "NumericRange(None, 3, '()')", "NumericRange(empty=True)"), "i"),
    kind("BigIntegers(", code("NumericRange(-(2**63), 2**63 - 1, '[)')", "NumericRange(7, None, '[)')"), "u"),
    kind("Days(", code("DateRange(dt.date(2026, 1, 1), dt.date(2026, 2, 1), '[)')", "DateRange(empty=True)"), "i"),
    kind("Moments(", code("DateTimeTZRange(aware(dt.datetime(2026, 1, 1)), None, '[)')"), ""),
    kind("Vector(", one_of("'a':1 'b':2A", "", "'it''s':1"), ""),
    kind("CaseInsensitive(", short_text, "u"),
    kind("Collated(max_length=40, db_collation='C', ", short_text),
    kind("Collated(max_length=40, db_collation='any_case', ", short_text, "uik"),
    kind("Collated(max_length=40, db_collation='numeric_order', ", short_text),
    kind("Collated(max_length=40, db_collation='de-x-icu', ", short_text),
]
"""With fields of contrib.postgres, and with collations."""

PLAIN = {
    "pg.ArrayField(models.IntegerField(), ": {"{1,NULL,-3}": "[1, None, -3]", "{}": "[]"},
    "pg.ArrayField(models.TextField(), ": {'{a,"b c","d\\"e",NULL}': "['a', 'b c', 'd\"e', None]"},
    "pg.ArrayField(pg.ArrayField(models.IntegerField()), ": {"{{1,2},{3,4}}": "[[1, 2], [3, 4]]"},
    "pg.HStoreField(": {'"a"=>"1", "b"=>NULL': "{'a': '1', 'b': None}", "": "{}"},
    "pg.IntegerRangeField(": {"(1,5]": "NumericRange(2, 6, '[)')", "empty": "NumericRange(empty=True)"},
    "pg.DecimalRangeField(": {"[1.5,2.50]": "NumericRange(Decimal('1.5'), Decimal('2.50'), '[]')"},
    "pg.DateRangeField(": {"[2026-01-01,)": "DateRange(datetime.date(2026, 1, 1), None, '[)')"},
    "pgs.SearchVectorField(": {"'b':2A 'a':1": "\"'a':1 'b':2A\""},
}
"""Fields of contrib.postgres as they are; SQLite stores texts in them. By text: what Django reads from PostgreSQL."""
