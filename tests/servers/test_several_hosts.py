"""Several hosts in one URL: connections go to the server that takes writes, and those of one run to one server."""

import contextlib
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from django.db import OperationalError

from homerack.postgresql.client import DatabaseClient
from ops.backups.engines.postgresql import undo_comment
from ops.backups.engines.postgresql.engine import PostgresEngine
from ops.backups.manifest import Kind
from ops.databases.override import override_database
from ops.databases.postgres import databases
from ops.databases.postgres.client_programs import connection_arguments, find_programs
from ops.databases.postgres.connection import ConnectionInfo, OtherServer, parse_url
from ops.databases.postgres.refusal import NONE_WRITABLE, Refused
from ops.engine_migration.to_postgres.target import inspect_target
from ops.errors import OpsError
from ops.health.database import explain_no_session
from ops.utils.progress import no_progress
from tests.backups.postgresql import support
from tests.engine_migration.support import Database, new_name
from tests.servers.support import at
from tests.support.backend import database_settings, make_wrapper, query
from tests.support.postgres import PostgresServer, free_port
from tests.support.slow import slow_except

OTHER = ("listen_addresses = '127.0.0.1,::1'", "wal_level = replica", "max_wal_senders = 2")
SECRET = "p,a@s:s/w?o#r%d"


