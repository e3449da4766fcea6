"""What belongs to a database besides its content survives restores, restore tests and undos, or is named."""

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from msgspec.structs import replace

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind, Manifest
from ops.databases.postgres import differences
from ops.databases.postgres.properties import DatabaseProperties
from ops.errors import PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups import factories
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database, Role
from tests.support.postgres import unprivileged_user

FUNCTION_OF_WRITER = (
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO {writer}"
)
REVOKED_FUNCTION = (
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION f FROM PUBLIC"
)
RIGHTS = {
    "a table": ("GRANT SELECT ON rack TO {reader}", "SELECT has_table_privilege('{reader}', 'rack', 'SELECT')"),
    "a table with grant option": (
        "GRANT INSERT ON rack TO {reader} WITH GRANT OPTION",
        "SELECT has_table_privilege('{reader}', 'rack', 'INSERT WITH GRANT OPTION')",
    ),
    "a column": (
        "GRANT UPDATE (notes), REFERENCES (name) ON rack TO {reader}",
        (
            "SELECT has_column_privilege('{reader}', 'rack', 'notes', 'UPDATE'),"
            " has_column_privilege('{reader}', 'rack', 'name', 'UPDATE')"
        ),
    ),
    "a sequence": (
        "GRANT USAGE ON SEQUENCE rack_id_seq TO {reader}",
        "SELECT has_sequence_privilege('{reader}', 'rack_id_seq', 'USAGE')",
    ),
    "an odd name": (
        'GRANT SELECT ON "odd ""name"" with quotes" TO {odd}',
        "SELECT relacl::text FROM pg_class WHERE relname ~ 'odd'",
    ),
    "the schema": (
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC; GRANT CREATE, USAGE ON SCHEMA public TO {reader}",
        "SELECT has_schema_privilege('{odd}', 'public', 'USAGE'), has_schema_privilege('{reader}', 'public', 'CREATE')",
    ),
    "a function": (
        (
            "CREATE FUNCTION secret(rack) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT ''key''::text';"
            " REVOKE EXECUTE ON FUNCTION secret FROM PUBLIC"
        ),
        "SELECT has_function_privilege('{reader}', 'secret(rack)', 'EXECUTE')",
    ),
    "a procedure": (
        "CREATE PROCEDURE act() LANGUAGE sql AS ''; REVOKE EXECUTE ON PROCEDURE act FROM PUBLIC",
        "SELECT has_function_privilege('{reader}', 'act()', 'EXECUTE')",
    ),
    "types": (
        (
            "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN age AS int[]; CREATE TYPE pair AS (a int);"
            " REVOKE USAGE ON TYPE mood, age, pair FROM PUBLIC"
        ),
        (
            "SELECT has_type_privilege('{reader}', 'mood', 'USAGE'), has_type_privilege('{reader}', 'age', 'USAGE'),"
            " has_type_privilege('{reader}', 'pair', 'USAGE')"
        ),
    ),
    "a large object": (
        "SELECT lo_from_bytea(4711, 'abc'); GRANT SELECT ON LARGE OBJECT 4711 TO {reader}",
        "SELECT lomacl::text FROM pg_largeobject_metadata",
    ),
    "a language": (
        "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        "SELECT has_language_privilege('{reader}', 'plpgsql', 'USAGE')",
    ),
    "a foreign server": (
        (
            "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
            " GRANT USAGE ON FOREIGN SERVER files TO {reader}; GRANT USAGE ON FOREIGN DATA WRAPPER file_fdw TO {reader}"
        ),
        (
            "SELECT has_server_privilege('{reader}', 'files', 'USAGE'),"
            " has_foreign_data_wrapper_privilege('{reader}', 'file_fdw', 'USAGE')"
        ),
    ),
    "a function of the catalog": (
        "REVOKE EXECUTE ON FUNCTION pg_sleep FROM PUBLIC",
        "SELECT has_function_privilege('{reader}', 'pg_sleep(float8)', 'EXECUTE')",
    ),
    "the information schema": (
        (
            "REVOKE SELECT ON information_schema.tables FROM PUBLIC;"
            " GRANT SELECT ON information_schema._pg_user_mappings TO {reader}"
        ),
        (
            "SELECT has_table_privilege('{reader}', 'information_schema.tables', 'SELECT'),"
            " has_table_privilege('{reader}', 'information_schema._pg_user_mappings', 'SELECT')"
        ),
    ),
    "a function of an extension": (
        (
            "CREATE SCHEMA ext; CREATE EXTENSION pg_trgm SCHEMA ext VERSION '1.5';"
            " REVOKE EXECUTE ON FUNCTION ext.similarity FROM PUBLIC;"
            " CREATE INDEX trgm ON rack USING gin (name ext.gin_trgm_ops)"
        ),
        (
            "SELECT has_function_privilege('{reader}', 'ext.similarity(text, text)', 'EXECUTE'), extversion,"
            " extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_trgm'"
        ),
    ),
    "default privileges": (
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {reader};"
            " ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
            " ALTER DEFAULT PRIVILEGES FOR ROLE {writer} IN SCHEMA ext"
            " GRANT SELECT ON SEQUENCES TO {reader} WITH GRANT OPTION"
        ),
        (
            "SELECT defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype::text, defaclacl::text"
            " FROM pg_default_acl ORDER BY 1, 2, 3"
        ),
    ),
}
OWNERS = {
    "a table": ("ALTER TABLE device OWNER TO {writer}", "SELECT tableowner FROM pg_tables WHERE tablename = 'device'"),
    "a function": (
        FUNCTION_OF_WRITER,
        "SELECT proowner::regrole, proacl::text FROM pg_proc WHERE proname = 'f'",
    ),
    "a schema": (
        "CREATE SCHEMA app AUTHORIZATION {odd}",
        "SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'app'",
    ),
    "a view with a grant": (
        "CREATE VIEW app.v AS SELECT 1; GRANT SELECT ON app.v TO {reader}; ALTER VIEW app.v OWNER TO {odd}",
        "SELECT relowner::regrole, relacl::text FROM pg_class WHERE relname = 'v'",
    ),
    "others": (
        (
            "CREATE STATISTICS app.st ON name, height FROM rack; ALTER STATISTICS app.st OWNER TO {odd};"
            ' CREATE COLLATION app.mine FROM "C"; ALTER COLLATION app.mine OWNER TO {odd};'
            " CREATE OPERATOR app.=== (leftarg = int, rightarg = int, function = int4eq);"
            " ALTER OPERATOR app.=== (int, int) OWNER TO {odd};"
            " CREATE AGGREGATE app.total(int) (sfunc = int4pl, stype = int);"
            " ALTER AGGREGATE app.total(int) OWNER TO {odd}"
        ),
        (
            "SELECT stxowner::regrole, collowner::regrole, oprowner::regrole, proowner::regrole"
            " FROM pg_statistic_ext, pg_collation, pg_operator, pg_proc"
            " WHERE collname = 'mine' AND oprname = '===' AND proname = 'total'"
        ),
    ),
}
DATABASE = {
    "settings": (
        (
            "ALTER DATABASE {db} SET log_min_duration_statement = 100;"
            " ALTER DATABASE {db} SET search_path = app, public;"
            " ALTER ROLE {reader} IN DATABASE {db} SET statement_timeout = '3s';"
            " ALTER DATABASE {db} SET my.colour = E'it''s \\\\ blue'"
        ),
        (
            "SELECT setrole::regrole::text, unnest(setconfig) FROM pg_db_role_setting JOIN pg_database AS d"
            " ON d.oid = setdatabase WHERE datname = '{db}' ORDER BY 1, 2"
        ),
    ),
    "itself": (
        (
            "ALTER DATABASE {db} IS_TEMPLATE true CONNECTION LIMIT 17; GRANT CREATE ON DATABASE {db} TO {reader};"
            " REVOKE TEMPORARY, CONNECT ON DATABASE {db} FROM PUBLIC; ALTER DATABASE {db} OWNER TO {writer};"
            " COMMENT ON DATABASE {db} IS 'ours'"
        ),
        (
            "SELECT datistemplate, datconnlimit, datdba::regrole, array(SELECT unnest(datacl)::text ORDER BY 1),"
            " shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{db}'"
        ),
    ),
}
ALL = {
    **{f"right on {name}": both for name, both in RIGHTS.items()},
    **{f"owner of {name}": both for name, both in OWNERS.items()},
    **{f"database: {name}": both for name, both in DATABASE.items()},
}


