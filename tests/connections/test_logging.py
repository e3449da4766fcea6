"""The life of connections at DEBUG; statements with ``DB_ECHO``."""

import logging
import re

import pytest
from django.db import DatabaseError

from homerack.postgresql import query_logging
from tests.support.backend import backend_id, make_wrapper, query


@pytest.fixture(autouse=True)
def _catch_all(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.DEBUG, logger="homerack")


def test_pool_events_are_logged_at_debug(url: str, caplog: pytest.LogCaptureFixture) -> None:
    wrapper = make_wrapper(url)
    backend = backend_id(wrapper)
    wrapper.close()
    wrapper.ensure_connection()
    wrapper.connection.close()
    wrapper.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "homerack.postgresql.pool_logging"]
    happenings = [re.sub(r"\d+\.\d{3} s", "… s", line) for line in lines]
    start = f"pool {wrapper.alias}: connection {backend}"
    assert happenings == [
        f"{start} connected, … s old",
        f"{start} checked out, … s old",
        f"{start} checked in, … s old",
        f"{start} checked out, … s old",
        f"{start} invalidated, … s old (InterfaceError)",
        f"{start} closed, … s old",
        f"{start} checked in, … s old",
    ]


def test_echo_shows_statement_and_time_but_no_values(url: str, caplog: pytest.LogCaptureFixture) -> None:
    wrapper = make_wrapper(url, ECHO=True)
    query(wrapper, "SELECT %s, %s, %s, 'it''s literal'", "secret", 4711, None)
    with wrapper.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE noted (word text)")
        cursor.executemany("INSERT INTO noted VALUES (%s)", [("secret",), ("another",)])
        cursor.execute("SELECT %(word)s", {"word": "secret"})
    with pytest.raises(DatabaseError):
        query(wrapper, "SELECT 1 / 0")
    wrapper.close()
    lines = [
        re.sub(r"^\d+\.\d{3} ms", "… ms", r.getMessage()) for r in caplog.records if r.name == query_logging.__name__
    ]
    assert lines == [
        "… ms SELECT %s, %s, %s, '…''…'; [str 6, int, NULL]",
        "… ms CREATE TEMP TABLE noted (word text); []",
        "… ms INSERT INTO noted VALUES (%s); 2 sets",
        "… ms SELECT %(word)s; {word: str 6}",
        "… ms DataError SELECT 1 / 0; []",
    ]
    assert "secret" not in caplog.text
    assert "4711" not in caplog.text


def test_without_echo_there_are_no_statements(url: str, caplog: pytest.LogCaptureFixture) -> None:
    wrapper = make_wrapper(url)
    query(wrapper, "SELECT 1")
    wrapper.close()
    assert [record for record in caplog.records if record.name == query_logging.__name__] == []


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("SELECT 1", "SELECT 1"),
        ("ALTER ROLE a PASSWORD 'hidden' VALID", "ALTER ROLE a PASSWORD '…' VALID"),
        (r"SELECT E'a\'hidden' , 'b'", "SELECT E…"),
        ("DO $$ hidden $$", "DO …"),
        ("SELECT 'unfinished hidden", "SELECT …"),
    ],
)
def test_query_log_omits_literals(sql: str, shown: str) -> None:
    assert query_logging.without_literals(sql) == shown
