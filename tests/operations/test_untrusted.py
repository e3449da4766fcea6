"""A hostile file is uploaded, tested and restored, on every kind of database: only rows of known tables are loaded."""

import contextlib
import gzip
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine_migration.support import database_named
from tests.operations.harness import Lab

EVIL = r"""
SET client_encoding = 'UTF8';
CREATE FUNCTION public.take_over() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  UPDATE accounts_user SET is_superuser = true; RETURN NEW; END $$;
CREATE TRIGGER take_over AFTER INSERT ON public.django_session EXECUTE FUNCTION public.take_over();
CREATE TABLE public.copy_of_users AS SELECT * FROM accounts_user;
CREATE UNLOGGED TABLE public.unlogged (a int);
ALTER TABLE public.racks FORCE ROW LEVEL SECURITY;
ALTER TABLE public.devices ADD CONSTRAINT cascades FOREIGN KEY (id) REFERENCES public.racks ON DELETE CASCADE;
CREATE INDEX runs_a_program ON public.racks (public.take_over());
COMMENT ON DATABASE "{live}" IS 'made by ops; may be dropped';
COMMENT ON DATABASE "{live}" IS 'made by ops; may be dropped; beside {live}';
ALTER DATABASE "{live}" CONNECTION LIMIT 1700001;
DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {mark}'''; END $$;
COPY public.unknown_table (a) FROM stdin;
1
2
\.
COPY public.django_session (session_key, session_data, expire_date) FROM stdin;
stolen	data	2100-01-01 00:00:00+00
\.
COPY public.django_celery_beat_periodictask (id, name, task) FROM stdin;
1000	evil	os.system
\.
"""