@pytest.fixture
def names(role: Role, lab: Database) -> Iterator[Mapping[str, str]]:
    """Roles that are dropped after the database."""
    reader, writer, odd = role()[0], role()[0], f'"{support.new_name()} Odd ""Role"" "'
    support.server().rows(f"CREATE ROLE {odd}")
    yield {"db": lab.name, "reader": reader, "writer": writer, "odd": odd}
    with contextlib.suppress(psycopg2.Error):
        support.server().rows(f"ALTER DATABASE {lab.name} IS_TEMPLATE false")
    support.drop(lab.name)
    support.server().rows(f"DROP ROLE {odd}")


def run(database: Database, statements: str, names: Mapping[str, str]) -> None:
    for statement in statements.split("; "):
        database.rows(statement.format(**names))


def answers(database: Database, names: Mapping[str, str]) -> dict[str, list[Any]]:
    literals = {**names, "odd": names["odd"].replace('""', '"')[1:-1]}
    return {name: database.rows(query.format(**literals)) for name, (_, query) in ALL.items()}


@pytest.mark.slow
def test_superuser_keeps_all_properties(
    lab: Database, engine: PostgresEngine, names: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for statements, _ in ALL.values():
        run(lab, statements, names)
    before = answers(lab, names)
    dump, _ = support.dump_of(engine)
    support.restore_test(engine, dump)
    support.restore(engine, dump)
    assert answers(lab, names) == before
    support.undo(engine, run="x")
    assert answers(lab, names) == before
    executed = list[str]()
    with engine.swap_strategy().previous_as_staging() as scratch, monkeypatch.context() as patch:
        patch.setattr(differences, "try_statement", lambda _cursor, statement: executed.append(statement))
        assert scratch.keep_properties() == ()
    assert executed == []
    support.drop_previous(engine)


# --- Objects that only the backup has ---------------------------------------------------------------------------------
ONLY_IN_BACKUP = (
    "CREATE SCHEMA app; CREATE TABLE app.t (id serial); CREATE FUNCTION app.f() RETURNS int LANGUAGE sql"
    " SECURITY DEFINER AS 'SELECT 1'; GRANT SELECT ON rack, app.t TO {writer}"
)
DEFAULTS = (
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
    " ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO {odd};"
    " ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader};"
    " ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA app GRANT INSERT ON TABLES TO {reader};"
    " ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA app GRANT USAGE ON SEQUENCES TO {reader}"
)
NEW_OBJECTS = (
    "SELECT c.oid::regclass::text, relowner::regrole::text, grantee::regrole::text, string_agg(privilege_type, ' ')"
    " FROM pg_class AS c CROSS JOIN aclexplode(relacl) WHERE grantee <> relowner AND relname ~ '^(rack|t|t_id_seq)$'"
    " GROUP BY 1, 2, 3 ORDER BY 1, 3"
)
OWNER_AND_RIGHT = (
    "SELECT proowner::regrole::text, has_function_privilege('{reader}', p.oid, 'EXECUTE')"
    " FROM pg_proc AS p WHERE proname = 'f'"
)


@pytest.mark.slow
def test_objects_that_only_the_backup_has_are_new(lab: Database, ordinary: Database, names: Mapping[str, str]) -> None:
    """They get the owner of the other tables, and what that grants on new objects; whoever restores."""
    me = ordinary.address.user
    run(lab, ONLY_IN_BACKUP, names)
    admin = support.engine_of(lab)
    dump, _ = support.dump_of(admin)
    run(lab, "DROP TABLE rack CASCADE; DROP TABLE app.t; DROP FUNCTION app.f", names)
    run(lab, DEFAULTS + "; ALTER SCHEMA app OWNER TO {owner}", {**names, "owner": me})
    bare = names["odd"]
    for engine in support.engine_of(ordinary), admin:
        support.restore(engine, dump)
        assert lab.rows(NEW_OBJECTS) == [
            ("app.t", me, bare, "SELECT"),
            ("app.t", me, names["reader"], "INSERT"),
            ("app.t_id_seq", me, names["reader"], "USAGE"),
            ("rack", me, bare, "SELECT"),
            ("rack", me, names["reader"], "SELECT"),
        ]
        assert lab.rows(OWNER_AND_RIGHT.format(**names)) == [(me, False)]
        support.undo(engine, run="x")
    # What is in the previous database is not new.
    lab.rows("CREATE TABLE t (); GRANT UPDATE ON t TO PUBLIC")
    support.undo(admin, run="x")
    support.undo(admin, run="x")
    assert ("t", "homerack", "-", "UPDATE") in lab.rows(NEW_OBJECTS)


def test_restore_within_the_database_gives_new_objects_the_default_privileges(
    lab: Database, ordinary: Database, names: Mapping[str, str]
) -> None:
    me = ordinary.address.user
    engine = support.engine_of(ordinary)
    run(ordinary, "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT SELECT ON rack TO {writer}", names)
    dump, _ = support.dump_of(engine)
    run(ordinary, "DROP TABLE rack CASCADE; DROP FUNCTION f", names)
    run(
        ordinary,
        DEFAULTS.partition("; ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA app")[0],
        {**names, "owner": me},
    )
    lab.rows(f"ALTER ROLE {me} NOCREATEDB")
    support.restore(engine, dump)
    assert lab.rows(NEW_OBJECTS) == [
        ("rack", me, names["odd"], "SELECT"),
        ("rack", me, names["reader"], "SELECT"),
    ]
    assert lab.rows(OWNER_AND_RIGHT.format(**names)) == [(me, False)]


REVOKED = {
    "rack": ("GRANT SELECT ON rack TO {reader}", "REVOKE SELECT ON rack FROM {reader}"),
    "f": (
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "REVOKE EXECUTE ON FUNCTION f FROM PUBLIC",
    ),
    "device": (
        "GRANT SELECT, INSERT ON device TO {reader} WITH GRANT OPTION; GRANT UPDATE (name) ON device TO {reader}",
        "REVOKE ALL ON device FROM {reader}; GRANT SELECT ON device TO {reader}",
    ),
    "public": ("GRANT CREATE ON SCHEMA public TO {reader}", "REVOKE CREATE ON SCHEMA public FROM {reader}"),
}


def test_revoked_rights_stay_revoked(lab: Database, engine: PostgresEngine, names: Mapping[str, str]) -> None:
    """Those of the backup's time, and those of the previous database."""
    for granted, _ in REVOKED.values():
        run(lab, granted, names)
    dump, _ = support.dump_of(engine)
    support.restore(engine, dump)
    for _, revoked in REVOKED.values():
        run(lab, revoked, names)
    query = (
        "SELECT has_table_privilege('{reader}', 'rack', 'SELECT'),"
        " has_function_privilege('{reader}', 'f()', 'EXECUTE'),"
        " has_table_privilege('{reader}', 'device', 'SELECT WITH GRANT OPTION, INSERT'),"
        " has_column_privilege('{reader}', 'device', 'name', 'UPDATE'),"
        " has_schema_privilege('{reader}', 'public', 'CREATE'), has_table_privilege('{reader}', 'device', 'SELECT')"
    ).format(**names)
    before = [(False, False, False, False, False, True)]
    assert lab.rows(query) == before
    for _ in range(2):
        support.undo(engine, run="x")
        assert lab.rows(query) == before
    support.restore(engine, dump)
    assert lab.rows(query) == before


# --- A role without the right ---------------------------------------------------------------------------------------
@pytest.fixture
def ordinary(role: Role, lab: Database) -> Database:
    """The database with a role that owns it and its tables, and may create databases."""
    name, password = role("CREATEDB")
    lab.rows(f"ALTER DATABASE {lab.name} OWNER TO {name}")
    lab.rows(
        "DO $$ DECLARE name text; BEGIN FOR name IN SELECT format('%I', tablename) FROM pg_tables"
        f" WHERE schemaname = 'public' LOOP EXECUTE 'ALTER TABLE ' || name || ' OWNER TO {name}'; END LOOP; END $$"
    )
    return support.database_named(lab.name, user=name, password=password)


def not_kept_by_a_restore(engine: PostgresEngine, dump: bytes) -> list[str]:
    """The sentences of a restore, which are those of a restore test too."""
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=False) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        tested = scratch.keep_properties()
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        assert scratch.keep_properties() == tested
        scratch.swap(run="run", backup="backup")
    return [str(left) for left in tested]