@pytest.fixture(scope="module")
def primary() -> Iterator[PostgresServer]:
    server = PostgresServer.start(*OTHER, auth="md5")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def second(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Another server that has a database of the same name, as a standby has."""
    server = PostgresServer.start(*OTHER, auth="md5")
    yield server
    server.stop()


@dataclass
class Lab:
    """A database of the same name on two servers, whose role and password are the same."""

    name: str
    primary: PostgresServer
    second: PostgresServer
    dead: int = field(default_factory=free_port)

    def on(self, server: PostgresServer) -> Database:
        return at(server, self.name, user=self.name, password=quote(SECRET, safe=""))

    def url(self, hosts: str) -> str:
        names = {"dead": self.dead, "primary": self.primary.port, "second": self.second.port}
        roots = {
            "at_primary": quote(str(self.primary.root), safe=""),
            "at_second": quote(str(self.second.root), safe=""),
        }
        return f"postgres://{self.name}:{quote(SECRET, safe='')}@{hosts.format(**names, **roots, name=self.name)}"

    def address(self, hosts: str) -> ConnectionInfo:
        return parse_url(self.url(hosts))


@pytest.fixture
def lab(primary: PostgresServer, second: PostgresServer) -> Iterator[Lab]:
    made = Lab(name=new_name(), primary=primary, second=second)
    for server in (primary, second):
        admin = at(server, "postgres")
        admin.rows(f"CREATE ROLE {made.name} LOGIN CREATEDB PASSWORD %s", [SECRET])
        admin.rows(f"CREATE DATABASE {made.name} OWNER {made.name} TEMPLATE template0")
        made.on(server).rows(support.LAB)
    yield made
    for server in (primary, second):
        admin = at(server, "postgres")
        for (name,) in admin.rows("SELECT datname FROM pg_database WHERE datname ~ %s", [f"^{made.name}(_|$)"]):
            admin.rows(f'DROP DATABASE "{name}" WITH (FORCE)')
        admin.rows(f"DROP OWNED BY {made.name}; DROP ROLE {made.name}")


@contextlib.contextmanager
def standby(server: PostgresServer) -> Iterator[None]:
    signal = server.root / "data" / "standby.signal"
    signal.touch()
    server.restart()
    try:
        yield
    finally:
        signal.unlink()
        server.restart()


@contextlib.contextmanager
def read_only(server: PostgresServer) -> Iterator[None]:
    """As a former primary server that was fenced."""
    setting = server.root / "data" / "postgresql.auto.conf"
    setting.write_text("default_transaction_read_only = on\n")
    server.restart()
    try:
        yield
    finally:
        setting.write_text("")
        server.restart()


@contextlib.contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    server.halt()
    try:
        yield
    finally:
        server.launch()


# --- Every URL × every place that connects ----------------------------------------------------------------------
def pooled(lab: Lab, url: str) -> None:
    wrapper = make_wrapper(url)
    try:
        assert query(wrapper, "SELECT current_setting('port')::int") == lab.primary.port
    finally:
        wrapper.close()
        wrapper.close_pool()


def unpooled(lab: Lab, url: str) -> None:
    wrapper = make_wrapper(url, POOL={"SIZE": 0})
    try:
        assert query(wrapper, "SELECT current_setting('port')::int") == lab.primary.port
    finally:
        wrapper.close()


def health(_lab: Lab, url: str) -> None:
    with override_database(make_wrapper(url, POOL={"SIZE": 0})):
        found = explain_no_session("default")
    if found != ("", ""):
        raise OpsError(*found)


def psql(lab: Lab, url: str) -> None:
    """As ``manage.py dbshell`` runs it."""
    arguments, variables = DatabaseClient.settings_to_cmd_args_env(
        database_settings(url), ["-XAtc", "SELECT current_setting('port')"]
    )
    program = str(lab.primary.binaries / "psql")
    environment = {**os.environ, **(variables or {})}
    ended = subprocess.run([program, *arguments[1:]], env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise OpsError(ended.stderr)
    assert ended.stdout == f"{lab.primary.port}\n"


def django_of_ops(lab: Lab, url: str) -> None:
    wrapper = parse_url(url).wrapper()
    try:
        with wrapper.cursor() as cursor:
            cursor.execute("SHOW port")
            assert cursor.fetchone() == (str(lab.primary.port),)
    finally:
        wrapper.close()


def lock_session(lab: Lab, url: str) -> None:
    engine = PostgresEngine(parse_url(url))
    with engine.locked("test"), engine._server() as connection:
        assert connection.info.port == lab.primary.port
        assert engine.is_at(lab.on(lab.primary).address)
        assert engine.is_at(parse_url(url))


def backup(_lab: Lab, url: str) -> None:
    """pg_dump, and for the custom format pg_restore, which has no connection."""
    engine = PostgresEngine(parse_url(url))
    for kind in (Kind.SQL, Kind.CUSTOM):
        dump, tables = support.dump_of(engine, kind)
        assert tables["device"].rows == 500
        assert dump


def restore_and_undo(lab: Lab, url: str) -> None:
    """CREATE, ALTER and DROP DATABASE, the staging database, and the previous one."""
    engine = PostgresEngine(parse_url(url))
    dump, tables = support.dump_of(engine)
    assert support.restore(engine, dump) == tables
    with engine.swap_strategy().previous_as_default() as wrapper, wrapper.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_setting('port')")
        assert cursor.fetchone() == (f"{lab.name}{undo_comment.PREVIOUS}", str(lab.primary.port))
    previous = engine.swap_strategy().require_previous()
    with engine.locked("test"):
        of_previous = engine.for_previous(previous)
        assert support.dump_of(of_previous)[1] == tables
    support.undo(engine, run="run-2")
    strategy = engine.swap_strategy()
    strategy.drop_previous(strategy.require_previous())


def migration_target(lab: Lab, url: str) -> None:
    with pytest.raises(OpsError) as refused:
        inspect_target(parse_url(url))
    if "contains objects of other programs" not in refused.value.message:
        raise refused.value
    lab.on(lab.primary).rows(f"CREATE DATABASE {lab.name}_empty TEMPLATE template0")
    target = inspect_target(parse_url(url).with_database(f"{lab.name}_empty"))
    assert target.renamed
    assert target.address.server is not None
    assert target.address.server.port == str(lab.primary.port)


CONNECTING: dict[str, Callable[[Lab, str], None]] = {
    function.__name__: function
    for function in (
        pooled,
        unpooled,
        health,
        psql,
        django_of_ops,
        lock_session,
        backup,
        restore_and_undo,
        migration_target,
    )
}
FORMS: dict[str, str] = {
    "dead first": "127.0.0.1:{dead},127.0.0.1:{primary}/{name}",
    "second first": "127.0.0.1:{second},127.0.0.1:{primary}/{name}?target_session_attrs=read-write",
    "primary first": "127.0.0.1:{primary},127.0.0.1:{second},127.0.0.1:{dead}/{name}",
    "one port for all": "127.0.0.7,127.0.0.1/{name}?port={primary}",
    "IPv6": "[::1]:{dead},[::1]:{second},[::1]:{primary}/{name}",
    "sockets": "{at_second}:{second},{at_primary}:{primary}/{name}",
    "sockets as an option": "/{name}?host={at_second},{at_primary}&port={second},{primary}",
    "addresses": "db1.invalid:{second},db2.invalid:{primary}/{name}?hostaddr=127.0.0.1,127.0.0.1",
    "addresses without names": ":{primary}/{name}?hostaddr=127.0.0.7,127.0.0.1",
}


@pytest.mark.parametrize("state", slow_except([standby, read_only], standby))
def test_every_connection_goes_to_the_server_that_takes_writes(
    lab: Lab, state: Callable[[PostgresServer], Any], subtests: Any
) -> None:
    """A server that is fenced is tried in the same way as a standby, so two URLs suffice."""
    forms = FORMS if state is standby else {name: FORMS[name] for name in ("second first", "sockets")}
    with state(lab.second):
        for form, hosts in forms.items():
            for name, connect in CONNECTING.items():
                with subtests.test(form, place=name):
                    connect(lab, lab.url(hosts))
                    lab.on(lab.primary).rows(f"DROP DATABASE IF EXISTS {lab.name}_empty")


def test_when_no_server_takes_writes_each_place_fails_without_the_password(lab: Lab, subtests: Any) -> None:
    with standby(lab.second):
        address = lab.address("127.0.0.1:{dead},127.0.0.1:{second}/{name}")
        for name, connect in CONNECTING.items():
            with subtests.test(place=name):
                with pytest.raises((OpsError, OperationalError)) as failed:
                    connect(lab, lab.url("127.0.0.1:{dead},127.0.0.1:{second}/{name}"))
                assert str(lab.second.port) in str(failed.value)
                assert "session is read-only" in str(failed.value)
                assert SECRET not in str(failed.value)
                assert quote(SECRET, safe="") not in str(failed.value)
        with pytest.raises(Refused) as refused:
            address.connect()
    assert refused.value.message == (
        f"No connection to the database {lab.name} on 127.0.0.1:{lab.dead},127.0.0.1:{lab.second.port}:"
        f" 127.0.0.1:{lab.dead}: Connection refused; 127.0.0.1:{lab.second.port}: session is read-only."
    )
    assert refused.value.hint == NONE_WRITABLE


def test_primary_is_reached_where_all_sessions_are_read_only_by_default(lab: Lab) -> None:
    """As some providers set it while a disk is full: such a database can be backed up."""
    hosts = "127.0.0.1:{dead},127.0.0.1:{second}/{name}"
    with read_only(lab.second):
        with pytest.raises(Refused, match="session is read-only"):
            lab.address(hosts).connect()
        engine = PostgresEngine(lab.address(f"{hosts}?target_session_attrs=primary"))
        with engine.locked("test"):
            assert support.dump_of(engine)[1]["device"].rows == 500
        assert "default_transaction_read_only" in engine.explain_read_only()[0]


def test_settings_of_another_project_without_a_target_lead_to_the_server_that_takes_writes(lab: Lab) -> None:
    address = lab.address("127.0.0.1:{second},127.0.0.1:{primary}/{name}")
    with standby(lab.second), contextlib.closing(replace(address, options={}).connect()) as connection:
        assert connection.info.port == lab.primary.port


# --- All sessions of a run are on one server --------------------------------------------------------------------
@contextlib.contextmanager
def demoted(lab: Lab) -> Iterator[None]:
    """New sessions of the role on the primary server are read-only, so that they go to the second one."""
    admin = at(lab.primary, "postgres")
    admin.rows(f"ALTER ROLE {lab.name} SET default_transaction_read_only = on")
    yield
    admin.rows(f"ALTER ROLE {lab.name} RESET default_transaction_read_only")


def port_of(connection: Any) -> int:
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SHOW port")
        return int(cursor.fetchone()[0])


def port_of_maintenance(address: ConnectionInfo) -> int:
    with databases.maintenance_connection(address) as connection:
        return int(connection.info.port)


def port_of_psql(address: ConnectionInfo) -> int:
    """A client program with the arguments of pg_dump."""
    arguments, environment = connection_arguments(address)
    program = find_programs(15).directory / "psql"
    shown = subprocess.run(
        [program, *arguments, "-XAtc", "SHOW port"], env=environment, capture_output=True, text=True, check=False
    )
    if shown.returncode:
        raise OpsError(shown.stderr)
    return int(shown.stdout)


OPENING: dict[str, Callable[[ConnectionInfo], int]] = {
    "connect": lambda address: port_of(address.connect()),
    "another database": lambda address: port_of(address.with_database("postgres").connect()),
    "read-only": lambda address: port_of(address.with_session(undo_comment.READ_ONLY).connect()),
    "Django": lambda address: port_of(address.wrapper()),
    "Django, read-only": lambda address: port_of(address.with_session(undo_comment.READ_ONLY).wrapper()),
    "maintenance": port_of_maintenance,
    "client program": port_of_psql,
}
"""The ways to open a session at an address: each returns the port of the server that it reached."""


@pytest.mark.parametrize(
    "hosts",
    [
        "127.0.0.1:{dead},127.0.0.1:{primary},127.0.0.1:{second}/{name}",
        "{at_primary}:{primary},{at_second}:{second}/{name}",
        "db1.invalid:{primary},db2.invalid:{second}/{name}?hostaddr=127.0.0.1,127.0.0.1",
    ],
)
def test_sessions_of_a_run_stay_on_the_server_of_its_lock(lab: Lab, hosts: str, subtests: Any) -> None:
    address = lab.address(hosts)
    engine = PostgresEngine(address)
    with engine.locked("test"), demoted(lab):
        assert port_of(address.connect()) == lab.second.port
        for name, open_session in OPENING.items():
            with subtests.test(name):
                assert open_session(engine.address) == lab.primary.port
        # Only the primary server has the snapshot.
        assert support.dump_of(engine)[1]["device"].rows == 500
        assert str(engine.address) == str(address)
    assert engine.address == address


def test_snapshot_is_dumped_on_its_server_without_a_lock(lab: Lab) -> None:
    engine = PostgresEngine(lab.address("127.0.0.1:{primary},127.0.0.1:{second}/{name}"))
    with engine.snapshot(kind=Kind.SQL) as snapshot, demoted(lab):
        assert b"dump complete" in b"".join(snapshot.stream(no_progress))
        assert snapshot.tables()["device"].rows == 500
        assert snapshot.metadata["host"] == "127.0.0.1"


def test_no_session_of_a_run_goes_to_the_server_that_took_over(lab: Lab, subtests: Any) -> None:
    engine = PostgresEngine(lab.address("127.0.0.1:{primary},127.0.0.1:{second}/{name}"))
    reached = f"127.0.0.1:{lab.primary.port}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(engine.locked("test"))
        stack.enter_context(stopped(lab.primary))
        for name, open_session in OPENING.items():
            with subtests.test(name):
                with pytest.raises((OpsError, OperationalError, psycopg2.OperationalError)) as failed:
                    open_session(engine.address)
                assert "Connection refused" in str(failed.value)
                assert SECRET not in str(failed.value)
        with pytest.raises(Refused) as refused:
            engine.address.connect()
        assert refused.value.message == (
            f"No connection to the database {engine.address} on the server {reached}, where this operation began:"
            f" {reached}: Connection refused."
        )


def test_run_does_not_continue_on_a_server_that_was_restarted(lab: Lab) -> None:
    """It has lost its lock."""
    engine = PostgresEngine(lab.address("127.0.0.1:{primary},127.0.0.1:{second}/{name}"))
    with engine.locked("test"):
        lab.primary.restart()
        with pytest.raises(OtherServer) as refused:
            engine.address.connect()
    assert refused.value.message == (
        f"The operation began on the server 127.0.0.1:{lab.primary.port}, and another server answers now, or the same"
        " one after a restart."
    )


class Proxy:
    """Forwards connections to the port `target`, as HAProxy or an address that moves does."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                self.threads.append(threading.Thread(target=self.forward, args=(client, self.target)))
                self.threads[-1].start()

    @staticmethod
    def forward(client: socket.socket, target: int) -> None:
        with client, socket.create_connection(("127.0.0.1", target)) as server, contextlib.suppress(OSError):
            others = {client: server, server: client}
            while True:
                for source in select.select(list(others), [], [])[0]:
                    if not (data := source.recv(65536)):
                        return
                    others[source].sendall(data)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def proxy(primary: PostgresServer) -> Iterator[Proxy]:
    made = Proxy(primary.port)
    yield made
    made.close()


def test_session_behind_a_proxy_that_leads_to_another_server_fails_by_name(
    lab: Lab, proxy: Proxy, subtests: Any
) -> None:
    engine = PostgresEngine(lab.address(f"127.0.0.1:{proxy.port}/{{name}}"))
    with engine.locked("test"), engine.snapshot(kind=Kind.SQL) as snapshot:
        proxy.target = lab.second.port
        for name, open_session in OPENING.items():
            if name == "client program":
                continue
            with subtests.test(name), pytest.raises(OtherServer):
                open_session(engine.address)
        with pytest.raises(OtherServer):
            b"".join(snapshot.stream(no_progress))


# --- A host that does not answer --------------------------------------------------------------------------------
def test_frozen_host_delays_a_connection_by_its_timeout(lab: Lab) -> None:
    url = lab.url("127.0.0.1:{second},127.0.0.1:{primary}/{name}")
    lab.second.freeze()
    try:
        # The site tries the host first that accepted its last connection. The sessions of a run after the first one
        # wait for no other host; `lock_session` looks twice for the server.
        for connect, seconds in ((pooled, 2), (unpooled, 2), (lock_session, 4)):
            began = time.monotonic()
            connect(lab, url)
            assert time.monotonic() - began < seconds + 2
        wrong = url.replace(quote(SECRET, safe=""), "wrong")
        with pytest.raises(Refused) as refused:
            parse_url(wrong).connect()
        assert refused.value.sqlstate == "28P01"
    finally:
        lab.second.thaw()
