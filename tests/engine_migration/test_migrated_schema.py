"""What migrations create besides plain tables: triggers, policies, views, partitions, and schemas."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.databases.postgres.connection import parse_url
from ops.engine_migration.to_postgres.target import inspect_target
from ops.errors import PreconditionFailed, VerificationFailed
from tests.engine_migration import support
from tests.engine_migration.support import BOOKS, Database, Outcome
from tests.support.shared import made_once
from tests.support.slow import slow_except

# --- Triggers -----------------------------------------------------------------------------------------------
TRIGGERS = {
    "changes_a_value": ("BEFORE INSERT", "ROW", "NEW.room := upper(NEW.room); RETURN NEW;", "O"),
    "drops_a_row": ("BEFORE INSERT", "ROW", "RETURN NULL;", "A"),
    "raises": ("BEFORE INSERT", "ROW", "RAISE 'no %', NEW.id;", "A"),
    "writes_to_another_table": (
        "AFTER INSERT", "ROW", "INSERT INTO otherproject_tag VALUES ('by trigger'); RETURN NEW;", "O",
    ),
    "raises_on_truncate": ("BEFORE TRUNCATE", "STATEMENT", "RAISE 'never';", "O"),
    "runs_for_replicas": ("BEFORE INSERT", "ROW", "RETURN NULL;", "R"),
    "is_disabled": ("BEFORE INSERT", "ROW", "RETURN NULL;", "D"),
}  # fmt: skip
"""Of otherproject_shelf, by name: when, for each what, body, and state as in pg_trigger."""
CHANGES = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS", "D": "DISABLE"}


def make_triggers() -> Iterator[str]:
    for name, (when, each, body, state) in TRIGGERS.items():
        yield f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        yield f"CREATE TRIGGER {name} {when} ON otherproject_shelf FOR EACH {each} EXECUTE FUNCTION {name}()"
        yield f"ALTER TABLE otherproject_shelf {CHANGES[state]} TRIGGER {name}"


# --- Row-level security -------------------------------------------------------------------------------------
FORCED = ("otherproject_author", "otherproject_book", "everything")


def force_row_level_security() -> Iterator[str]:
    """It applies to an owner of the table that is no superuser."""
    for table in FORCED:
        yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"


# --- Materialized views -------------------------------------------------------------------------------------
VIEWS = {
    "alone": ["CREATE MATERIALIZED VIEW alone AS SELECT count(*) AS n FROM otherproject_book"],
    "of_a_view_of_another": [
        'CREATE MATERIALIZED VIEW "Odd name" AS SELECT id FROM otherproject_book',
        'CREATE VIEW between AS SELECT * FROM "Odd name"',
        "CREATE MATERIALIZED VIEW of_a_view_of_another AS SELECT count(*) AS n FROM between",
    ],
    "of_a_view_that_was_changed_later": [
        "CREATE VIEW changed AS SELECT count(*) AS n FROM otherproject_book",
        "CREATE MATERIALIZED VIEW of_a_view_that_was_changed_later AS SELECT n FROM changed",
        "CREATE MATERIALIZED VIEW later AS SELECT count(*) AS n FROM otherproject_book",
        "CREATE OR REPLACE VIEW changed AS SELECT n FROM later",
    ],
    "with_a_unique_index": [
        "CREATE MATERIALIZED VIEW with_a_unique_index AS SELECT 5 AS n, title FROM otherproject_book LIMIT 1",
        "CREATE UNIQUE INDEX ON with_a_unique_index (title)",
    ],
    "of_another_schema": [
        "CREATE SCHEMA reports",
        "CREATE MATERIALIZED VIEW reports.books AS SELECT count(*) AS n FROM otherproject_book",
        "CREATE MATERIALIZED VIEW of_another_schema AS SELECT n FROM reports.books",
    ],
}
"""By the name of the view whose column n is the number of books."""
WITHOUT_DATA = "CREATE MATERIALIZED VIEW without_data AS SELECT 1 / 0 AS n WITH NO DATA"

# --- Tables that are not what the models declare ------------------------------------------------------------
PARTITIONED = [
    "DROP TABLE otherproject_byday",
    "CREATE TABLE otherproject_byday (key date PRIMARY KEY) PARTITION BY RANGE (key)",
    "CREATE TABLE byday_rest PARTITION OF otherproject_byday DEFAULT",
    "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
    "CREATE TRIGGER odd BEFORE INSERT ON otherproject_byday FOR EACH ROW EXECUTE FUNCTION odd()",
    "CREATE TRIGGER own BEFORE INSERT ON byday_rest FOR EACH ROW EXECUTE FUNCTION odd()",
    "ALTER TABLE byday_rest DISABLE TRIGGER odd",
    # With an index and a foreign key.
    "DROP TABLE otherproject_sighting",
    "CREATE TABLE otherproject_sighting (LIKE everything) PARTITION BY RANGE (id)",
    "ALTER TABLE otherproject_sighting ADD PRIMARY KEY (id), ADD note text",
    "CREATE TABLE sighting_rest PARTITION OF otherproject_sighting DEFAULT",
    "CREATE INDEX ON otherproject_sighting (note)",
    "ALTER TABLE otherproject_sighting ADD FOREIGN KEY (id) REFERENCES everything",
]
DIFFERENT = [
    # A generated column.
    "ALTER TABLE otherproject_author DROP name",
    "ALTER TABLE otherproject_author ADD name varchar(50) GENERATED ALWAYS AS ('Author ' || (id - 1)) STORED",
    # Ids that PostgreSQL always generates.
    "ALTER TABLE everything ALTER id SET GENERATED ALWAYS",
    # A deferred unique constraint.
    "ALTER TABLE otherproject_book ADD UNIQUE (title) DEFERRABLE INITIALLY DEFERRED",
    # Another table, with a row.
    "CREATE TABLE audit (t text)",
    "INSERT INTO audit VALUES ('seed')",
    # Further columns.
    "ALTER TABLE everything ADD extra text",
    "ALTER TABLE everything ADD n int NOT NULL DEFAULT 7",
    # An enumeration and a domain.
    "CREATE TYPE known AS ENUM ('seen', 'hidden')",
    "ALTER TABLE otherproject_slot ALTER label TYPE known USING NULL",
    "CREATE DOMAIN letters AS varchar(20)",
    "ALTER TABLE otherproject_shelf ALTER room TYPE letters",
    # A collation that ignores case.
    "CREATE COLLATION ignoring (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
    "ALTER TABLE everything ALTER short TYPE varchar(20) COLLATE ignoring",
    # Wider numbers.
    "ALTER TABLE everything ALTER number TYPE bigint, ALTER small TYPE integer",
]

MARKED = [
    "CREATE INDEX marked ON otherproject_tag (lower(name), name)",
    "ALTER INDEX marked ALTER 1 SET STATISTICS 77",
    r"COMMENT ON INDEX marked IS 'it''s 50% \ done'",
    "ALTER TABLE otherproject_tag CLUSTER ON marked",
    "ALTER TABLE otherproject_tag REPLICA IDENTITY USING INDEX otherproject_tag_pkey",
    "COMMENT ON INDEX otherproject_tag_pkey IS 'of the key'",
    "COMMENT ON CONSTRAINT otherproject_tag_pkey ON otherproject_tag IS 'the key'",
    "ALTER TABLE otherproject_shelf ADD CONSTRAINT numbered UNIQUE (id, number)",
    "COMMENT ON CONSTRAINT numbered ON otherproject_shelf IS 'unique'",
    "ALTER TABLE otherproject_shelf CLUSTER ON numbered",
    (
        "DO $$ BEGIN EXECUTE (SELECT format('COMMENT ON CONSTRAINT %I ON otherproject_book IS %L', conname, 'foreign')"
        " FROM pg_constraint WHERE conrelid = 'otherproject_book'::regclass AND contype = 'f' LIMIT 1); END $$"
    ),
]
"""Of indexes and keys, which are dropped before rows are loaded."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Odd:
    """A migration of the library into a schema with all of that."""

    outcome: Outcome
    database: Database
    as_role: Database
    """The same database for the role that migrated it."""


