"""Restores by a role that may not create databases: objects outside of the schema public, and the schema itself."""

import io
import re
from typing import Any

import pytest

from ops.backups.engines.postgresql import public_schema
from ops.backups.manifest import Kind
from ops.errors import OpsError, PreconditionFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database, Role

LARGE = 3 << 20
LARGE_OBJECTS = (
    "SELECT oid, md5(lo_get(oid)), lomacl::text, obj_description(oid) FROM pg_largeobject_metadata ORDER BY 1"
)
PUBLICATIONS = "SELECT * FROM pg_publication_tables ORDER BY 1, 2, 3"
SCHEMA = "SELECT nspowner::regrole, nspacl::text, obj_description(oid) FROM pg_namespace WHERE nspname = 'public'"
OBJECTS = {
    "large object": ("SELECT lo_from_bytea(4711, 'abc')", LARGE_OBJECTS),
    "large object of a row": (
        "CREATE TABLE scans (o oid); INSERT INTO scans SELECT lo_from_bytea(0, 'scan')",
        "SELECT encode(lo_get(o), 'escape') FROM scans",
    ),
    "several large objects": (
        (
            f"SELECT lo_from_bytea(1, decode(repeat('ab', {LARGE} + 1), 'hex')), lo_from_bytea(2, ''),"
            f" lo_from_bytea(3, decode(repeat('cd', {LARGE}), 'hex'))"
        ),
        LARGE_OBJECTS,
    ),
    "publication": ("CREATE PUBLICATION pub FOR TABLE rack, device", PUBLICATIONS),
    "publication of some columns and rows": (
        (
            "CREATE PUBLICATION \"Odd pub\" FOR TABLE rack (id, name) WHERE (id > 1 AND name <> '');"
            " COMMENT ON PUBLICATION \"Odd pub\" IS 'x'"
        ),
        PUBLICATIONS,
    ),
    "empty publication": ("CREATE PUBLICATION empty", "SELECT pubname FROM pg_publication ORDER BY 1"),
    "cast": (
        (
            "CREATE TYPE mood AS (x text); CREATE FUNCTION c(mood) RETURNS text LANGUAGE sql AS 'SELECT $1.x';"
            " CREATE CAST (mood AS text) WITH FUNCTION c(mood)"
        ),
        (
            "SELECT count(*) FROM pg_cast JOIN pg_type AS t ON t.oid = castsource"
            " WHERE typnamespace = 'public'::regnamespace"
        ),
    ),
    "foreign server": (
        (
            "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw;"
            " CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (user 'x');"
            " CREATE FOREIGN TABLE far (id int) SERVER s; COMMENT ON SERVER s IS 'x'"
        ),
        "SELECT srvname, umoptions, to_regclass('far')::text FROM pg_user_mappings",
    ),
}


def changed(owner: Database) -> list[Any]:
    """What must be equal after a restore or an undo."""
    return [owner.rows(query) for query in (LARGE_OBJECTS, PUBLICATIONS, SCHEMA)]


def test_objects_outside_of_schemas_survive_restores(owner: Database, lab: Database) -> None:
    lab.rows("CREATE SCHEMA ext; CREATE EXTENSION postgres_fdw SCHEMA ext")
    lab.rows(f"GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {owner.address.user}")
    for statement, _ in OBJECTS.values():
        owner.rows(statement)

    def found() -> dict[str, list[Any]]:
        return {name: owner.rows(query) for name, (_, query) in OBJECTS.items()}

    before = found()
    assert all(before.values())
    engine = support.engine_of(owner)
    dump, tables = support.dump_of(engine)
    support.restore_test(engine, dump)
    assert found() == before
    for _ in range(2):
        assert support.restore(engine, dump) == tables
        assert found() == before
    support.undo(engine, run="x")
    assert found() == before
    support.drop_previous(engine)
    assert found() == before


