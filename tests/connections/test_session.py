"""Nothing of one user's session reaches the next."""

import threading
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import override_settings

from homerack.postgresql.base import DatabaseWrapper
from tests.support.backend import backend_id, make_wrapper, query


@pytest.fixture
def wrapper(url: str) -> Any:
    wrapper = make_wrapper(url, POOL={"SIZE": 1, "MAX_OVERFLOW": 0})
    yield wrapper
    wrapper.close()


def change_hands(wrapper: DatabaseWrapper) -> None:
    """Hand the connection back and get the same one again."""
    before = wrapper.connection
    wrapper.close()
    wrapper.ensure_connection()
    assert wrapper.connection is before


@pytest.mark.parametrize(
    ("leave", "look", "clean"),
    [
        ("SET statement_timeout = 1234", "SHOW statement_timeout", "0"),
        ("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", "UTC"),
        ("SET search_path = pg_catalog", "SHOW search_path", '"$user", public'),
        ("SET ROLE pg_monitor", "SELECT current_user::text", "homerack"),
        ("SET SESSION AUTHORIZATION pg_monitor", "SELECT session_user::text", "homerack"),
        ("SELECT set_config('app.user', 'alice', false)", "SELECT current_setting('app.user', true)", ""),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only", "off"),
        ("CREATE TEMP TABLE secrets AS SELECT 1", "SELECT to_regclass('secrets')::text", None),
        ("PREPARE theirs AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements", 0),
        ("LISTEN theirs", "SELECT count(*) FROM pg_listening_channels()", 0),
        (
            "SELECT pg_advisory_lock(42)",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            0,
        ),
        ("DECLARE theirs CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors WHERE name = 'theirs'", 0),
    ],
)
def test_reset_discards_server_state(wrapper: DatabaseWrapper, leave: str, look: str, clean: object) -> None:
    query(wrapper, leave)
    assert query(wrapper, look) != clean
    change_hands(wrapper)
    assert query(wrapper, look) == clean


def test_reset_restores_psycopg2_state(wrapper: DatabaseWrapper) -> None:
    wrapper.ensure_connection()
    raw = wrapper.connection
    raw.set_session(isolation_level="serializable", readonly=True, deferrable=True)
    raw.set_client_encoding("LATIN1")
    query(wrapper, "DO $$ BEGIN RAISE NOTICE 'for your eyes only'; END $$")
    query(wrapper, "LISTEN news")
    query(wrapper, "NOTIFY news, 'private'")
    assert raw.notices
    assert raw.notifies
    change_hands(wrapper)
    assert (raw.isolation_level, raw.readonly, raw.deferrable, raw.encoding) == (None, None, None, "UTF8")
    assert (raw.notices, raw.notifies, raw.autocommit) == ([], [], True)
    assert query(wrapper, "SELECT 'ü€'") == "ü€"


@pytest.mark.parametrize("begin", ["django", "statement"])
def test_an_open_transaction_is_rolled_back(wrapper: DatabaseWrapper, begin: str) -> None:
    query(wrapper, "CREATE TABLE IF NOT EXISTS left_open (id int)")
    if begin == "django":
        wrapper.set_autocommit(False)
    else:
        query(wrapper, "BEGIN")
    query(wrapper, "INSERT INTO left_open VALUES (1)")
    change_hands(wrapper)
    assert wrapper.get_autocommit()
    assert query(wrapper, "SELECT count(*) FROM left_open") == 0
    query(wrapper, "DROP TABLE left_open")


def test_a_broken_transaction_is_rolled_back(wrapper: DatabaseWrapper) -> None:
    wrapper.set_autocommit(False)
    with pytest.raises(DatabaseError, match="division by zero"):
        query(wrapper, "SELECT 1 / 0")
    with pytest.raises(DatabaseError, match="current transaction is aborted"):
        query(wrapper, "SELECT 1")
    change_hands(wrapper)
    assert query(wrapper, "SELECT 1") == 1


