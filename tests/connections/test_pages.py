"""What a user sees while the database fails: each fault, at each moment of a request, on each kind of page."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from homerack.serve.services import accepts_connections
from tests.celery.support import running, wait_for
from tests.connections.conftest import END_SESSIONS
from tests.support.backend import eventually
from tests.support.postgres import PASSWORD, PostgresServer, children_of, free_port
from tests.support.proxy import Proxy
from tests.support.web import WebServer, send_request

LIMIT = 1.0
"""Seconds that a statement may take in these tests."""
SLACK = 3.0
"""Seconds that a busy machine may take in addition."""
RETRY, UNKNOWN = "Retry-After", "It is not known whether this was saved."
LOST, SILENT = "The connection to the database was lost", "did not answer in time"
PERHAPS = "Your changes may not have been saved."


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    server = PostgresServer.start()
    with contextlib.closing(psycopg2.connect(server.url("postgres"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CREATE TABLE paused (number int)")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxy(own_server: PostgresServer) -> Iterator[Proxy]:
    proxy = Proxy(own_server.port)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="module")
def site(own_server: PostgresServer, proxy: Proxy) -> Iterator[WebServer]:
    site = start(f"postgresql://homerack:{PASSWORD}@127.0.0.1:{proxy.port}/postgres")
    yield site
    site.stop()


def start(url: str, **environment: str) -> WebServer:
    return WebServer.start(
        application="tests.support.paused",
        DATABASE_URL=url,
        DB_STATEMENT_TIMEOUT=str(LIMIT),
        DEBUG="false",
        HTTPS="false",
        SECRET_KEY="x" * 50,
        **environment,
    )


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    text: str
    retry_after: str
    seconds: float


def ask(site: WebServer, path: str) -> Answer:
    """The answer to a GET, or to a POST where the page writes."""
    began = time.monotonic()
    method = "POST" if "/write" in path else "GET"
    status, headers, text = send_request(site.port, method, path, headers={})
    return Answer(status=status, text=text, retry_after=headers.get(RETRY, ""), seconds=time.monotonic() - began)


@dataclass(kw_only=True)
class Scene:
    """The site, its database, and a page that waits at a moment."""

    site: WebServer
    server: PostgresServer
    proxy: Proxy
    folder: Path

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        with contextlib.closing(psycopg2.connect(self.server.url("postgres"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def rows(self) -> int:
        return len(self.sql("SELECT number FROM paused"))

    def interrupted(self, page: str, moment: str, fault: Callable[["Scene"], None]) -> Answer:
        """The answer of a page during which `fault` happens at `moment`; its seconds count from there."""
        with ThreadPoolExecutor(1) as executor:
            asked: Future[Answer] = executor.submit(ask, self.site, f"/test/{page}/?at={moment}&in={self.folder}")
            eventually((self.folder / "reached").exists)
            fault(self)
            began = time.monotonic()
            (self.folder / "go").touch()
            answer = asked.result()
        return Answer(**{**vars(answer), "seconds": time.monotonic() - began})

    def recover(self) -> None:
        self.recover_server()
        self.sql("ALTER SYSTEM RESET ALL")
        self.sql("SELECT pg_reload_conf()")
        self.sql(END_SESSIONS)
        self.sql("TRUNCATE paused")

    def recover_server(self) -> None:
        self.proxy.thaw()
        self.proxy.at_commit = ""
        process = self.server.process
        if process and process.poll() is None:
            self.server.thaw()
        else:
            self.server.launch()


@pytest.fixture
def scene(site: WebServer, own_server: PostgresServer, proxy: Proxy, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(site=site, server=own_server, proxy=proxy, folder=tmp_path)
    eventually(lambda: ask(site, "/test/read/").status == 200)
    yield scene
    scene.recover()


# --- Faults ---------------------------------------------------------------------------------------------------------
def end_sessions(scene: Scene) -> None:
    scene.sql(END_SESSIONS)


def restart(scene: Scene) -> None:
    scene.server.restart()


def kill(scene: Scene) -> None:
    """The server ends at once and stays away."""
    assert scene.server.process
    children = children_of(scene.server.process.pid)
    scene.server.process.kill()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    scene.server.process.wait()


def freeze(scene: Scene) -> None:
    scene.server.freeze()


def freeze_sessions(scene: Scene) -> None:
    """Only the processes of the sessions; the server accepts new ones."""
    for (pid,) in scene.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'homerack'"):
        os.kill(int(str(pid)), signal.SIGSTOP)


def cut_cable(scene: Scene) -> None:
    scene.proxy.freeze()


def refuse_writes(scene: Scene) -> None:
    scene.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    scene.sql("SELECT pg_reload_conf()")
    eventually(lambda: scene.sql("SHOW default_transaction_read_only") == [("on",)])


FAULTS = {fault.__name__: fault for fault in (end_sessions, restart, kill, freeze, freeze_sessions, cut_cable)}
NOT_REACHED = "The database does not answer"
EXPECTED: dict[tuple[str, str], str] = {
    **{(moment, fault): "" for moment in ("before",) for fault in ("end_sessions", "restart")},
    **{("before", fault): NOT_REACHED for fault in ("kill", "freeze", "freeze_sessions", "cut_cable")},
    **{("between", fault): LOST for fault in ("end_sessions", "restart", "kill")},
    **{("between", fault): SILENT for fault in ("freeze", "freeze_sessions", "cut_cable")},
    **{("commit", fault): UNKNOWN for fault in FAULTS},
}
"""The text of the page; '' where the page is as usual."""
KINDS = {"read": ("before", "between"), "write": ("early", "between", "commit"), "write-each": ("before", "between")}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("page", "moment"),
    [
        pytest.param(page, moment, marks=[] if page == "write" and moment != "early" else pytest.mark.slow)
        for page, moments in KINDS.items()
        for moment in moments
    ],
)
def test_page_answers_in_time_and_says_why(scene: Scene, page: str, moment: str, fault: str) -> None:
    answer = scene.interrupted(page, moment, FAULTS[fault])
    expected = EXPECTED["before" if moment == "early" else moment, fault]
    assert answer.seconds < LIMIT + SLACK, answer
    if not expected:
        assert answer.status == 200, answer.text
        return
    assert answer.status == 503, answer.text
    assert answer.retry_after == "10"
    assert expected in answer.text
    if page == "read":
        assert "Nothing was changed." in answer.text
    elif moment != "commit":
        assert PERHAPS in answer.text
    scene.recover_server()
    if page != "write-each":
        # The server may find the COMMIT in its socket when it goes on.
        assert scene.rows() in ({0, 2} if moment == "commit" else {0})
    scene.recover()
    assert ask(scene.site, "/test/read/").status == 200


@pytest.mark.parametrize("fault", ["cut", "hold"])
def test_lost_answer_to_a_commit_is_not_called_a_failure(scene: Scene, fault: str) -> None:
    scene.proxy.at_commit = fault
    answer = ask(scene.site, "/test/write/")
    assert (answer.status, answer.retry_after) == (503, "10")
    assert answer.seconds < LIMIT + SLACK
    assert UNKNOWN in answer.text
    assert "Check before you send the form again." in answer.text
    assert scene.rows() == 2


def test_server_that_only_reads_saved_nothing(scene: Scene) -> None:
    refuse_writes(scene)
    for page in ("write", "write-each"):
        answer = ask(scene.site, f"/test/{page}/")
        assert (answer.status, answer.retry_after) == (503, "10")
        assert "The database cannot be changed now" in answer.text
        assert "Nothing was saved." in answer.text
    assert ask(scene.site, "/test/read/").status == 200
    assert scene.rows() == 0


def test_statement_that_takes_too_long_is_cancelled(scene: Scene) -> None:
    answer = ask(scene.site, "/test/sleep/30/")
    assert (answer.status, answer.seconds < LIMIT + SLACK) == (503, True)
    assert "The database took too long" in answer.text
    active = "SELECT pid FROM pg_stat_activity WHERE application_name = 'homerack' AND state = 'active'"
    eventually(lambda: not scene.sql(active))


def test_long_request_of_short_statements_is_not_cut(scene: Scene) -> None:
    answer = ask(scene.site, "/test/repeat/4/")
    assert (answer.status, answer.seconds > 3 * LIMIT) == (200, True)


def test_crowd_at_a_frozen_server_gets_answers_and_health_stays_fast(scene: Scene) -> None:
    """40 requests for 8 threads, and probes all along."""
    with ThreadPoolExecutor(48) as executor:
        list(executor.map(lambda _: ask(scene.site, "/test/sleep/0.1/"), range(16)))  # idle sessions
        freeze(scene)
        began = time.monotonic()
        asked = [executor.submit(ask, scene.site, "/test/read/") for _ in range(40)]
        probes = []
        while not all(each.done() for each in asked):
            probes += [scene.site.get(path) for path in ("/health/", "/health/live/", "/health/ready/")]
        assert {each.result().status for each in asked} == {503}
        assert all("The database does not answer" in each.result().text for each in asked)
    assert max(probe.seconds for probe in probes) < 2 + 1
    assert {probe.status for probe in probes if "checks" in probe.text} == {503}
    # Five rounds of the threads, each with a connection attempt.
    assert time.monotonic() - began < 5 * LIMIT + 2 * SLACK
    scene.recover()
    eventually(lambda: ask(scene.site, "/test/read/").status == 200)


def test_development_server_answers_in_time_and_says_why(own_server: PostgresServer, tmp_path: Path) -> None:
    """It looks for migrations before it serves pages: no session of that time, without a limit, is left."""
    with contextlib.closing(psycopg2.connect(own_server.url("postgres"))) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("CREATE TABLE django_session (session_key text, session_data text, expire_date timestamptz)")
    port, cookie = free_port(), {"Cookie": "sessionid=no-such-session"}
    command = ("manage.py", "runserver", "--noreload", str(port))
    settings = {"DATABASE_URL": own_server.url("postgres"), "DB_STATEMENT_TIMEOUT": str(LIMIT), "DEBUG": "true"}
    with running(tmp_path, "development", *command, **settings) as site:
        wait_for(lambda: accepts_connections("127.0.0.1", port), site)
        own_server.freeze()
        try:
            began = time.monotonic()
            status, headers, text = send_request(port, "GET", "/admin/login/", headers=cookie)
            assert (status, headers[RETRY], time.monotonic() - began < LIMIT + SLACK) == (503, "10", True)
            assert NOT_REACHED in text
        finally:
            own_server.thaw()
        assert send_request(port, "GET", "/admin/login/", headers=cookie)[0] == 200


def test_sqlite_file_that_a_frozen_process_locks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lab.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE paused (number int)")
    locking = (
        f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('BEGIN IMMEDIATE'); print(flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", locking], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdin
    holder.stdout.readline()
    holder.send_signal(signal.SIGSTOP)
    site = start(f"sqlite:///{path}?timeout=1")
    try:
        for page in ("write", "write-each"):
            answer = ask(site, f"/test/{page}/")
            assert (answer.status, answer.retry_after) == (503, "10")
            assert answer.seconds > 1
            assert "<h1>The database is locked</h1>" in answer.text
            assert PERHAPS in answer.text
        assert ask(site, "/test/read/").status == 200
        holder.kill()
        holder.wait()
        assert ask(site, "/test/write/").status == 200
    finally:
        holder.kill()
        site.stop()
        holder.stdin.close()
        holder.stdout.close()
