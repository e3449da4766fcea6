"""What migrations create besides plain tables: triggers, policies, views, partitions, and schemas."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.databases.postgres.connection import parse_url
from ops.engine_migration.target import inspect_target
from ops.errors import PreconditionFailed
from tests.engine_migration import support
from tests.engine_migration.support import Database

# --- Triggers -----------------------------------------------------------------------------------------------
FUNCTION = "CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
TRIGGER = "CREATE TRIGGER odd {when} ON otherproject_author FOR EACH {each} EXECUTE FUNCTION odd()"
TRIGGERS = {
    "changes a value": ("BEFORE INSERT", "ROW", "NEW.name := upper(NEW.name); RETURN NEW;"),
    "drops a row": ("BEFORE INSERT", "ROW", "IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW;"),
    "raises": ("BEFORE INSERT", "ROW", "RAISE 'no %', NEW.id;"),
    "writes to another table": (
        "AFTER INSERT", "ROW", "INSERT INTO otherproject_tag VALUES ('by trigger'); RETURN NEW;",
    ),
    "raises on TRUNCATE": ("BEFORE TRUNCATE", "STATEMENT", "RAISE 'never';"),
}  # fmt: skip
NOTE = "The trigger odd of otherproject_author did not run for the migrated rows."
STATE = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'odd'"


@pytest.mark.parametrize(("when", "each", "body"), support.cases(TRIGGERS, "changes a value"))
def test_triggers_are_off_while_rows_are_loaded(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch, when: str, each: str, body: str
) -> None:
    support.add_migration(monkeypatch, FUNCTION.format(body=body), TRIGGER.format(when=when, each=each))
    outcome = support.migrate(library, database)
    assert NOTE in outcome.document["notes"]
    assert f"Note {NOTE}" in outcome.out
    assert database.rows("SELECT name FROM otherproject_author ORDER BY 1") == [
        (f"Author {number}",) for number in range(3)
    ]
    assert database.value(STATE) == "O"


@pytest.mark.parametrize("may_create", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.parametrize("state", support.cases({state: state for state in "ORAD"}, "R"))
def test_triggers_keep_their_state(
    library: Path, database: Database, small: Database, monkeypatch: pytest.MonkeyPatch, state: str, may_create: bool
) -> None:
    change = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS", "D": "DISABLE"}[state]
    support.add_migration(
        monkeypatch,
        FUNCTION.format(body="RETURN NULL;"),
        TRIGGER.format(when="BEFORE INSERT", each="ROW"),
        f"ALTER TABLE otherproject_author {change} TRIGGER odd",
    )
    outcome = support.migrate(library, database if may_create else small)
    assert (NOTE in outcome.document["notes"]) == (state != "D")
    assert database.value(STATE) == state
    assert database.value("SELECT count(*) FROM otherproject_author") == 3


def test_triggers_of_partitions_are_off_and_keep_their_state(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    support.add_migration(
        monkeypatch,
        *PARTITIONED,
        FUNCTION.format(body="RAISE 'no';"),
        "CREATE TRIGGER odd BEFORE INSERT ON otherproject_byday FOR EACH ROW EXECUTE FUNCTION odd()",
        "CREATE TRIGGER own BEFORE INSERT ON byday_rest FOR EACH ROW EXECUTE FUNCTION odd()",
        "ALTER TABLE byday_rest DISABLE TRIGGER odd",
    )
    support.migrate(library, database)
    assert database.rows("SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger"
                         " WHERE NOT tgisinternal ORDER BY 1, 2") == [
        ("byday_rest", "odd", "D"), ("byday_rest", "own", "O"), ("otherproject_byday", "odd", "O"),
    ]  # fmt: skip


# --- Row-level security -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "table",
    ["otherproject_author", *(pytest.param(t, marks=pytest.mark.slow) for t in ("otherproject_book", "everything"))],
)
def test_forced_row_level_security_is_off_while_rows_are_loaded(
    library: Path, small: Database, database: Database, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """It applies to an owner of the table that is no superuser."""
    support.add_migration(
        monkeypatch,
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
    )
    assert support.run(library, small, "--dry-run").code == 0
    outcome = support.migrate(library, small)
    assert f"The row-level security of {table} was not applied to the migrated rows." in outcome.document["notes"]
    assert database.value(f"SELECT count(*) FROM {table}") > 0
    assert small.value(f"SELECT count(*) FROM {table}") == 0
    query = "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE relname = %s"
    assert database.value(query, [table]) is True


# --- Materialized views -------------------------------------------------------------------------------------
VIEWS = {
    "one": ["CREATE MATERIALIZED VIEW result AS SELECT count(*) AS n FROM otherproject_book"],
    "of a view of another": [
        'CREATE MATERIALIZED VIEW "Odd name" AS SELECT id FROM otherproject_book',
        'CREATE VIEW between AS SELECT * FROM "Odd name"',
        "CREATE MATERIALIZED VIEW result AS SELECT count(*) AS n FROM between",
    ],
    "of a view that was changed later": [
        "CREATE VIEW between AS SELECT count(*) AS n FROM otherproject_book",
        "CREATE MATERIALIZED VIEW result AS SELECT n FROM between",
        "CREATE MATERIALIZED VIEW later AS SELECT count(*) AS n FROM otherproject_book",
        "CREATE OR REPLACE VIEW between AS SELECT n FROM later",
    ],
    "with a unique index": [
        "CREATE MATERIALIZED VIEW result AS SELECT 5 AS n, title FROM otherproject_book LIMIT 1",
        "CREATE UNIQUE INDEX ON result (title)",
    ],
    "in another schema": [
        "CREATE SCHEMA reports",
        "CREATE MATERIALIZED VIEW reports.books AS SELECT count(*) AS n FROM otherproject_book",
        "CREATE MATERIALIZED VIEW result AS SELECT n FROM reports.books",
    ],
}


@pytest.mark.parametrize("may_create", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("statements", support.cases(VIEWS, "of a view that was changed later"))
def test_materialized_views_have_the_migrated_rows(
    library: Path,
    database: Database,
    small: Database,
    monkeypatch: pytest.MonkeyPatch,
    statements: list[str],
    may_create: bool,
) -> None:
    support.add_migration(monkeypatch, *statements)
    support.migrate(library, database if may_create else small)
    assert database.value("SELECT n FROM result") == 5


def test_materialized_view_without_data_stays_without(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    support.add_migration(monkeypatch, "CREATE MATERIALIZED VIEW odd AS SELECT 1 / 0 AS n WITH NO DATA")
    support.migrate(library, database)
    assert database.value("SELECT relispopulated FROM pg_class WHERE relname = 'odd'") is False


# --- Tables that are not what the models declare ------------------------------------------------------------
PARTITIONED = [
    "DROP TABLE otherproject_byday",
    "CREATE TABLE otherproject_byday (key date PRIMARY KEY) PARTITION BY RANGE (key)",
    "CREATE TABLE byday_rest PARTITION OF otherproject_byday DEFAULT",
]
FINE = {
    "partitions": PARTITIONED,
    "partitions with an index and a foreign key": [
        "DROP TABLE otherproject_sighting",
        "CREATE TABLE otherproject_sighting (LIKE everything) PARTITION BY RANGE (id)",
        "ALTER TABLE otherproject_sighting ADD PRIMARY KEY (id), ADD note text",
        "CREATE TABLE sighting_rest PARTITION OF otherproject_sighting DEFAULT",
        "CREATE INDEX ON otherproject_sighting (note)",
        "ALTER TABLE otherproject_sighting ADD FOREIGN KEY (id) REFERENCES everything",
    ],
    "generated column": [
        "ALTER TABLE otherproject_author DROP name",
        "ALTER TABLE otherproject_author ADD name varchar(50) GENERATED ALWAYS AS ('Author ' || (id - 1)) STORED",
    ],
    "identity always": ["ALTER TABLE everything ALTER id SET GENERATED ALWAYS"],
    "deferred unique": ["ALTER TABLE otherproject_author ADD UNIQUE (name) DEFERRABLE INITIALLY DEFERRED"],
    "other table with rows": ["CREATE TABLE audit (t text)", "INSERT INTO audit VALUES ('seed')"],
    "further column": ["ALTER TABLE everything ADD extra text", "ALTER TABLE everything ADD n int NOT NULL DEFAULT 7"],
    "other types": [
        "CREATE TYPE person AS ENUM ('Author 0', 'Author 1', 'Author 2')",
        "ALTER TABLE otherproject_author ALTER name TYPE person USING NULL",
        "CREATE DOMAIN letters AS varchar(50)",
        "ALTER TABLE otherproject_slot ALTER label TYPE letters",
    ],
    "collation that ignores case": [
        "CREATE COLLATION ignoring (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "ALTER TABLE otherproject_author ALTER name TYPE varchar(50) COLLATE ignoring",
        "DROP INDEX IF EXISTS otherproject_tag_name_like",
    ],
    "wider number": ["ALTER TABLE everything ALTER number TYPE bigint, ALTER small TYPE integer"],
}  # fmt: skip


@pytest.mark.parametrize("statements", support.cases(FINE, "partitions", "generated column"))
def test_tables_that_differ_from_the_models_are_migrated(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch, statements: list[str]
) -> None:
    support.add_migration(monkeypatch, *statements)
    assert support.run(library, database, "--dry-run").code == 0
    support.migrate(library, database)
    assert database.value("SELECT count(*) FROM otherproject_author") == 3
    assert database.value("SELECT count(*) FROM everything") > 10


def test_values_that_postgresql_computes_otherwise_are_differences(
    library: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    support.add_migration(
        monkeypatch,
        "ALTER TABLE otherproject_author DROP name",
        "ALTER TABLE otherproject_author ADD name varchar(50) GENERATED ALWAYS AS ('Author ' || id) STORED",
    )
    for option in ("--dry-run", "--yes"):
        outcome = support.run(library, database, option)
        assert outcome.code == 1
        assert "row 1, column name: 'Author 0' became 'Author 1'" in outcome.error


# --- search_path --------------------------------------------------------------------------------------------
def with_options(database: Database, path: str) -> Database:
    url = f"{database.url}?options=-c%20search_path%3D{path}"
    return Database(address=parse_url(url), url=url)


@pytest.mark.parametrize(
    ("path", "schema"),
    support.cases(
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
    assert support.run(library, target, "--dry-run").code == 0
    support.migrate(library, target)
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


@pytest.mark.parametrize("path", support.cases({p: p for p in ("app", "'nowhere', 'app'", "app, public")}, "app"))
def test_schema_of_the_search_path_of_the_role_is_created(
    library: Path, maker: Database, database: Database, path: str
) -> None:
    database.rows(f"CREATE SCHEMA app AUTHORIZATION {maker.address.user}")
    support.server().rows(f"ALTER ROLE {maker.address.user} SET search_path = {path}")
    support.migrate(library, maker)
    assert database.value("SELECT schemaname FROM pg_tables WHERE tablename = 'otherproject_book'") == "app"
    assert maker.value("SELECT count(*) FROM otherproject_book") == 5


@pytest.mark.parametrize("path", support.cases({p: p for p in ("app", '"My app", public', "$user, app")}, "$user, app"))
def test_schema_of_the_search_path_of_the_database_is_created(
    library: Path, maker: Database, database: Database, path: str
) -> None:
    schema = "My app" if "My" in path else "app"
    database.rows(f'CREATE SCHEMA "{schema}" AUTHORIZATION {maker.address.user}')
    listed = ", ".join(f'"{name.strip(chr(34))}"' for name in path.split(", "))
    support.server().rows(f"ALTER DATABASE {database.name} SET search_path = {listed}")
    support.migrate(library, maker)
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