def users(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.rows("SELECT email, is_superuser, is_active FROM accounts_user ORDER BY email")


def rights(lab: Lab) -> list[tuple[Any, ...]]:
    """Which group has which permission, by name."""
    return lab.rows(
        "SELECT g.name, c.app_label, c.model, p.codename FROM auth_group_permissions gp JOIN auth_group g ON g.id ="
        " gp.group_id JOIN auth_permission p ON p.id = gp.permission_id JOIN django_content_type c ON c.id ="
        " p.content_type_id ORDER BY 1, 2, 3, 4"
    )


def schedules(lab: Lab) -> list[tuple[Any, ...]]:
    return lab.rows("SELECT name, task FROM django_celery_beat_periodictask ORDER BY 1")


def hostile_dump(lab: Lab, mark: Path) -> Path:
    """The lab as a plain dump, with what an attacker would add to it."""
    file = lab.folder / "hostile.sql"
    program = Path(os.environ["PG_BIN"]) / "pg_dump"
    subprocess.run([str(program), "--file", str(file), lab.url], check=True)
    head, sep, tail = file.read_text().partition("\n--\n-- Data for Name")
    file.write_text(head + EVIL.format(mark=mark, live=lab.name) + sep + tail)
    return file


def hostile_custom_dump(lab: Lab) -> Path:
    """A database with functions, triggers and tables of an attacker, in the custom format."""
    lab.rows("CREATE TABLE public.unknown_table AS SELECT n AS a FROM generate_series(1, 2) AS n")
    lab.rows("CREATE FUNCTION take_over() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    lab.rows("CREATE TRIGGER take_over AFTER INSERT ON django_session EXECUTE FUNCTION take_over()")
    lab.rows("INSERT INTO django_session VALUES ('stolen', 'data', '2100-01-01')")
    file = lab.folder / "hostile.dump"
    program = Path(os.environ["PG_BIN"]) / "pg_dump"
    subprocess.run([str(program), "--format=custom", "--file", str(file), lab.url], check=True)
    lab.rows("DROP TRIGGER take_over ON django_session; DROP FUNCTION take_over; DROP TABLE unknown_table")
    return file


def hostile_sqlite(lab: Lab) -> Path:
    """The lab with triggers, views, a cascading key, a virtual table with a forged root page and a false index."""
    file = lab.folder / "hostile.sqlite3"
    shutil.copy(lab.file, file)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.executescript(
            """
            CREATE TABLE unknown_table (a); INSERT INTO unknown_table VALUES (1), (2);
            CREATE TRIGGER take_over AFTER INSERT ON django_session
              BEGIN UPDATE accounts_user SET is_superuser = 1; END;
            CREATE VIEW evil AS SELECT load_extension('x');
            CREATE INDEX devices_evil ON devices (id) WHERE id > 1000;
            INSERT INTO django_session VALUES ('stolen', 'data', '2100-01-01');
            UPDATE django_celery_beat_periodictask SET task = 'os.system';
            PRAGMA writable_schema = ON;
            INSERT INTO sqlite_master
              VALUES ('table', 'forged', 'forged', 2, 'CREATE VIRTUAL TABLE forged USING fts5(a)');
            UPDATE sqlite_master SET sql = replace(sql, 'DEFERRABLE INITIALLY DEFERRED', 'ON DELETE CASCADE')
              WHERE name = 'devices';
            """
        )
    return file


@pytest.mark.parametrize("kind", ["postgresql", pytest.param("schema", marks=pytest.mark.slow), "sqlite"])
def test_restore_of_a_hostile_file_loads_only_rows_of_known_tables(
    make_lab: Callable[[str], Lab], tmp_path: Path, kind: str
) -> None:
    lab, mark = make_lab(kind), tmp_path / "mark"
    before, groups, tasks, people = lab.project_content(), rights(lab), schedules(lab), users(lab)
    file = hostile_sqlite(lab) if kind == "sqlite" else hostile_dump(lab, mark)
    lab.rows("DELETE FROM connections")
    done = lab.run("restore_database", "--backup-file", str(file), "--untrusted", "--yes")
    assert "2 rows of unknown_table were not copied: it is not a table of this project." in done.out
    assert " of django_session was not copied: rows of this table are never copied from an untrusted file." in done.out
    assert lab.project_content() == before
    assert (rights(lab), schedules(lab), users(lab)) == (groups, tasks, people)
    assert lab.value("SELECT count(*) FROM django_session") == 0
    assert not mark.exists()
    # A row that arrived numbers the next one.
    lab.rows("INSERT INTO brands (name, slug) VALUES ('Another', 'another')")
    assert foreign_objects(lab) == []
    if kind != "sqlite":
        assert lab.value(f"SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database"
                         f" WHERE datname = '{lab.name}'") == ""  # fmt: skip


def foreign_objects(lab: Lab) -> list[str]:
    """Whatever in the live database no migration has made."""
    if lab.kind == "sqlite":
        query = (
            "SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view') OR name IN ('forged', 'unknown_table')"
        )
    else:
        query = (
            "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace UNION ALL"
            " SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT relname FROM pg_class WHERE"
            " relname IN ('unknown_table', 'unlogged', 'copy_of_users', 'runs_a_program')"
            " AND relnamespace = 'public'::regnamespace"
        )
    return [name for (name,) in lab.rows(query)]


def test_hostile_dump_of_the_custom_format_loads_only_rows(postgres_lab: Lab) -> None:
    lab = postgres_lab
    before = lab.project_content()
    file = hostile_custom_dump(lab)
    lab.rows("DELETE FROM connections")
    done = lab.run("restore_database", "--backup-file", str(file), "--untrusted", "--yes")
    assert "2 rows of unknown_table were not copied: it is not a table of this project." in done.out
    assert lab.project_content() == before
    assert foreign_objects(lab) == []


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_decompression_bomb_is_refused(make_lab: Callable[[str], Lab], kind: str) -> None:
    lab = make_lab(kind)
    before = lab.content()
    file = lab.folder / "bomb.gz"
    head = b"SQLite format 3\0" if kind == "sqlite" else b"-- PostgreSQL database dump\n\nSELECT '"
    file.write_bytes(gzip.compress(head + bytes(100_000_000)))
    refusal = lab.manage("restore_database", "--backup-file", str(file), "--untrusted", "--yes")
    assert refusal.code == 3
    assert "decompresses to more than 34 MB, far more than its size suggests. Nothing was changed." in refusal.error
    assert lab.content() == before


def test_untrusted_restore_by_a_database_superuser_is_refused(postgres_lab: Lab) -> None:
    lab = postgres_lab
    file = lab.folder / "any.sql"
    file.write_text("-- PostgreSQL database dump complete\n")
    url = database_named(lab.name).url
    refusal = lab.manage("restore_database", "--backup-file", str(file), "--untrusted", "--yes", DATABASE_URL=url)
    assert refusal.code == 1
    assert "The role of the database is a superuser" in refusal.error
