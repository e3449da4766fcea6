"""Random Django projects: models, names, constraints, migrations with SQL, time zones, settings of role and database.

A project is made from one number, so that a failure is repeated by that number alone. Kinds of columns, names, features
and settings are dealt like cards, so that ten projects whose numbers differ in the last digit only have most of them.
"""

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from tests.support import generated_features
from tests.support.generated_features import Draft, GeneratedModel, quoted
from tests.support.generated_fields import DJANGO, EXTENSIONS, OTHERS, PLAIN, PORTABLE, Kind
from tests.support.projects import Project

Card = TypeVar("Card")

COLUMNS = [
    *("name", "rowid", "order", "Größe", "select", "a b", "x" * 60, "oid", "ops_row", "user", "Mixed", "d0", "line"),
    *("日本", "it's", "_rowid_", "y" * 70, "ä" * 40, "{0}", "a.b", "\\", "a\tb", "ÄRGER", "row", "value", "n", "v"),
    *("--", "/*", "null", "id_", "🦔", "json", "text", "ctid_", "default", "tableoid_", "CASE"),
]
TABLES = ["net/device", "t" * 62, "Größe", "A b", "order", "w" * 70, "it's", "ä" * 15, "ops", "texts", "{0}", "dump"]
NAMES = ["Model" * 14, "ÄrgerModell"]
ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Africa/Casablanca"]
SETTINGS = [
    *("timezone = 'Asia/Tokyo'", "datestyle = 'German'", "datestyle = 'SQL, DMY'", "bytea_output = 'escape'"),
    *("statement_timeout = '40ms'", "lock_timeout = '1ms'", "idle_in_transaction_session_timeout = '5ms'"),
    *("default_transaction_isolation = 'serializable'", "default_transaction_isolation = 'repeatable read'"),
    *("default_transaction_deferrable = on", "client_encoding = 'LATIN1'"),
    *("lc_messages = 'C'", "lc_monetary = 'C.UTF-8'", "lc_numeric = 'C'", "lc_time = 'POSIX'", "row_security = off"),
    *("standard_conforming_strings = off", "escape_string_warning = off", "backslash_quote = off", "array_nulls = off"),
    *("extra_float_digits = 3", "extra_float_digits = 1", "xmloption = 'document'", "quote_all_identifiers = on"),
    *("search_path = app, public", 'search_path = "$user", public', "transform_null_equals = on"),
    *("check_function_bodies = off", "default_text_search_config = 'german'", "client_min_messages = 'debug1'"),
    *("work_mem = '64kB'", "maintenance_work_mem = '1MB'", "enable_seqscan = off", "synchronous_commit = off"),
    *("default_toast_compression = 'lz4'", "application_name = 'x'", "log_min_duration_statement = 0", "jit = off"),
    *("plan_cache_mode = 'force_generic_plan'", "from_collapse_limit = 1", "temp_buffers = '1MB'", "geqo = off"),
    *("idle_session_timeout = '1s'", "default_statistics_target = 1", "vacuum_cost_delay = 1"),
    "password_encryption = md5",
]
SCOPES = ["ROLE {name}", "DATABASE {name}", "ROLE {name} IN DATABASE {name}"]
ICU = "LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C.UTF-8'"
DATABASES = ["", "", "", "", ICU, "LOCALE 'C'", "CONNECTION LIMIT 20"]
CREATE = """
try:
    with transaction.atomic():
        made[{model!r}].append({model}.objects.create({values}))
except IntegrityError:
    pass  # a unique column has the value already, perhaps in another spelling
"""


def dealt(number: int, deck: Sequence[Card]) -> list[Card]:
    """Those of `deck` that this one of ten projects gets."""
    shuffled = random.Random(f"{number // 10} {len(deck)}").sample(deck, len(deck))
    return shuffled[number % 10 :: 10]


def generated(number: int) -> Project:
    rng = random.Random(number)
    draft = Draft(rng=rng, role=rng.choice([None, "CREATEDB", "NOCREATEDB"]))
    use_tz = rng.random() < 0.7
    kinds, columns = dealt(number, [*DJANGO, *OTHERS]), dealt(number, COLUMNS)
    for count in range(rng.randint(1, 3)):
        add_model(draft, kinds[count::3], columns[count::3])
    for feature in dealt(number, generated_features.FEATURES):
        feature(draft)
    if plain := dealt(number, [*PLAIN]):
        add_plain(draft, plain)
    models = "\n".join(model.text() for model in draft.models)
    # Without the migrations of Django's own apps, which take a third of the time.
    settings: dict[str, Any] = {"MIGRATION_MODULES": {"auth": None, "contenttypes": None}}
    settings |= {"USE_TZ": use_tz, "TIME_ZONE": rng.choice(ZONES)}
    if use_tz and rng.random() < 0.2:
        settings["DATABASE"] = {"TIME_ZONE": rng.choice(ZONES)}
    needed = "".join(operation for text, operation in EXTENSIONS.items() if text in models)
    return Project(
        models=PORTABLE + models,
        fill=fill_of(draft, use_tz=use_tz),
        migrations=bool(draft.operations or plain or needed) or rng.random() < 0.8,
        first_operations=needed,
        operations=[(generated_features.ONLY, ", ".join(draft.operations))] if draft.operations else [],
        apps=["django.contrib.postgres"],
        raw=draft.raw,
        after="\n".join(draft.after),
        not_compared=draft.not_compared,
        settings=settings,
        restored=True,
        comes_home=True,
        not_compared_at_home=draft.not_compared,
        **target_of(rng, draft.role, dealt(number, SETTINGS)),
    )