def test_large_objects_are_those_of_the_backup_and_after_an_undo_those_before(
    role: Role, lab: Database, owner: Database
) -> None:
    reader, _ = role()
    owner.rows("SELECT lo_from_bytea(1, 'one'), lo_from_bytea(2, 'two')")
    engine = support.engine_of(owner)
    dump, _ = support.dump_of(engine)
    owner.rows(f"GRANT SELECT, UPDATE ON LARGE OBJECT 1 TO {reader} WITH GRANT OPTION")
    owner.rows("SELECT lo_unlink(2), lo_put(1, 3, ' more'), lo_from_bytea(3, '')")
    owner.rows("COMMENT ON LARGE OBJECT 3 IS 'It''s empty'")
    before = owner.rows(LARGE_OBJECTS)
    support.restore_test(engine, dump)
    assert owner.rows(LARGE_OBJECTS) == before
    support.restore(engine, dump)
    assert owner.rows("SELECT oid::int, lo_get(oid)::text FROM pg_largeobject_metadata ORDER BY 1") == [
        (1, "\\x6f6e65"),
        (2, "\\x74776f"),
    ]
    support.undo(engine, run="x")
    assert owner.rows(LARGE_OBJECTS) == before
    assert "ops_large_objects" not in owner.tables()


def test_publication_has_the_restored_tables_that_exist(owner: Database, lab_backup: Backup) -> None:
    engine = support.engine_of(owner)
    dump, _ = lab_backup
    owner.rows("CREATE TABLE later (id int); CREATE PUBLICATION pub FOR TABLE rack, later, device (id)")
    before = owner.rows(PUBLICATIONS)
    support.restore(engine, dump)
    published = "SELECT schemaname, tablename, attnames::text FROM pg_publication_tables WHERE tablename = 'device'"
    assert owner.rows("SELECT schemaname, tablename FROM pg_publication_tables ORDER BY 2") == [
        ("public", "device"),
        ("public", "rack"),
    ]
    assert owner.rows(published) == [("public", "device", "{id}")]
    support.undo(engine, run="x")
    assert [row for row in owner.rows(PUBLICATIONS) if row[2] != "later"] == [
        row for row in before if row[2] != "later"
    ]


def test_owner_privileges_and_comment_of_public_stay(role: Role, lab: Database, owner: Database) -> None:
    reader, _ = role()
    lab.rows(
        f"GRANT USAGE ON SCHEMA public TO {reader} WITH GRANT OPTION; REVOKE ALL ON SCHEMA public FROM PUBLIC;"
        f" GRANT CREATE ON SCHEMA public TO {owner.address.user}; COMMENT ON SCHEMA public IS 'It''s ours'"
    )
    before = owner.rows(SCHEMA)
    assert str(before[0][0]) == "pg_database_owner"
    engine = support.engine_of(owner)
    dump, _ = support.dump_of(engine)
    support.restore(engine, dump)
    assert owner.rows(SCHEMA) == before
    support.undo(engine, run="x")
    assert owner.rows(SCHEMA) == before
    lab.rows(f"ALTER SCHEMA public OWNER TO {owner.address.user}")
    before = owner.rows(SCHEMA)
    support.restore(engine, dump)
    support.undo(engine, run="x")
    assert owner.rows(SCHEMA) == before


