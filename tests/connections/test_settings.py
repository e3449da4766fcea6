"""The environment's variables reach `DATABASES`, or are refused by name."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from homerack.config import databases
from homerack.postgresql.base import DatabaseWrapper

VARIABLES = (
    "DB_POOL_SIZE",
    "DB_MAX_OVERFLOW",
    "DB_POOL_TIMEOUT",
    "DB_POOL_RECYCLE",
    "DB_POOL_PRE_PING",
    "DB_CONNECT_RETRY_MAX_ATTEMPTS",
    "DB_CONNECT_RETRY_DELAY",
    "DB_STATEMENT_TIMEOUT",
    "DB_ECHO",
)


def configure(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return databases.configure(base_dir=Path("/nowhere"))


def test_settings_have_documented_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    database = configure(monkeypatch, DATABASE_URL="postgresql+psycopg2://me:secret@db:5433/lab")
    assert database["ENGINE"] == "homerack.postgresql"
    assert (database["CONN_MAX_AGE"], database["CONN_HEALTH_CHECKS"], database["ECHO"]) == (3600, True, False)
    assert database["POOL"] == {"SIZE": 20, "MAX_OVERFLOW": 10, "TIMEOUT": 30}
    assert database["CONNECT_RETRY"] == {"ATTEMPTS": 5, "DELAY": 2}
    assert database["STATEMENT_TIMEOUT"] == 10
    assert "pool" not in database["OPTIONS"]


def test_each_variable_sets_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    database = configure(
        monkeypatch,
        DATABASE_URL="postgres://me:secret@db/lab?connect_timeout=9",
        DB_POOL_SIZE="7",
        DB_MAX_OVERFLOW="0",
        DB_POOL_TIMEOUT="1.5",
        DB_POOL_RECYCLE="60",
        DB_POOL_PRE_PING="off",
        DB_CONNECT_RETRY_MAX_ATTEMPTS="2",
        DB_CONNECT_RETRY_DELAY="0.5",
        DB_STATEMENT_TIMEOUT="2.5",
        DB_ECHO="yes",
    )
    assert (database["CONN_MAX_AGE"], database["CONN_HEALTH_CHECKS"], database["ECHO"]) == (60, False, True)
    assert database["POOL"] == {"SIZE": 7, "MAX_OVERFLOW": 0, "TIMEOUT": 1.5}
    assert database["CONNECT_RETRY"] == {"ATTEMPTS": 2, "DELAY": 0.5}
    assert database["STATEMENT_TIMEOUT"] == 2.5
    assert database["OPTIONS"]["connect_timeout"] == 9


def test_pool_is_created_with_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    database = configure(
        monkeypatch, DATABASE_URL="postgres://me@db/lab", DB_POOL_RECYCLE="60", DB_POOL_PRE_PING="off", DB_POOL_SIZE="7"
    )
    wrapper = DatabaseWrapper(
        database | {"TIME_ZONE": None, "HOST": "db", "PORT": "", "AUTOCOMMIT": True}, "settings-test"
    )
    assert wrapper.connection_pool is not None
    settings = wrapper.connection_pool.settings
    assert (settings.size, settings.max_overflow, settings.timeout) == (7, 10, 30)
    assert (settings.recycle, settings.pre_ping) == (60, False)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DB_POOL_SIZE", "many", "DB_POOL_SIZE is 'many', which is not a whole number. Example: DB_POOL_SIZE=20"),
        ("DB_MAX_OVERFLOW", "-1", "DB_MAX_OVERFLOW is -1; the minimum is 0. Example: DB_MAX_OVERFLOW=10"),
        ("DB_POOL_TIMEOUT", "-1", "DB_POOL_TIMEOUT is -1; it is a number of seconds, 0 or more."),
        ("DB_POOL_TIMEOUT", "inf", "DB_POOL_TIMEOUT is inf; it is a number of seconds, 0 or more."),
        ("DB_POOL_TIMEOUT", "nan", "DB_POOL_TIMEOUT is nan; it is a number of seconds, 0 or more."),
        ("DB_POOL_PRE_PING", "maybe", "DB_POOL_PRE_PING is 'maybe', which is neither true nor false."),
        ("DB_CONNECT_RETRY_MAX_ATTEMPTS", "0", "DB_CONNECT_RETRY_MAX_ATTEMPTS is 0; the minimum is 1."),
        ("DB_CONNECT_RETRY_DELAY", "soon", "DB_CONNECT_RETRY_DELAY is 'soon', which is not a number of seconds."),
        ("DB_STATEMENT_TIMEOUT", "-1", "DB_STATEMENT_TIMEOUT is -1; it is a number of seconds, 0 or more."),
        ("DB_ECHO", "2", "DB_ECHO is '2', which is neither true nor false."),
    ],
)
def test_invalid_value_is_refused_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        configure(monkeypatch, DATABASE_URL="postgres://me@db/lab", **{name: value})
    assert str(caught.value).startswith(message)


def test_sqlite_has_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    database = configure(monkeypatch, DATABASE_URL="sqlite:///./lab.db", DB_POOL_SIZE="7")
    assert database["ENGINE"] == "django.db.backends.sqlite3"
    assert "POOL" not in database