def test_restore_names_what_the_role_may_not_keep(lab: Database, ordinary: Database, names: Mapping[str, str]) -> None:
    me, reader, writer, odd = ordinary.address.user, names["reader"], names["writer"], names["odd"]
    bare = odd[1:-1].replace('""', '"')
    statements = (
        "ALTER DATABASE {db} SET log_min_duration_statement = 100; ALTER DATABASE {db} SET work_mem = '5MB';"
        " ALTER ROLE {reader} IN DATABASE {db} SET statement_timeout = '3s'; ALTER TABLE device OWNER TO {writer};"
        " GRANT SELECT ON device TO {reader}; GRANT SELECT ON device, device_id_seq TO " + me + ";"
        " ALTER DEFAULT PRIVILEGES FOR ROLE {odd} IN SCHEMA public GRANT SELECT ON TABLES TO {reader}"
    )
    run(lab, statements, names)
    engine = support.engine_of(ordinary)
    before = lab.rows("SELECT relacl::text, relowner::regrole::text FROM pg_class WHERE relname = 'device'")
    dump, _ = support.dump_of(engine)
    assert not_kept_by_a_restore(engine, dump) == [
        (
            "Not kept: the setting log_min_duration_statement = 100 (permission denied to set parameter"
            f' "log_min_duration_statement"). As an administrator: ALTER DATABASE "{lab.name}"'
            " SET \"log_min_duration_statement\" = '100';"
        ),
        (
            f"Not kept: the setting statement_timeout = 3s of the role {reader} (permission denied)."
            f' As an administrator: ALTER ROLE {reader} IN DATABASE "{lab.name}" SET "statement_timeout" = \'3s\';'
        ),
        (
            f"Not kept: SELECT on the new tables (FOR ROLE {odd} IN SCHEMA public) for {reader} (must be member of"
            f' role "{bare}"). As an administrator: ALTER DEFAULT PRIVILEGES FOR ROLE {odd}'
            f" IN SCHEMA public GRANT SELECT ON TABLES TO {reader};"
        ),
        (
            f"Not kept: SELECT on the sequence public.device_id_seq for {me} (the role may not). As an administrator:"
            f" GRANT SELECT ON SEQUENCE public.device_id_seq TO {me};"
        ),
        (
            f'Not kept: the owner {writer} of the table public.device (must be member of role "{writer}").'
            f" As an administrator: ALTER TABLE public.device OWNER TO {writer};"
        ),
        (
            f"Not kept: SELECT on the table public.device for {me} (the role may not). As an administrator:"
            f" GRANT SELECT ON TABLE public.device TO {me};"
        ),
    ]
    assert lab.value("SHOW work_mem") == "5MB"
    assert lab.value(f"SELECT has_table_privilege('{reader}', 'device', 'SELECT')")
    # The previous database still has them.
    support.undo(engine, run="x")
    assert lab.rows("SELECT relacl::text, relowner::regrole::text FROM pg_class WHERE relname = 'device'") == before


