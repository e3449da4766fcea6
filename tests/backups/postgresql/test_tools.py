"""Which client programs are found, and what other users can see of them."""

import io
import os
from pathlib import Path

import pytest

from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.databases.postgres import client_programs
from ops.databases.postgres.client_programs import ClientPrograms, connection_arguments, dump_command, find_programs
from ops.databases.postgres.connection import SESSION, ConnectionInfo
from ops.errors import OpsError, PreconditionFailed, ToolFailed
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.backups.postgresql.support import Backup, Database
from tests.support.postgres import children_of


@pytest.fixture
def bin_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory in which programs are searched."""
    monkeypatch.setattr(client_programs, "candidates", lambda: sorted(tmp_path.iterdir()))
    return tmp_path


def install(directory: Path, version: str) -> Path:
    support.write_program(directory, "pg_dump", f"echo 'pg_dump (PostgreSQL) {version}'")
    support.write_program(directory, "pg_restore", "exit 0")
    return directory


def test_find_programs_prefers_the_newest_of_the_servers_version(bin_directories: Path) -> None:
    for version in ("15.4", "15.18 (Debian 15.18-1)", "15.9", "17.2"):
        install(bin_directories / version.split()[0], version)
    assert find_programs(15) == ClientPrograms(directory=bin_directories / "15.18", version="15.18")


def test_find_programs_prefers_the_named_directory(bin_directories: Path) -> None:
    install(bin_directories / "newer", "15.18")
    named = install(bin_directories / "named", "15.2")
    assert find_programs(15, named).directory == named
    assert find_programs(15, install(bin_directories / "other", "17.2")).directory == bin_directories / "newer"


def test_find_programs_ignores_incomplete_directories_and_debians_wrapper(bin_directories: Path) -> None:
    (install(bin_directories / "half", "15.18") / "pg_restore").unlink()
    wrapper = install(bin_directories / "wrapper", "15.18") / "pg_dump"
    wrapper.rename(wrapper.with_name("pg_wrapper"))
    wrapper.symlink_to("pg_wrapper")
    with pytest.raises(PreconditionFailed):
        find_programs(15)


def test_find_programs_without_the_version_names_the_package(bin_directories: Path) -> None:
    install(bin_directories / "new", "17.2")
    with pytest.raises(PreconditionFailed) as refused:
        find_programs(15)
    assert str(refused.value) == (
        "The server runs PostgreSQL 15, and there is no pg_dump of that version on this machine"
        f" (found: 17.2 in {bin_directories}/new).\n"
        "Install it: apt-get install postgresql-client-15 (Debian), apk add postgresql15-client (Alpine),"
        " dnf install postgresql15 (Red Hat), brew install postgresql@15 (macOS); or name its directory in PG_BIN."
    )


def test_connection_arguments_have_no_password() -> None:
    address = ConnectionInfo(
        database="lab",
        host="db",
        port="5433",
        user="ada",
        password="s3cret",
        options={"sslmode": "require", "sslpassword": "s3cret", "pool": True},
    )
    arguments, environment = connection_arguments(address)
    limits = "connect_timeout=10 keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=30000"
    parameters = f"client_encoding=UTF8 {limits} sslmode=require options='{SESSION}' host=db port=5433"
    assert arguments == ["--no-password", f"--dbname={parameters} user=ada dbname=lab application_name=ops"]
    assert environment == {"LC_ALL": "C", "PGPASSWORD": "s3cret"}


def test_dump_command_has_the_arguments_of_pg_dump() -> None:
    found = ClientPrograms(directory=Path("/bin"), version="15.18")
    arguments, environment = dump_command(
        found, ConnectionInfo(database="lab"), custom=False, snapshot="1-1", lock_wait=5, without_schemas=["x"]
    )
    assert arguments[0] == "/bin/pg_dump"
    assert arguments[3:] == [
        "--format=plain",
        "--encoding=UTF8",
        "--no-owner",
        "--no-privileges",
        "--no-tablespaces",
        "--snapshot=1-1",
        "--lock-wait-timeout=5",
        "--exclude-schema=x",
    ]
    assert environment == {"LC_ALL": "C"}


def test_running_pg_dump_shows_no_password(
    lab: Database, engine: PostgresEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """In the arguments of any process while pg_dump runs, or in the log."""
    lab.rows("INSERT INTO device (name) SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
    with engine.snapshot(kind=Kind.SQL) as snapshot:
        pieces = snapshot.stream(no_progress)
        next(pieces)
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in children_of(os.getpid())]
        list(pieces)
    assert any("pg_dump" in line for line in lines)
    assert not [line for line in lines if lab.address.password in line]
    assert lab.address.password not in caplog.text + repr(engine.address)


def test_tool_error_does_not_contain_the_password(lab: Database, tmp_path: Path) -> None:
    programs = install(tmp_path / "bin", "15.18")
    version = support.server().value("SELECT current_setting('server_version')").split()[0]
    support.write_program(
        programs,
        "pg_dump",
        f'[ "$1" = --version ] && echo "pg_dump (PostgreSQL) {version}" && exit\n'
        'echo "one\ntwo\nthree\nfour\nfive: $PGPASSWORD" >&2; exit 3',
    )
    engine = support.engine_of(lab, tools_directory=programs)
    with engine.snapshot(kind=Kind.SQL) as snapshot, pytest.raises(ToolFailed) as failed:
        list(snapshot.stream(no_progress))
    assert failed.value.message == "pg_dump failed with exit code 3: two / three / four / five: ***."


def test_dump_of_a_newer_pg_dump_is_loaded(engine: PostgresEngine, lab_backup: Backup) -> None:
    """Since 17 pg_dump sets parameters that older servers do not have."""
    dump, before = lab_backup
    newer = dump.replace(b"SET lock_timeout = 0;", b"SET lock_timeout = 0;\nSET transaction_timeout = 0;")
    assert newer != dump
    assert support.restore_test(engine, newer)[1] == before


def test_snapshot_with_a_locked_table_waits_and_is_refused(lab: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example by a long migration."""
    monkeypatch.setattr("ops.backups.engines.postgresql.snapshot.LOCK_WAIT", 300)
    engine = support.engine_of(lab)
    with lab.connect() as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE rack")
        with engine.snapshot(kind=Kind.SQL) as snapshot:
            # Whichever of the two waits longer.
            with pytest.raises(OpsError, match=r"canceling statement due to statement timeout|has locked a table of "):
                list(snapshot.stream(no_progress))
            with pytest.raises(PreconditionFailed, match=r"^Another program has locked a table of "):
                snapshot.tables()
    connection.close()


def test_load_does_not_change_other_sessions(lab: Database, engine: PostgresEngine, lab_backup: Backup) -> None:
    """A dump empties the search path of its own session only."""
    dump, _ = lab_backup
    with engine.swap_strategy().scratch(for_swap=False) as scratch:
        scratch.load(io.BytesIO(dump), kind=Kind.SQL, on_progress=no_progress)
        with scratch.as_default() as wrapper, wrapper.cursor() as cursor:
            cursor.execute("SHOW search_path")
            assert cursor.fetchone() == ('"$user", public',)