def target_of(rng: random.Random, role: str | None, settings: Sequence[str]) -> dict[str, Any]:
    """The role and the database, which have some of the settings."""
    scopes = SCOPES if role is not None else ["DATABASE {name}"]
    if role == "NOCREATEDB":
        # It restores by swapping the schema public.
        settings = [setting for setting in settings if "= app" not in setting]
    chosen = [(rng.choice(scopes), setting) for setting in settings]
    statements = [f"ALTER {scope} SET {setting}" for scope, setting in chosen]
    owner = "CURRENT_USER" if role is None else "{name}"
    schemas = [f"CREATE SCHEMA app AUTHORIZATION {owner}"] if any("= app" in text for text in settings) else []
    statements.append("COMMENT ON DATABASE {name} IS 'the shop''s'")
    return {
        "role": role,
        "database_options": rng.choice(DATABASES),
        "database_sql": [*schemas, *rng.sample(statements, k=len(statements))],
    }


# --- Models ---------------------------------------------------------------------------------------------------------
def add_model(draft: Draft, kinds: Sequence[Kind], columns: Sequence[str]) -> None:
    rng = draft.rng
    name = (rng.choice(NAMES) if rng.random() < 0.1 else "M") + str(len(draft.models))
    model = GeneratedModel(name=name)
    keys = [kind for kind in DJANGO if "k" in kind.can]
    if rng.random() < 0.4:
        kind = rng.choice(keys)
        model.add("key", "key", f"{kind.declaration}primary_key=True)", kind)
    if rng.random() < 0.4:
        model.table = rng.choice(TABLES) + str(len(draft.models))
    model.table_of_django = f"shop_{name.lower()}"
    wanted = [*kinds, *rng.choices(DJANGO, k=rng.randint(1, 3))]
    named = list(dict.fromkeys([*columns, *rng.sample(COLUMNS, k=len(COLUMNS))]))
    for place, (kind, column) in enumerate(zip(wanted, named, strict=False)):
        null, unique = rng.random() < 0.4, "u" in kind.can and rng.random() < 0.15
        indexed = not unique and "i" in kind.can and rng.random() < 0.2
        arguments = f"{null=}, {unique=}, db_index={indexed}, db_column={column!r})"
        model.add(f"f{place}", column, kind.declaration + arguments, kind, null=null)
    parents = [other for other in draft.models if not other.composite]
    if parents and rng.random() < 0.6:
        parent = rng.choice(parents)
        one = rng.choice(["ForeignKey", "OneToOneField"])
        model.fields.append(f"parent = models.{one}({parent.name}, models.CASCADE, null=True, related_name='+')")
        model.values["parent"] = parent.one_made
    draft.models.append(model)


def add_plain(draft: Draft, declarations: Sequence[str]) -> None:
    """A model with fields of contrib.postgres as they are, and rows as another program would write them."""
    model = GeneratedModel(name="Plain", rows=0)
    expected = []
    for place, declaration in enumerate(declarations):
        model.add(f"f{place}", f"f{place}", f"{declaration}null=True)", None)
        for text, value in PLAIN[declaration].items():
            draft.raw.append(f"INSERT INTO shop_plain (f{place}) VALUES ({quoted(text, mark=chr(39))})")
            expected.append((f"f{place}", value))
    draft.models.append(model)
    draft.not_compared.append("shop.Plain")
    draft.after.append(f"""
from psycopg2.extras import DateRange, NumericRange
for row, (name, value) in zip(Plain.objects.order_by('pk'), {expected!r}, strict=True):
    assert repr(getattr(row, name)) == value, (name, value, getattr(row, name))
""")


def fill_of(draft: Draft, *, use_tz: bool) -> str:
    lines = ["from django.db import IntegrityError, transaction", "made = {}"]
    lines.append(f"aware = lambda time: time.replace(tzinfo=dt.UTC if {use_tz} else None)")
    for model in draft.models:
        lines.append(f"made[{model.name!r}] = []")
        for _ in range(draft.rng.randint(1, 5) if model.rows else 0):
            values = ", ".join(f"{name}={make(draft.rng)}" for name, make in model.values.items())
            lines.append(CREATE.format(model=model.name, values=values))
        lines += [
            f"for row in made[{model.name!r}]:\n    row.{many}.add(*row.{many}.model._base_manager.all()[:2])"
            for many in model.many
        ]
    return "\n".join(lines)