def test_restore_within_the_database_keeps_the_rights_on_its_objects(
    lab: Database, ordinary: Database, names: Mapping[str, str]
) -> None:
    lab.rows(f"ALTER ROLE {ordinary.address.user} NOCREATEDB")
    for statements in (
        "GRANT SELECT ON rack TO {reader}; GRANT UPDATE (notes) ON rack TO {reader} WITH GRANT OPTION",
        "GRANT USAGE ON SEQUENCE rack_id_seq TO {reader}; CREATE TYPE mood AS ENUM ('a')",
        "CREATE FUNCTION f(mood) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "REVOKE EXECUTE ON FUNCTION f FROM PUBLIC; REVOKE USAGE ON TYPE mood FROM PUBLIC",
    ):
        run(ordinary, statements, names)
    engine = support.engine_of(ordinary)
    dump, _ = support.dump_of(engine)
    run(ordinary, "GRANT SELECT, INSERT ON device TO {reader}", names)
    query = (
        "SELECT has_table_privilege('{reader}', 'rack', 'SELECT'),"
        " has_function_privilege('{reader}', 'f(mood)', 'EXECUTE'),"
        " has_column_privilege('{reader}', 'rack', 'notes', 'UPDATE WITH GRANT OPTION'),"
        " has_type_privilege('{reader}', 'mood', 'USAGE'), has_table_privilege('{reader}', 'device', 'SELECT, INSERT'),"
        " has_sequence_privilege('{reader}', 'rack_id_seq', 'USAGE')"
    ).format(**names)
    before = (True, False, True, False, True, True)
    assert lab.rows(query) == [before]
    assert not_kept_by_a_restore(engine, dump) == []
    assert lab.rows(query) == [before]
    run(ordinary, "REVOKE SELECT ON rack FROM {reader}", names)
    for _ in range(2):
        support.undo(engine, run="x")
        assert lab.rows(query) == [(False, *before[1:])]


