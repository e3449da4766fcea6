"""What is tried again, how often, how long, and what is not."""

import logging
import socket
import threading
import time

import psycopg2
import pytest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse

from homerack.postgresql import retry, retry_budget
from homerack.postgresql.middleware import retry_budget_middleware
from tests.support.backend import make_wrapper, query
from tests.support.postgres import PostgresServer, free_port


def refused(url: str) -> str:
    return f"{url.rpartition(':')[0]}:{free_port()}/postgres"


def pauses(caplog: pytest.LogCaptureFixture) -> list[float]:
    return [record.args[2] for record in caplog.records if record.name == retry.__name__ and record.args]  # type: ignore[misc]


def test_refused_connection_is_retried_with_growing_delays(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda _, most: most)  # the longest that chance may choose
    wrapper = make_wrapper(refused(url), CONNECT_RETRY={"ATTEMPTS": 5, "DELAY": 0.05})
    start = time.monotonic()
    with pytest.raises(OperationalError, match="Connection refused"):
        wrapper.ensure_connection()
    assert pauses(caplog) == [0.05, 0.1, 0.2, 0.4]
    assert 0.75 <= time.monotonic() - start < 3
    assert next(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING) == (
        "PostgreSQL cannot be reached (connection refused): attempt 1 failed, next attempt in 0.05 s"
    )


def test_retry_delays_are_random_and_capped() -> None:
    def fail(_params: object) -> None:
        raise psycopg2.OperationalError("Connection refused")

    seen: list[list[float]] = []

    class Record(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen[-1].append(record.args[2])  # type: ignore[index, arg-type]

    handler = Record()
    retry.logger.addHandler(handler)
    try:
        for _ in range(20):
            seen.append([])
            with pytest.raises(psycopg2.OperationalError):
                retry.connect_with_retry(
                    fail, {}, policy=retry.RetryPolicy(attempts=4, delay=0.001), budget=retry_budget.AS_CONFIGURED
                )
    finally:
        retry.logger.removeHandler(handler)
    assert all(pause <= 0.001 * 2**number for pauses in seen for number, pause in enumerate(pauses))
    assert len({pauses[2] for pauses in seen}) > 10


@pytest.mark.parametrize("pool", [{"SIZE": 2}, {"SIZE": 0}], ids=["pool", "no pool"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PASSWORD": "wrong"}, "password authentication failed"),
        ({"USER": "nobody-known"}, "password authentication failed"),
        ({"NAME": "missing"}, 'database "missing" does not exist'),
    ],
)
def test_permanent_error_is_not_retried(
    url: str, caplog: pytest.LogCaptureFixture, pool: dict[str, int], change: dict[str, str], message: str
) -> None:
    wrapper = make_wrapper(url, CONNECT_RETRY={"ATTEMPTS": 5, "DELAY": 5}, POOL=pool, **change)
    start = time.monotonic()
    with pytest.raises(OperationalError, match=message):
        wrapper.ensure_connection()
    assert time.monotonic() - start < 2
    assert pauses(caplog) == []


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('connection to server at "h", port 1 failed: Connection refused', "connection refused"),
        ('could not translate host name "h" to address: Name or service not known', "host name not resolved"),
        ("FATAL:  57P03: the database system is starting up", "server starting up, shutting down or recovering"),
        ("FATAL:  57P01: terminating connection due to administrator command", "server shutting down"),
        ("FATAL:  55000: database »d« akzeptiert gerade keine Verbindungen", "database closed for a moment"),
        (
            "FATAL:  3D000: database »d« existiert nicht\nDETAIL:  Sie wurde gerade umbenannt.\nLOCATION:  x.c",
            "database being replaced",
        ),
        ("致命的:  53300: 接続数が多すぎます", "no free connection"),
        ('connection to server at "h" failed: timeout expired', "timed out"),
        ("", "server answers again"),
        ('FATAL:  3D000: database "d" does not exist\nLOCATION:  x.c', ""),
        ('FATAL:  28P01: password authentication failed for user "u"', ""),
        ('connection to server at "h", port 1 failed: FATAL:  28000: no pg_hba.conf entry for host "h"', ""),
        ("connection to server at a failed: fe_sendauth: no password supplied", ""),
        ("a failed: Connection refused\nb failed: FATAL:  28P01: password authentication failed", ""),
        ("a failed: session is read-only\nb failed: session is read-only", "no server is writable yet"),
        ("a failed: Connection refused\nb failed: server is in hot standby mode", "no server is writable yet"),
        (
            "a failed: session is read-only\nb failed: FATAL:  57P03: starting up",
            "server starting up, shutting down or recovering",
        ),
        ("a failed: session is read-only\nb failed: FATAL:  28P01: password authentication failed", ""),
        ("a failed: FATAL:  57P03: starting up\nb failed: FATAL:  28P01: password authentication failed", ""),
        ("a failed: Connection refused\nb failed: FATAL:  53300: sorry, too many clients", "no free connection"),
    ],
)
def test_transient_reason_of_known_errors(monkeypatch: pytest.MonkeyPatch, text: str, cause: str) -> None:
    """`text` is what libpq says about the attempt with SQLSTATEs."""
    monkeypatch.setattr(retry, "with_sqlstates", lambda _text, _params: text)
    assert retry.transient_reason(psycopg2.OperationalError("refused"), {}) == cause