SUPERUSER = (
    "Set DATABASE_DIRECT_URL to the database with the name and password of a superuser, and run the command again."
    " Owners and privileges stay as they are."
)
REFUSALS = {
    "large object": (
        "SELECT lo_from_bytea(7, 'x'); GRANT SELECT ON LARGE OBJECT 7 TO PUBLIC",
        (
            "Large objects of other roles can only be replaced with the database (7). Nothing was changed.\n"
            "As an administrator, one of the two: ALTER ROLE {role} CREATEDB; or ALTER LARGE OBJECT 7 OWNER TO {role};"
        ),
    ),
    "publication": (
        "CREATE PUBLICATION theirs FOR TABLE rack",
        (
            "The publication theirs publishes tables of the schema public, which a restore replaces, and belongs to"
            " another role. Nothing was changed.\n"
            "As an administrator, one of the two: ALTER ROLE {role} CREATEDB;"
            ' or ALTER PUBLICATION "theirs" OWNER TO {role};'
        ),
    ),
    "event trigger": (
        (
            "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
            " CREATE EVENT TRIGGER watcher ON ddl_command_start EXECUTE FUNCTION watch()"
        ),
        (
            "The event trigger watcher calls watch(), which can only be replaced with the database."
            " Nothing was changed.\n" + SUPERUSER
        ),
    ),
    "cast": (
        (
            "CREATE FUNCTION c(money) RETURNS text LANGUAGE sql AS 'SELECT ''''';"
            " CREATE CAST (money AS text) WITH FUNCTION c(money)"
        ),
        (
            "The cast from money to text calls c(money), which can only be replaced with the database."
            " Nothing was changed.\nAs an administrator: ALTER ROLE {role} CREATEDB;"
        ),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_object_that_would_be_lost_is_named(owner: Database, lab: Database, name: str) -> None:
    statement, message = REFUSALS[name]
    lab.rows(statement)
    engine = support.engine_of(owner)
    with pytest.raises(PreconditionFailed) as refused:
        support.restore(engine, b"")
    assert str(refused.value) == message.format(role=f'"{owner.address.user}"')
    assert owner.value("SELECT count(*) FROM device") == 500
    assert engine.swap_strategy().previous_database() is None


def test_restore_test_loads_what_only_a_restore_would_lose(owner: Database, lab: Database) -> None:
    for name in ("publication", "event trigger", "cast"):
        lab.rows(REFUSALS[name][0])
    engine = support.engine_of(owner)
    dump, tables = support.dump_of(engine)
    assert support.restore_test(engine, dump)[1] == tables


def test_backup_with_other_schemas_is_refused(owner: Database, lab: Database) -> None:
    owner.rows("CREATE SCHEMA other; CREATE TABLE other.x ()")
    engine = support.engine_of(lab)
    dump, _ = support.dump_of(engine)
    owner.rows("DROP SCHEMA other CASCADE")
    small = support.engine_of(owner)
    with (
        pytest.raises(PreconditionFailed, match=r"^The backup has other schemas than public \(other\), which can only"),
        small.locked("test"),
        small.swap_strategy().scratch(for_swap=True) as scratch,
    ):
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
    assert owner.rows("SELECT FROM pg_namespace WHERE nspname = 'other'") == []


# --- What cannot leave the schema -----------------------------------------------------------------------------------
FIXED = {
    "extensions": (
        (
            "CREATE EXTENSION pg_buffercache; CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore;"
            " CREATE EXTENSION unaccent"
        ),
        (
            # Operators and operator classes.
            "CREATE INDEX ON rack USING gin (name gin_trgm_ops);"
            " CREATE VIEW alike AS SELECT name % 'x' AS a, name <-> 'Hall' AS b, name <% 'public.similarity' FROM rack;"
            # Types, also of an extension that is the role's own.
            " CREATE EXTENSION citext;"
            " CREATE TABLE t (h hstore UNIQUE DEFAULT 'public.hstore=>1', c citext UNIQUE DEFAULT 'public.citext');"
            " INSERT INTO t VALUES ('a=>1', 'A');"
            # A function in the body of another, used by an index, and a configuration of text search.
            " CREATE FUNCTION bare(text) RETURNS text IMMUTABLE LANGUAGE sql AS"
            " $$ SELECT public.unaccent('public.unaccent', $1) /* public.unaccent */ $$;"
            " CREATE INDEX ON rack (bare(name));"
            " CREATE TEXT SEARCH CONFIGURATION bare (COPY = simple);"
            " ALTER TEXT SEARCH CONFIGURATION bare ALTER MAPPING FOR word WITH unaccent, simple;"
            " CREATE INDEX ON rack USING gin (to_tsvector('bare', name))"
        ),
    ),
    "default privileges": ("", "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC"),
    "publication": ("CREATE PUBLICATION pub FOR TABLES IN SCHEMA public; ALTER PUBLICATION pub OWNER TO {role}", ""),
}
ALL_KINDS = """
CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (x int, y mood);
CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);
CREATE COLLATION german (provider = libc, locale = 'C');
CREATE FUNCTION f(pair, "Odd" rack DEFAULT NULL) RETURNS mood LANGUAGE sql AS 'SELECT $1.y';
CREATE PROCEDURE p(INOUT x mood) LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION f1(pair) RETURNS mood LANGUAGE sql AS 'SELECT $1.y';
CREATE FUNCTION f2(mood, mood) RETURNS mood LANGUAGE sql AS 'SELECT $2';
CREATE FUNCTION same(mood, mood) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1::text = $2::text';
CREATE AGGREGATE latest(mood) (SFUNC = f2, STYPE = mood);
CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same);
CREATE CAST (pair AS mood) WITH FUNCTION f1(pair);
CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple);
CREATE TEXT SEARCH CONFIGURATION "Conf" (COPY = english);
CREATE TABLE "Odd" (id serial PRIMARY KEY, m mood, p pair, s short, c text COLLATE german);
INSERT INTO "Odd" (m, p, s) VALUES ('a', '(1,a)', 'x'); CREATE SEQUENCE alone START 7;
CREATE STATISTICS stats ON id, m FROM "Odd"; CREATE VIEW v AS SELECT f(p), id FROM "Odd";
CREATE TABLE child () INHERITS ("Odd");
CREATE MATERIALIZED VIEW mv AS SELECT * FROM v; CREATE INDEX ON mv (id);
CREATE TABLE parts (id int) PARTITION BY LIST (id);
CREATE TABLE one PARTITION OF parts FOR VALUES IN (1); INSERT INTO parts VALUES (1);
CREATE FUNCTION notice() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT ON "Odd" FOR EACH ROW EXECUTE FUNCTION notice();
CREATE RULE r AS ON DELETE TO v DO INSTEAD NOTHING;
ALTER TABLE "Odd" ENABLE ROW LEVEL SECURITY; CREATE POLICY pol ON "Odd" USING (m = 'a' OR id > 0);
"""
RANGE = "CREATE TYPE span AS RANGE (subtype = float8); CREATE TABLE spans (r span, rs span_multirange[]);"


def content(dump: bytes) -> list[bytes]:
    """All that a dump has of the database; pg_dump orders some of it by OIDs, and writes casts of any schema."""
    lines = re.sub(rb"--\n-- Name: CAST.*\n--\n\n.*ops_undo.*\n\n\n", b"", dump).splitlines()
    return sorted(line for line in lines if not line.startswith(b"\\"))


def test_what_cannot_leave_the_schema_stays_where_all_names_are_quoted(owner: Database, lab: Database) -> None:
    of_administrator, statement = FIXED["extensions"]
    lab.rows(f"ALTER DATABASE {lab.name} SET quote_all_identifiers = on; {of_administrator}")
    owner.rows(statement)
    engine = support.engine_of(owner)
    dump, tables = support.dump_of(engine)
    assert support.restore(engine, dump) == tables


@pytest.mark.parametrize("name", FIXED)
def test_what_cannot_leave_the_schema_stays(owner: Database, lab: Database, name: str) -> None:
    """An extension of another role in public: usual on managed servers."""
    of_administrator, statement = FIXED[name]
    for statements, database in ((of_administrator, lab), (statement, owner)):
        if statements:
            database.rows(statements.format(role=owner.address.user))
    engine = support.engine_of(owner)
    dump, tables = support.dump_of(engine)
    queries = (SCHEMA, PUBLICATIONS, "SELECT oid FROM pg_extension")
    before = [owner.rows(query) for query in queries]
    assert support.restore_test(engine, dump)[1] == tables
    for _ in range(2):
        owner.rows("DROP TABLE device")
        assert support.restore(engine, dump) == tables
    assert content(support.dump_of(engine)[0]) == content(dump)
    assert [owner.rows(query) for query in queries] == before
    support.undo(engine, run="x")
    assert "device" not in owner.tables()
    support.undo(engine, run="y")
    assert content(support.dump_of(engine)[0]) == content(dump)
    assert owner.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^ops'") == [("ops_undo",)]


@pytest.mark.parametrize("extension", ["", "CREATE EXTENSION citext"])
def test_objects_of_all_kinds_are_replaced(owner: Database, lab: Database, extension: str) -> None:
    """With an extension of another role they are moved one by one."""
    if extension:
        lab.rows(extension)
    owner.rows(ALL_KINDS if extension else ALL_KINDS + RANGE)
    engine = support.engine_of(owner)
    dump, tables = support.dump_of(engine)
    before = content(dump)
    for _ in range(2):
        assert support.restore(engine, dump) == tables
        dump, _ = support.dump_of(engine)
        assert content(dump) == before
    support.undo(engine, run="x")
    assert content(support.dump_of(engine)[0]) == before


def test_range_is_named_where_objects_are_moved(owner: Database, lab: Database) -> None:
    """Its functions belong to the server's superuser."""
    lab.rows("CREATE EXTENSION citext")
    owner.rows(RANGE)
    engine = support.engine_of(owner)
    with pytest.raises(PreconditionFailed) as refused:
        support.restore(engine, support.dump_of(engine)[0])
    assert str(refused.value) == (
        "The type span cannot be moved out of the schema public, which has extensions, publications or default"
        " privileges that can only be replaced with the database. Nothing was changed.\n"
        f'As an administrator: ALTER ROLE "{owner.address.user}" CREATEDB;'
    )


def test_object_of_another_role_is_named_where_objects_are_moved(owner: Database, lab: Database) -> None:
    lab.rows("CREATE EXTENSION citext; CREATE TABLE theirs (); GRANT SELECT ON theirs TO PUBLIC")
    engine = support.engine_of(owner)
    with pytest.raises(PreconditionFailed) as refused:
        support.restore(engine, support.dump_of(engine)[0])
    assert str(refused.value) == (
        "The table public.theirs cannot be moved out of the schema public, which has extensions, publications or"
        " default privileges that can only be replaced with the database. Nothing was changed.\n"
        f'As an administrator, one of the two: ALTER ROLE "{owner.address.user}" CREATEDB;'
        f' or ALTER TABLE public.theirs OWNER TO "{owner.address.user}";'
    )


def test_sessions_read_and_back_up_while_a_backup_is_loaded(owner: Database, lab: Database) -> None:
    lab.rows("CREATE EXTENSION citext")
    engine = support.engine_of(owner)
    dump, tables = support.dump_of(engine)
    with engine.locked("test"), engine.swap_strategy().scratch(for_swap=True) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        assert scratch.tables(no_progress) == tables
        owner.rows("SET lock_timeout = '2s'; INSERT INTO device (name) VALUES ('meanwhile')")
        assert support.dump_of(engine)[1]["device"].rows == 501
        scratch.swap(run="x", backup="y")
    assert owner.value("SELECT count(*) FROM device") == 500
    support.undo(engine, run="x")
    assert owner.value("SELECT count(*) FROM device") == 501


@pytest.mark.parametrize("step", ["set_aside", "keep_previous"])
def test_too_few_locks_are_named(
    owner: Database, monkeypatch: pytest.MonkeyPatch, step: str, lab_backup: Backup
) -> None:
    """The server needs one for each table of a transaction."""
    engine = support.engine_of(owner)
    dump, before = lab_backup

    def fail(cursor: Any, *_arguments: Any, **_named: Any) -> None:
        cursor.execute("DO $$ BEGIN RAISE 'out of shared memory' USING ERRCODE = '53200'; END $$")

    with monkeypatch.context() as patch:
        patch.setattr(public_schema, step, fail)
        with pytest.raises(
            OpsError, match=r"out of shared memory\.\nWith thousands of .* max_locks_per_transaction = 512;"
        ):
            support.restore(engine, dump)
    assert support.tables_of(engine) == before
    assert engine.swap_strategy().previous_database() is None