WIDER = {
    "a function of the catalog": (
        "REVOKE EXECUTE ON FUNCTION pg_sleep FROM PUBLIC",
        "PUBLIC would have EXECUTE on the routine pg_catalog.pg_sleep(double precision) (",
        "REVOKE EXECUTE ON ROUTINE pg_catalog.pg_sleep(double precision) FROM PUBLIC CASCADE;",
    ),
    "a function of an extension": (
        "CREATE EXTENSION pg_trgm; REVOKE EXECUTE ON FUNCTION show_limit FROM PUBLIC",
        "PUBLIC would have EXECUTE on the routine public.show_limit() (",
        "REVOKE EXECUTE ON ROUTINE public.show_limit() FROM PUBLIC CASCADE;",
    ),
    "a function with the rights of its owner": (
        FUNCTION_OF_WRITER,
        'public.f() would run with the rights of {me} instead of {writer} (must be member of role "{writer}")',
        "ALTER ROUTINE public.f() OWNER TO {writer};",
    ),
}


@pytest.mark.parametrize("name", WIDER)
def test_restore_that_would_widen_rights_is_refused(
    lab: Database, ordinary: Database, names: Mapping[str, str], name: str
) -> None:
    statements, what, remedy = WIDER[name]
    run(lab, statements, names)
    engine = support.engine_of(ordinary)
    dump, before = support.dump_of(engine)
    for restore in support.restore_test, support.restore:
        with pytest.raises(PreconditionFailed) as refused:
            restore(engine, dump)
        assert refused.value.message.startswith(
            "The role may not restrict rights as they are restricted in the live database: "
            + what.format(me=ordinary.address.user, **names)
        )
        assert refused.value.message.endswith(" Nothing was changed.")
        assert refused.value.hint.endswith(" " + remedy.format(**names))
        assert support.leftovers(lab.name) == []
    assert support.tables_of(engine) == before