def test_only_connection_errors_are_transient() -> None:
    assert retry.transient_reason(psycopg2.ProgrammingError("Connection refused"), {}) == ""


def test_starting_or_stopping_server_is_retried(server: PostgresServer) -> None:
    """The SQLSTATEs above are those that this server really sends."""
    params = {"dsn": server.url("postgres"), "connect_timeout": 5}
    seen: set[str] = set()
    stop = threading.Event()

    def knock() -> None:
        while not stop.is_set():
            try:
                psycopg2.connect(**params).close()
            except psycopg2.OperationalError as error:
                seen.add(retry.transient_reason(error, params) or f"unknown: {error}")

    thread = threading.Thread(target=knock)
    thread.start()
    for _ in range(2):
        server.restart()
    stop.set()
    thread.join()
    assert "connection refused" in seen
    assert not [cause for cause in seen if cause.startswith("unknown")]


def test_request_retries_for_five_seconds_whatever_the_number_of_attempts(url: str) -> None:
    wrapper = make_wrapper(refused(url), CONNECT_RETRY={"ATTEMPTS": 1, "DELAY": 2})

    def view(_request: HttpRequest) -> HttpResponse:
        wrapper.ensure_connection()
        return HttpResponse()

    start = time.monotonic()
    with pytest.raises(OperationalError, match="Connection refused"):
        retry_budget_middleware(view)(HttpRequest())  # type: ignore[operator]
    assert 3.5 < time.monotonic() - start < 6
    assert retry_budget.current() is retry_budget.AS_CONFIGURED


def test_health_check_connects_once(url: str, caplog: pytest.LogCaptureFixture) -> None:
    wrapper = make_wrapper(refused(url), CONNECT_RETRY={"ATTEMPTS": 50, "DELAY": 2})
    with pytest.raises(OperationalError), wrapper.retry_budget(connect_timeout=0):
        wrapper.ensure_connection()
    assert pauses(caplog) == []


def test_ignore_attempt_limit_retries_beyond_the_configured_attempts(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrapper = make_wrapper(refused(url), CONNECT_RETRY={"ATTEMPTS": 1, "DELAY": 0.02})
    start = time.monotonic()
    with pytest.raises(OperationalError), wrapper.retry_budget(connect_timeout=1, ignore_attempt_limit=True):
        wrapper.ensure_connection()
    assert len(pauses(caplog)) > 2
    assert time.monotonic() - start < 3


def test_exhausted_pool_is_waited_for_within_the_budget(url: str) -> None:
    wrapper = make_wrapper(url, POOL={"SIZE": 1, "MAX_OVERFLOW": 0, "TIMEOUT": 30})
    other = type(wrapper)(wrapper.settings_dict, wrapper.alias)
    wrapper.ensure_connection()
    start = time.monotonic()
    with (
        pytest.raises(OperationalError, match=r"became free within 0\.2 s"),
        other.retry_budget(connect_timeout=0, pool_timeout=0.2),
    ):
        other.ensure_connection()
    assert time.monotonic() - start < 2
    wrapper.close()


def test_connect_to_silent_port_times_out(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        wrapper = make_wrapper(
            f"{url.rpartition(':')[0]}:{port}/postgres", OPTIONS={"connect_timeout": 2}, CONNECT_RETRY={"ATTEMPTS": 1}
        )
        start = time.monotonic()
        with pytest.raises(OperationalError, match="timeout expired"):
            query(wrapper, "SELECT 1")
        assert 1.5 < time.monotonic() - start < 5


def test_no_password_reaches_the_log(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    wrapper = make_wrapper(
        refused(url), CONNECT_RETRY={"ATTEMPTS": 2, "DELAY": 0.01}, PASSWORD="very-secret", ECHO=True
    )
    with pytest.raises(OperationalError) as caught:
        wrapper.ensure_connection()
    assert "very-secret" not in caplog.text
    assert "very-secret" not in str(caught.value)
    assert "127.0.0.1" not in caplog.text