@pytest.fixture(params=["CREATEDB", "NOCREATEDB"])
def odd(
    request: pytest.FixtureRequest,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Odd:
    """The migration by a role that may create databases, or not: made once, and only read."""
    name = f"odd_{request.param.lower()}"
    as_role = support.database_named(name, user=name, password="pw")

    def migrate(folder: Path) -> None:
        support.server().rows(f"CREATE ROLE {name} LOGIN {request.param} PASSWORD 'pw'")
        support.create(name)
        support.server().rows(f"ALTER DATABASE {name} OWNER TO {name}")
        statements = [*PARTITIONED, *DIFFERENT, *MARKED, *make_triggers(), *force_row_level_security()]
        support.add_migration(monkeypatch, *statements, *itertools.chain(*VIEWS.values()), WITHOUT_DATA)
        with support.opened(library) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'otherproject\\_%' ESCAPE '\\'")
            only = support.only(library, "everything", *(table for (table,) in found))
        assert support.run(library, as_role, "--dry-run", *only).code == 0
        outcome = support.migrate(library, as_role, *only)
        (folder / "outcome.json").write_text(json.dumps(dataclasses.asdict(outcome)))

    folder = made_once(tmp_path_factory, name, migrate)
    outcome = Outcome(**json.loads((folder / "outcome.json").read_text()))
    return Odd(outcome=outcome, database=support.database_named(name), as_role=as_role)


def test_triggers_are_off_while_rows_are_loaded(odd: Odd) -> None:
    assert odd.database.rows("SELECT id, room, number FROM otherproject_shelf") == [(1, "hall", -1)]
    assert ("by trigger",) not in odd.database.rows("SELECT name FROM otherproject_tag")
    for name, (*_, state) in TRIGGERS.items():
        note = f"The trigger {name} of otherproject_shelf did not run for the migrated rows."
        assert (note in odd.outcome.document["notes"]) is (state != "D")
        assert (f"Note {note}" in odd.outcome.out) is (state != "D")


def test_triggers_keep_their_state(odd: Odd) -> None:
    states = "SELECT tgname, tgenabled::text FROM pg_trigger WHERE tgrelid = 'otherproject_shelf'::regclass"
    found = dict(odd.database.rows(f"{states} AND NOT tgisinternal"))
    assert found == {name: state for name, (*_, state) in TRIGGERS.items()}


def test_triggers_of_partitions_are_off_and_keep_their_state(odd: Odd) -> None:
    assert odd.database.value("SELECT count(*) FROM byday_rest") == 4
    assert odd.database.rows("SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger"
                             " WHERE tgfoid = 'odd'::regproc ORDER BY 1, 2") == [
        ("byday_rest", "odd", "D"), ("byday_rest", "own", "O"), ("otherproject_byday", "odd", "O"),
    ]  # fmt: skip


@pytest.mark.parametrize("table", FORCED)
def test_forced_row_level_security_is_off_while_rows_are_loaded(odd: Odd, table: str) -> None:
    note = f"The row-level security of {table} was not applied to the migrated rows."
    assert note in odd.outcome.document["notes"]
    assert odd.database.value(f"SELECT count(*) FROM {table}") > 0
    assert odd.as_role.value(f"SELECT count(*) FROM {table}") == 0
    query = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = %s"
    assert odd.database.value(query, [table]) is True


@pytest.mark.parametrize("view", VIEWS)
def test_materialized_views_have_the_migrated_rows(odd: Odd, view: str) -> None:
    assert odd.database.value(f"SELECT n FROM {view}") == 5


def test_materialized_view_without_data_stays_without(odd: Odd) -> None:
    assert odd.database.value("SELECT relispopulated FROM pg_class WHERE relname = 'without_data'") is False


def test_tables_that_differ_from_the_models_are_migrated(odd: Odd) -> None:
    tables = odd.outcome.document["tables"]
    assert len(tables) > 15
    for table in tables:
        assert odd.database.value(f"SELECT count(*) FROM {table['name']}") == table["rows"] > 0
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'sighting_rest'::regclass AND indisvalid"
    assert odd.database.value(indexes) == 2
    assert odd.database.rows("SELECT * FROM audit") == [("seed",)]
    assert odd.database.rows("SELECT DISTINCT extra, n FROM everything") == [(None, 7)]
    assert odd.database.rows("SELECT name FROM otherproject_author ORDER BY id") == [
        (f"Author {number}",) for number in range(3)
    ]


def test_comments_and_marks_of_indexes_and_keys_are_kept(odd: Odd) -> None:
    assert odd.database.rows(
        "SELECT relname, obj_description(indexrelid, 'pg_class'), indisclustered, indisreplident,"
        " (SELECT coalesce(max(attstattarget), -1)::int FROM pg_attribute WHERE attrelid = indexrelid)"
        " FROM pg_index JOIN pg_class ON oid = indexrelid"
        " WHERE relname IN ('marked', 'numbered', 'otherproject_tag_pkey') ORDER BY 1"
    ) == [
        ("marked", r"it's 50% \ done", True, False, 77),
        ("numbered", None, True, False, -1),
        ("otherproject_tag_pkey", "of the key", False, True, -1),
    ]
    assert odd.database.rows(
        "SELECT description FROM pg_description WHERE classoid = 'pg_constraint'::regclass"
        " AND objoid IN (SELECT oid FROM pg_constraint WHERE conrelid::regclass::text ~ '^otherproject') ORDER BY 1"
    ) == [("foreign",), ("the key",), ("unique",)]


def test_values_that_postgresql_computes_otherwise_are_differences(library: Path, migrated: Database) -> None:
    migrated.rows("ALTER TABLE otherproject_author DROP name")
    migrated.rows("ALTER TABLE otherproject_author ADD name varchar(50) GENERATED ALWAYS AS ('Author ' || id) STORED")
    with (
        support.prepared(library, only=BOOKS) as ready,
        pytest.raises(VerificationFailed, match="row 1, column name: 'Author 0' in the file, 'Author 1' in PostgreSQL"),
    ):
        support.copy_and_verify_into(ready, migrated)


# --- search_path --------------------------------------------------------------------------------------------
def with_options(database: Database, path: str) -> Database:
    url = f"{database.url}?options=-c%20search_path%3D{path}"
    return Database(address=parse_url(url), url=url)


@pytest.mark.parametrize(
    ("path", "schema"),
    slow_except(
        {p: (p, s) for p, s in (("app", "app"), ("app,public", "app"), ("%22My%5C%20app%22", "My app"))}, "app"
    ),
)
@pytest.mark.parametrize("exists", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_schema_of_the_search_path_in_the_url_is_created(
    library: Path, database: Database, nowhere: Database, path: str, schema: str, exists: bool
) -> None:
    if exists:
        database.rows(f'CREATE SCHEMA "{schema}"; CREATE EXTENSION pg_stat_statements')
    target = with_options(database if exists else nowhere, path)
    assert support.run(library, target, "--dry-run", *support.only(library, *BOOKS)).code == 0
    support.migrate(library, target, *support.only(library, *BOOKS))
    where = target.value("SELECT schemaname FROM pg_tables WHERE tablename = 'otherproject_book'")
    assert where == ("public" if path == "app,public" and not exists else schema)
    assert target.value("SELECT count(*) FROM otherproject_book") == 5


@pytest.fixture
def maker(database: Database) -> Iterator[Database]:
    """The database as a role sees it that may create others and is no superuser."""
    name = f"maker_{database.name}"
    support.server().rows(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD 'pw'")
    support.server().rows(f"ALTER DATABASE {database.name} OWNER TO {name}")
    yield support.database_named(database.name, user=name, password="pw")
    support.drop(database.name)
    support.server().rows(f"DROP ROLE {name}")


@pytest.mark.parametrize("path", slow_except(("app", "'nowhere', 'app'", "app, public"), "app"))
def test_schema_of_the_search_path_of_the_role_is_created(
    library: Path, maker: Database, database: Database, path: str
) -> None:
    database.rows(f"CREATE SCHEMA app AUTHORIZATION {maker.address.user}")
    support.server().rows(f"ALTER ROLE {maker.address.user} SET search_path = {path}")
    support.migrate(library, maker, *support.only(library, *BOOKS))
    assert database.value("SELECT schemaname FROM pg_tables WHERE tablename = 'otherproject_book'") == "app"
    assert maker.value("SELECT count(*) FROM otherproject_book") == 5


@pytest.mark.parametrize("path", slow_except(("app", '"My app", public', "$user, app"), "$user, app"))
def test_schema_of_the_search_path_of_the_database_is_created(
    library: Path, maker: Database, database: Database, path: str
) -> None:
    schema = "My app" if "My" in path else "app"
    database.rows(f'CREATE SCHEMA "{schema}" AUTHORIZATION {maker.address.user}')
    listed = ", ".join(f'"{name.strip(chr(34))}"' for name in path.split(", "))
    support.server().rows(f"ALTER DATABASE {database.name} SET search_path = {listed}")
    support.migrate(library, maker, *support.only(library, *BOOKS))
    assert database.value("SELECT schemaname FROM pg_tables WHERE tablename = 'otherproject_book'") == schema
    assert maker.value("SELECT count(*) FROM otherproject_book") == 5


@pytest.mark.parametrize(
    ("path", "schema"), [("app", "app"), ("nowhere,app", "nowhere"), ("%22My%5C%20app%22", "My app")]
)
def test_role_without_createdb_gets_the_statement_for_a_missing_schema(small: Database, path: str, schema: str) -> None:
    target = with_options(small, path)
    with pytest.raises(PreconditionFailed) as refused:
        inspect_target(target.address)
    role = small.address.user
    assert refused.value.message.startswith(
        f"The search_path of {role} in {small.address} names no schema that exists:"
    )
    assert (
        refused.value.hint == f'As an administrator, in that database: CREATE SCHEMA "{schema}" AUTHORIZATION "{role}";'
    )