def test_owners_are_kept_by_a_member_of_their_roles(
    lab: Database, ordinary: Database, names: Mapping[str, str]
) -> None:
    run(
        lab,
        FUNCTION_OF_WRITER
        + "; CREATE SCHEMA app AUTHORIZATION {writer}; CREATE TABLE app.t (); ALTER TABLE app.t OWNER TO {writer};"
        " GRANT CREATE ON SCHEMA public TO {writer}; ALTER DATABASE {db} OWNER TO {writer};"
        " GRANT {writer} TO " + ordinary.address.user,
        names,
    )
    engine = support.engine_of(ordinary)
    dump, _ = support.dump_of(engine)
    assert not_kept_by_a_restore(engine, dump) == []
    assert lab.rows(
        "SELECT proowner::regrole::text, nspowner::regrole::text, relowner::regrole::text, datdba::regrole::text"
        " FROM pg_proc, pg_namespace, pg_class, pg_database"
        f" WHERE proname = 'f' AND nspname = 'app' AND relname = 't' AND datname = '{lab.name}'"
    ) == [(names["writer"],) * 4]


def test_rights_of_a_live_database_without_free_connections_are_not_guessed(
    lab: Database, ordinary: Database, names: Mapping[str, str]
) -> None:
    run(lab, REVOKED_FUNCTION, names)
    engine = support.engine_of(ordinary)
    dump, _ = support.dump_of(engine)
    lab.rows(f"ALTER DATABASE {lab.name} CONNECTION LIMIT 0")
    with pytest.raises(PreconditionFailed) as refused:
        support.restore(engine, dump)
    assert f'too many connections for database "{lab.name}"' in refused.value.message
    assert support.leftovers(lab.name) == []


def test_rights_of_a_live_database_without_sessions_are_those_of_the_backup(
    lab: Database, engine: PostgresEngine, names: Mapping[str, str]
) -> None:
    run(lab, REVOKED_FUNCTION, names)
    recorded = recorded_properties(engine)
    dump, _ = support.dump_of(engine)
    support.server().rows(f"ALTER DATABASE {lab.name} ALLOW_CONNECTIONS false")
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True, recorded=recorded) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        assert [left.what for left in scratch.keep_properties()] == ["the owners and privileges in the database"]
        scratch.swap(run="run", backup="backup")
    assert lab.value(f"SELECT has_function_privilege('{names['reader']}', 'f()', 'EXECUTE')") is False


# --- Without a live database ----------------------------------------------------------------------------------------
def recorded_properties(engine: PostgresEngine) -> DatabaseProperties:
    """As in a manifest."""
    with engine.snapshot(kind=Kind.SQL) as snapshot:
        document = factories.manifest(properties=snapshot.properties).as_json()
    properties = Manifest.from_json(json.loads(json.dumps(document))).properties
    assert properties
    return properties


def test_manifest_has_no_objects_that_nobody_changed(engine: PostgresEngine) -> None:
    assert [str(rights.name) for rights in recorded_properties(engine).objects] == ["database ", "schema public"]


