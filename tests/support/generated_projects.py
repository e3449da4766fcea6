"""Random Django projects: models, names, constraints, time zones, settings of the role, and rows with odd values.

A project is made from one number, so that a failure is repeated by that number alone.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.projects import Project

COLUMNS = [
    *("name", "rowid", "order", "Größe", "select", "a b", "x" * 60, "oid", "ops_row", "user", "Mixed", "d0", "line"),
    *("日本", "it's", "_rowid_", "y" * 70),
]
TEXTS = [
    *("", "a", "A", "ä", "a ", "Ω" * 9, "'", '"', "\\", "\\N", "NULL", "\t", "\n", "\r\n", "{}", "{c}", "%s", "\u202e"),
    *("👍🏽", "e\u0301", "\ufeff", "0", "1e5"),
]
TABLES = ["net/device", "t" * 62, "Größe", "A b", "order"]
INTEGERS = {"SmallIntegerField": 2**15, "IntegerField": 2**31, "BigIntegerField": 2**63}
COUNTS = {f"Positive{name}": limit for name, limit in INTEGERS.items()}
ARGUMENTS = {"CharField": "max_length=40, ", "DecimalField": "max_digits=10, decimal_places=2, "}
DOCUMENTS = [{}, [], {"ä": [1, 2.5, None, True]}, "text", 1, {"b": 1, "a": {"\\": "\n"}}, 10**20, [1e-7]]
KEYS = ["", "", "", "UUIDField", "CharField", "BigIntegerField", "DateField", "DecimalField", "SlugField"]
ROLE_SETTINGS = [
    "timezone = 'Asia/Tokyo'",
    "datestyle = 'German'",
    "bytea_output = 'escape'",
    "intervalstyle = iso_8601",
]
CREATE = """
try:
    with transaction.atomic():
        made[{model!r}].append({model}.objects.create({values}))
except IntegrityError:
    pass  # a unique column has the value already, perhaps in another spelling