def test_statements_after_a_broken_atomic_block_work(wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(transaction.connections._connections.__dict__, wrapper.alias, wrapper)
    with pytest.raises(TransactionManagementError), transaction.atomic(using=wrapper.alias):
        with pytest.raises(DatabaseError, match="division by zero"):
            query(wrapper, "SELECT 1 / 0")
        wrapper.needs_rollback = True
        query(wrapper, "SELECT 1")
    assert query(wrapper, "SELECT 1") == 1


def test_close_in_atomic_block_closes_the_connection(wrapper: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django keeps the connection object until the block ends: no other thread may have it by then."""
    monkeypatch.setitem(transaction.connections._connections.__dict__, wrapper.alias, wrapper)
    with transaction.atomic(using=wrapper.alias):
        backend = backend_id(wrapper)
        raw = wrapper.connection
        wrapper.close()
        assert raw.closed
    assert backend_id(wrapper) != backend


def test_a_server_side_cursor_left_open_is_closed(wrapper: DatabaseWrapper) -> None:
    cursor = wrapper.chunked_cursor()
    cursor.execute("SELECT generate_series(1, 1000)")
    assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
    assert query(wrapper, "SELECT name FROM pg_cursors") == cursor.name
    change_hands(wrapper)
    assert query(wrapper, "SELECT count(*) FROM pg_cursors") == 0


@pytest.mark.parametrize("in_transaction", [False, True])
def test_server_side_cursor_reads_across_fetches(wrapper: DatabaseWrapper, in_transaction: bool) -> None:
    if in_transaction:
        wrapper.set_autocommit(False)
    with wrapper.chunked_cursor() as cursor:
        cursor.execute("SELECT generate_series(1, 5000)")
        assert sum(row[0] for row in cursor) == 12_502_500
    change_hands(wrapper)


def test_the_startup_options_survive_every_reset(url: str) -> None:
    options = {"options": "-c statement_timeout=4321", "isolation_level": 2}
    wrapper = make_wrapper(url, OPTIONS=options, TIME_ZONE="Europe/Berlin", POOL={"SIZE": 1, "MAX_OVERFLOW": 0})
    wrapper.ensure_connection()
    query(wrapper, "SET TIME ZONE 'UTC'")
    change_hands(wrapper)
    shown = [query(wrapper, f"SHOW {name}") for name in ("TimeZone", "statement_timeout", "transaction_isolation")]
    assert shown == ["Europe/Berlin", "4321ms", "repeatable read"]
    assert query(wrapper, "SHOW idle_in_transaction_session_timeout") == "10min"
    wrapper.close()


def test_a_changed_time_zone_reaches_new_connections(url: str) -> None:
    with override_settings(USE_TZ=False, TIME_ZONE="America/New_York"):
        wrapper = make_wrapper(url)
        assert query(wrapper, "SHOW TimeZone") == "America/New_York"
        wrapper.close()


def test_assumed_role_is_set_after_each_reset(url: str) -> None:
    wrapper = make_wrapper(url, OPTIONS={"assume_role": "pg_monitor"}, POOL={"SIZE": 1, "MAX_OVERFLOW": 0})
    wrapper.ensure_connection()
    change_hands(wrapper)
    assert query(wrapper, "SELECT current_user::text") == "pg_monitor"
    wrapper.close()


def test_alternating_users_of_one_connection_see_only_their_rows(url: str) -> None:
    model = make_wrapper(url, POOL={"SIZE": 1, "MAX_OVERFLOW": 0, "TIMEOUT": 20})
    seen: list[str] = []

    def user(name: str) -> None:
        mine = DatabaseWrapper(model.settings_dict, model.alias)
        for _ in range(20):
            seen.append(query(mine, "SELECT current_setting('app.user', true)") or "")
            query(mine, "SELECT set_config('app.user', %s, false)", name)
            mine.close()

    threads = [threading.Thread(target=user, args=(name,)) for name in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [""] * 40