def test_new_server_gets_the_properties_of_the_backup(
    lab: Database, engine: PostgresEngine, names: Mapping[str, str], role: Role
) -> None:
    gone = f"role_{support.new_name()}"
    support.server().rows(f"CREATE ROLE {gone}")
    for statements, _ in ALL.values():
        run(lab, statements, names)
    run(
        lab,
        "GRANT SELECT ON rack TO {gone}; ALTER ROLE {gone} IN DATABASE {db} SET work_mem = '7MB'",
        {**names, "gone": gone},
    )
    expected = answers(lab, names)
    dump, _ = support.dump_of(engine)
    recorded = recorded_properties(engine)
    support.server().rows(f"ALTER DATABASE {lab.name} IS_TEMPLATE false")
    support.drop(lab.name)
    support.server().rows(f"DROP ROLE {gone}")
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True, recorded=recorded) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        not_kept = [left.what for left in scratch.keep_properties()]
        scratch.swap(run="run", backup="backup")
    assert not_kept == [
        f"the role {gone}",
        f"the setting work_mem = 7MB of the role {gone}",
        f"SELECT on the table public.rack for {gone}",
    ]
    found = answers(lab, names)
    assert {name for name in expected if found[name] != expected[name]} == {"database: settings"}


@pytest.mark.parametrize("as_owner", [True, False])
def test_new_server_gets_the_owner_of_a_database_without_privileges(
    lab: Database, ordinary: Database, names: Mapping[str, str], *, as_owner: bool
) -> None:
    """Its tables are older than its default privileges."""
    run(lab, DEFAULTS.replace(" IN SCHEMA app", ""), {**names, "owner": ordinary.address.user})
    engine = support.engine_of(ordinary if as_owner else lab)
    dump, _ = support.dump_of(engine)
    recorded = recorded_properties(engine)
    support.drop(lab.name)
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True, recorded=recorded) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        assert scratch.keep_properties() == ()
        scratch.swap(run="run", backup="backup")
    owners = lab.rows(
        "SELECT tableowner FROM pg_tables WHERE schemaname = 'public'"
        f" UNION SELECT datdba::regrole::text FROM pg_database WHERE datname = '{lab.name}'"
    )
    assert owners == [(ordinary.address.user,)]
    assert lab.rows(NEW_OBJECTS) == []


def test_policies_for_roles_that_are_missing_name_them(lab: Database, engine: PostgresEngine) -> None:
    roles = [f"role_{support.new_name()}", f'"{support.new_name()} Odd"']
    for role in roles:
        support.server().rows(f"CREATE ROLE {role}")
    lab.rows(
        f"CREATE POLICY a ON rack TO {roles[0]} USING (true);"
        f" CREATE POLICY b ON rack AS RESTRICTIVE FOR SELECT TO {roles[1]}, {roles[0]} USING (height > 0)"
    )
    dump, _ = support.dump_of(engine)
    lab.rows(f"DROP POLICY a ON rack; DROP POLICY b ON rack; DROP ROLE {', '.join(roles)}")
    with pytest.raises(PreconditionFailed) as refused:
        support.restore_test(engine, dump)
    listed = sorted(roles)
    assert str(refused.value) == (
        f"The backup has row security policies for roles that the server does not have: {', '.join(listed)}."
        f" Nothing was changed.\nAs an administrator: {' '.join(f'CREATE ROLE {role};' for role in listed)}"
    )


# --- Security labels -------------------------------------------------------------------------------------------------
def test_label_of_the_database_whose_provider_is_absent_is_named(lab: Database, engine: PostgresEngine) -> None:
    """No server without SELinux has a provider, so the label is written into the catalog."""
    lab.rows(
        "SET allow_system_table_mods = on; INSERT INTO pg_shseclabel SELECT oid, 'pg_database'::regclass, 'anon',"
        f" E'it''s \\\\ masked' FROM pg_database WHERE datname = '{lab.name}'"
    )
    dump, _ = support.dump_of(engine)
    assert recorded_properties(engine).labels == (("anon", r"it's \ masked"),)
    assert not_kept_by_a_restore(engine, dump) == [
        (
            r"Not kept: the security label it's \ masked of the database for anon (security label provider"
            f' "anon" is not loaded). As an administrator: SECURITY LABEL FOR "anon" ON DATABASE "{lab.name}"'
            r" IS E'it''s \\ masked';"
        )
    ]


def test_label_in_the_backup_whose_provider_is_absent_is_named(lab: Database, engine: PostgresEngine) -> None:
    lab.rows(
        "SET allow_system_table_mods = on; INSERT INTO pg_seclabel"
        " VALUES ('rack'::regclass, 'pg_class'::regclass, 0, 'anon', 'MASKED')"
    )
    dump, _ = support.dump_of(engine)
    with pytest.raises(PreconditionFailed) as refused:
        support.restore(engine, dump)
    assert str(refused.value) == (
        'The server refuses a security label of the backup: security label provider "anon" is not loaded'
        " (SECURITY LABEL FOR anon ON TABLE public.rack IS 'MASKED';). Nothing was changed.\n"
        "As an administrator: install the module of the label provider, and load it in all sessions"
        " (session_preload_libraries)."
    )