"""

Values = Callable[[random.Random], str]
"""The source of a random value in Python."""


def one_of(*values: object) -> Values:
    return lambda rng: repr(rng.choice(values))


def integer(low: int, high: int) -> Values:
    return lambda rng: repr(rng.choice([0, 1, low, high, rng.randint(low, high)]))


def day(rng: random.Random, *years: int) -> str:
    return f"{rng.choice(years)}, {rng.randint(1, 12)}, {rng.randint(1, 28)}"


VALUES: dict[str, Values] = {
    **{name: integer(-limit, limit - 1) for name, limit in INTEGERS.items()},
    **{name: integer(0, limit - 1) for name, limit in COUNTS.items()},
    "CharField": lambda rng: repr("".join(rng.choices(TEXTS, k=2))[:20]),
    "TextField": lambda rng: repr("".join(rng.choices(TEXTS, k=rng.choice([0, 3, 30])))),
    "SlugField": one_of("a", "b-c", "x" * 50),
    "URLField": one_of("http://x/ä"),
    "EmailField": one_of("A@x.de"),
    "FileField": one_of("a/b c.txt"),
    "UUIDField": lambda rng: f"uuid.UUID(int={rng.getrandbits(128)})",
    "BooleanField": one_of(True, False),
    "FloatField": one_of(0.0, -0.0, 0.1, 1e308, 5e-324, 1 / 3, 1e15, 123456789.123),
    "DecimalField": lambda rng: f"decimal.Decimal({one_of('0', '-0.01', '99999999.99', '1.10', '12345678.9')(rng)})",
    "DateField": lambda rng: f"dt.date({day(rng, 1, 1582, 1970, 2026, 9999)})",
    "TimeField": lambda rng: f"dt.time({rng.randrange(24)}, 59, 59, {rng.choice([0, 1, 999999, 120000])})",
    "DateTimeField": lambda rng: f"aware(dt.datetime({day(rng, 2, 1969, 2026, 9998)}, {rng.randrange(24)}, 5, 1, 999))",
    "DurationField": lambda rng: f"dt.timedelta(days={rng.choice([0, -1, 36500])}, microseconds={rng.choice([0, 1])})",
    "BinaryField": lambda rng: repr(rng.randbytes(rng.randrange(9))),
    "JSONField": one_of(*DOCUMENTS),
    "GenericIPAddressField": one_of("10.0.0.1", "::1", "2001:db8::a", "::ffff:1.2.3.4"),
}


@dataclass
class GeneratedModel:
    """A model: its lines, and for each attribute how to make a value."""

    name: str
    lines: list[str] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)


def generated(number: int) -> Project:
    rng = random.Random(number)
    use_tz = rng.random() < 0.7
    models: list[GeneratedModel] = []
    for _ in range(rng.randint(1, 4)):
        models.append(generate_model(rng, models))
    fill = ["from django.db import IntegrityError, transaction", "made = {}"]
    fill.append(f"aware = lambda time: time.replace(tzinfo=dt.UTC if {use_tz} else None)")
    fill += [line for model in models for line in rows_of(rng, model)]
    settings = {"USE_TZ": use_tz, "TIME_ZONE": rng.choice(["UTC", "Europe/Berlin", "Asia/Kathmandu"])}
    if use_tz and rng.random() < 0.2:
        settings["DATABASE"] = {"TIME_ZONE": "America/New_York"}
    has_role = rng.random() < 0.3
    return Project(
        models="\n".join(line for model in models for line in model.lines),
        fill="\n".join(fill),
        settings=settings,
        restored=True,
        role=rng.choice(["CREATEDB", "NOCREATEDB"]) if has_role else None,
        server_sql=[f"ALTER ROLE {{name}} SET {text}" for text in rng.sample(ROLE_SETTINGS, k=2)] if has_role else (),
    )


def generate_model(rng: random.Random, others: list[GeneratedModel]) -> GeneratedModel:
    model = GeneratedModel(f"M{len(others)}")
    model.lines.append(f"class {model.name}(models.Model):")
    if key := rng.choice(KEYS):
        model.lines.append(f"    key = models.{key}({ARGUMENTS.get(key, '')}primary_key=True)")
        model.values["key"] = VALUES[key]
    for place, column in enumerate(rng.sample(COLUMNS, k=rng.randint(1, 6))):
        add_column(rng, model, f"f{place}", column)
    if others and rng.random() < 0.7:
        parent, kind = rng.choice(others).name, rng.choice(["ForeignKey", "OneToOneField"])
        model.lines.append(f"    parent = models.{kind}({parent}, models.CASCADE, null=True, related_name='+')")
        model.values["parent"] = lambda rng: f"(made[{parent!r}] or [None])[{rng.choice([0, -1])}]"
    if others and rng.random() < 0.4:
        model.lines.append(f"    many = models.ManyToManyField({rng.choice(others).name}, related_name='+')")
    if rng.random() < 0.4:
        table = rng.choice(TABLES) + str(len(others))
        model.lines += ["    class Meta:", f"        db_table = {table!r}"]
    return model


def add_column(rng: random.Random, model: GeneratedModel, name: str, column: str) -> None:
    kind, null = rng.choice([*VALUES]), rng.random() < 0.4
    unique = rng.random() < 0.15 and kind not in {"BooleanField", "JSONField", "BinaryField"}
    indexed = not unique and rng.random() < 0.2 and kind not in {"JSONField", "BinaryField", "TextField"}
    arguments = f"{ARGUMENTS.get(kind, '')}{null=}, {unique=}, db_index={indexed}, db_column={column!r}"
    model.lines.append(f"    {name} = models.{kind}({arguments})")
    model.values[name] = lambda rng: "None" if null and rng.random() < 0.3 else VALUES[kind](rng)


def rows_of(rng: random.Random, model: GeneratedModel) -> list[str]:
    lines = [f"made[{model.name!r}] = []"]
    for _ in range(rng.randrange(6)):
        values = ", ".join(f"{name}={make(rng)}" for name, make in model.values.items())
        lines.append(CREATE.format(model=model.name, values=values))
    if any("    many =" in line for line in model.lines):
        lines.append(f"for row in made[{model.name!r}]:\n    row.many.add(*row.many.model._base_manager.all()[:2])")
    return lines