# --- Locale and tablespaces ----------------------------------------------------------------------------------------
LOCALES = {
    "icu": "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-kn-true' LOCALE 'C.UTF-8'",
    "POSIX": "LC_COLLATE 'POSIX' LC_CTYPE 'C.UTF-8'",
    "LATIN1": "ENCODING LATIN1 LOCALE 'C'",
}
LOCALE = (
    "SELECT to_jsonb(d) - 'oid' - 'datfrozenxid' - 'datminmxid' - 'datcollversion' FROM pg_database AS d"
    " WHERE datname = current_database()"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCALES)
def test_locale_is_kept(name: str) -> None:
    database = support.database_named(support.new_name())
    support.server().rows(f"CREATE DATABASE {database.name} TEMPLATE template0 {LOCALES[name]}")
    try:
        before = database.value(LOCALE)
        engine = support.engine_of(database)
        dump, _ = support.dump_of(engine)
        support.restore(engine, dump)
        assert database.value(LOCALE) == before
        recorded = recorded_properties(engine)
        support.drop(database.name)
        with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True, recorded=recorded) as scratch:
            assert scratch.keep_properties() == ()
            scratch.swap(run="run", backup="backup")
        assert database.value(LOCALE) == before
    finally:
        support.drop(database.name)


def test_locale_that_a_new_server_lacks_is_named(lab: Database, engine: PostgresEngine) -> None:
    recorded = replace(recorded_properties(engine), collate="xx_XX.UTF-8", ctype="xx_XX.UTF-8")
    support.drop(lab.name)
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True, recorded=recorded) as scratch:
        assert [str(left) for left in scratch.keep_properties()] == [
            (
                "Not kept: the locale libc (UTF8, xx_XX.UTF-8, xx_XX.UTF-8) of the database, which has the locale libc"
                " (UTF8, C.UTF-8, C.UTF-8) (the server does not have it)."
            )
        ]


@pytest.fixture
def tablespace() -> Iterator[str]:
    folder, name = Path(tempfile.mkdtemp()), support.new_name()
    if user := unprivileged_user():
        shutil.chown(folder, user)
    support.server().rows(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
    yield name
    support.server().rows(f"DROP TABLESPACE {name}")
    shutil.rmtree(folder)


@pytest.mark.slow
def test_tablespaces_are_kept(tablespace: str, role: Role, lab: Database, lab_backup: Backup) -> None:
    lab.rows(f"ALTER TABLE rack SET TABLESPACE {tablespace}; ALTER INDEX rack_pkey SET TABLESPACE {tablespace}")
    query = (
        "SELECT array(SELECT relname::text FROM pg_class JOIN pg_tablespace AS t ON t.oid = reltablespace"
        f" WHERE spcname = '{tablespace}' AND relname !~ 'toast' ORDER BY 1), spcname FROM pg_database AS d"
        " JOIN pg_tablespace AS t ON t.oid = dattablespace WHERE datname = current_database()"
    )
    engine = support.engine_of(lab)
    dump, _ = lab_backup
    support.restore(engine, dump)
    assert lab.rows(query) == [(["rack", "rack_pkey"], "pg_default")]
    support.drop_previous(engine)
    lab.rows("ALTER TABLE rack SET TABLESPACE pg_default; ALTER INDEX rack_pkey SET TABLESPACE pg_default")
    support.server().rows(f"ALTER DATABASE {lab.name} SET TABLESPACE {tablespace}")
    support.restore(engine, dump)
    assert lab.rows(query) == [([], tablespace)]
    name, password = role("CREATEDB")
    lab.rows(f"ALTER DATABASE {lab.name} OWNER TO {name}")
    ordinary = support.engine_of(support.database_named(lab.name, user=name, password=password))
    with ordinary.locked("test"), ordinary.swap_strategy().scratch(for_swap=False) as scratch:
        assert [str(left) for left in scratch.keep_properties()] == [
            (
                f"Not kept: the tablespace {tablespace} of the database (the role may not create objects in it)."
                f' As an administrator: ALTER DATABASE "{lab.name}" SET TABLESPACE "{tablespace}";'
            )
        ]
