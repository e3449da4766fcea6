"""Three PostgreSQL servers on loopback, led by Patroni with etcd, and HAProxy in front of them.

The cluster has a folder and ports of its own. A keeper (`tests.cluster.keeper`) ends it when its owner ends.
"""

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import psycopg2

from tests.cluster.programs import ROOT, Programs
from tests.support.postgres import PostgresServer, children_of, unprivileged_user

PATIENCE = 90
"""Seconds in which a busy machine should have started a cluster, or have a new leader."""
DATABASE = USER = "homerack"
CONFIGURATION, PROXY = (Path(__file__).with_name(name) for name in ("patroni.yml", "haproxy.cfg"))
SILENCE = "24h"
"""In haproxy.cfg."""
REST_TIMEOUT = 1.0
NAMES = ("n1", "n2", "n3")


class ClusterFailed(Exception):
    """The cluster did not do what was asked; the message has the ends of its logs."""


@dataclass
class Node:
    """A PostgreSQL server and its Patroni."""

    name: str
    port: int
    rest_port: int
    data: Path
    patroni: int = 0
    """The id of its process; 0 before its start."""

    def request(self, method: str, path: str, body: Any = None, *, timeout: float = REST_TIMEOUT) -> tuple[int, str]:
        """Status and text of a response of Patroni; status 0 without one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.rest_port, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    @property
    def leads(self) -> bool:
        return self.request("GET", "/primary")[0] == http.HTTPStatus.OK

    @property
    def postmaster(self) -> int:
        """The id of the process of the server, which may have ended. 0 if it was shut down."""
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return 0

    @property
    def server_processes(self) -> list[int]:
        """The postmaster first, so that one that is stopped starts no others."""
        return [self.postmaster, *children_of(self.postmaster)] if runs(self.postmaster) else []


@dataclass
class Cluster:
    folder: Path
    programs: Programs
    nodes: list[Node]
    etcd_port: int
    etcd_peer_port: int
    haproxy_port: int
    keeper: "subprocess.Popen[str]"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    etcd: int = 0
    stopped: list[int] = field(default_factory=list)
    """The processes that got SIGSTOP."""

    # --- Start and end --------------------------------------------------------------------------------------------
    @classmethod
    def start(cls, programs: Programs, *, ports: Sequence[int] | None = None) -> "Cluster":
        """Start etcd, the servers and HAProxy, and create the role and the database ``homerack``.

        `ports` are those of PostgreSQL, Patroni, HAProxy and etcd (3, 3, 1 and 2); free ones by default.
        """
        folder = Path(tempfile.mkdtemp(prefix="homerack-cluster-"))
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.keeper", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            if user := unprivileged_user():
                shutil.chown(folder, user)
            numbers = list(ports or free_ports(9))
            nodes = [Node(NAMES[i], numbers[i], numbers[i + 3], folder / NAMES[i]) for i in range(3)]
            postgres = PostgresServer.reachable(programs.postgres, folder, user)
            cluster = cls(
                folder=folder,
                programs=Programs(**vars(programs) | {"postgres": postgres}),
                nodes=nodes,
                haproxy_port=numbers[6],
                etcd_port=numbers[7],
                etcd_peer_port=numbers[8],
                keeper=keeper,
            )
            cluster.begin()
        except BaseException:
            end(keeper)
            raise
        return cluster

    def begin(self) -> None:
        self.start_etcd()
        self.wait_until(lambda: answers(self.etcd_port), "etcd answers")
        self.start_patroni(self.nodes[0])
        self.wait_for_leader()
        for node in self.nodes[1:]:
            self.start_patroni(node)
        self.start_haproxy()
        self.execute(
            f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{self.password}'",
            f"CREATE DATABASE {DATABASE} OWNER {USER}",
            f"GRANT pg_signal_backend TO {USER}",
        )
        self.heal()

    def stop(self) -> None:
        """End all programs and remove all files."""
        end(self.keeper)

    def spawn(self, name: str, *arguments: object, user: str | None) -> int:
        """Start a program, whose output is in NAME.log. Returns the id of the process."""
        assert self.keeper.stdin
        assert self.keeper.stdout
        program = {"arguments": [str(argument) for argument in arguments], "user": user}
        self.keeper.stdin.write(json.dumps(program | {"log": str(self.folder / f"{name}.log")}) + "\n")
        self.keeper.stdin.flush()
        return int(self.keeper.stdout.readline())

    def start_etcd(self) -> None:
        if runs(self.etcd):
            return
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, self.etcd_peer_port))
        # fmt: off
        self.etcd = self.spawn(
            "etcd", self.programs.etcd, "--data-dir", self.folder / "etcd",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
            user=unprivileged_user(),
        )
        # fmt: on

    def start_patroni(self, node: Node) -> None:
        """Start what leads the server, and with it the server, unless it runs."""
        if runs(node.patroni):
            return
        file = self.folder / f"{node.name}.yml"
        if not file.exists():
            names = vars(self) | vars(node) | {"binaries": self.programs.postgres}
            self.write(file, Template(CONFIGURATION.read_text()).substitute(names))
        node.patroni = self.spawn(node.name, self.programs.patroni, file, user=unprivileged_user())

    def start_haproxy(self, *, port: int = 0, silence: str = SILENCE) -> None:
        """Start HAProxy, or another one on `port` that ends sessions after this `silence`."""
        text = Template(PROXY.read_text()).substitute(haproxy_port=port or self.haproxy_port)
        text = text.replace(SILENCE, silence)
        for node in self.nodes:
            text += f"    server {node.name} 127.0.0.1:{node.port} check port {node.rest_port}\n"
        file = self.folder / f"haproxy{port or ''}.cfg"
        self.write(file, text)
        self.spawn(file.stem, self.programs.haproxy, "-db", "-f", file, user=unprivileged_user())

    def write(self, file: Path, text: str) -> None:
        """A file that only the programs of the cluster read: it may have a password."""
        file.touch(mode=0o600)
        file.write_text(text)
        if user := unprivileged_user():
            shutil.chown(file, user)

    # --- What there is --------------------------------------------------------------------------------------------
    def find_leader(self) -> Node | None:
        return next((node for node in self.nodes if node.leads), None)

    def leader(self) -> Node:
        """Raises ClusterFailed if there is none at the moment."""
        if found := self.find_leader():
            return found
        raise ClusterFailed(f"There is no leader.\n{self.logs()}")

    def wait_for_leader(self, *, other_than: Node | None = None) -> Node:
        """The leader, once there is one; another than `other_than`. Raises ClusterFailed."""
        found: list[Node] = []

        def another_leads() -> bool:
            found[:] = [node for node in self.nodes if node is not other_than and node.leads]
            return bool(found)

        self.wait_until(another_leads, f"a server other than {other_than.name} leads" if other_than else "one leads")
        return found[0]

    def wait_until(self, condition: Callable[[], bool], description: str, *, timeout: float = PATIENCE) -> None:
        """Raises ClusterFailed with `description`."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise ClusterFailed(f"Waited {timeout:g} s until {description}.\n{self.logs()}")
            time.sleep(0.1)

    def logs(self) -> str:
        parts = [f"{path.name}:\n{path.read_text(errors='replace')[-1500:]}" for path in self.folder.glob("*.log")]
        return "\n".join(parts)

    def is_whole(self) -> bool:
        """Whether all servers run, the others stream from the leader, and one is synchronous if one should be."""
        leader = self.find_leader()
        if leader is None or not all(runs(node.patroni) and runs(node.postmaster) for node in self.nodes):
            return False
        status, text = leader.request("GET", "/cluster")
        if status != http.HTTPStatus.OK:
            return False
        members = json.loads(text)["members"]
        roles = [member["role"] for member in members if member["state"] in {"running", "streaming"}]
        if len(roles) < len(self.nodes) or sum(member["state"] == "streaming" for member in members) < len(roles) - 1:
            return False
        synchronous = bool(self.configuration(leader).get("synchronous_mode"))
        [(names,)] = self.rows("SHOW synchronous_standby_names", node=leader)
        return ("sync_standby" in roles) is synchronous and bool(names) is synchronous

    def configuration(self, node: Node) -> dict[str, Any]:
        """Patroni's settings for all servers."""
        status, text = node.request("GET", "/config")
        return dict(json.loads(text)) if status == http.HTTPStatus.OK else {}

    # --- Addresses ------------------------------------------------------------------------------------------------
    def url(self, database: str = DATABASE, *, nodes: Iterable[Node] = ()) -> str:
        """The address of whichever server can be written; of `nodes` only, if they are named."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in nodes or self.nodes)
        return f"postgres://{USER}:{self.password}@{hosts}/{database}?target_session_attrs=read-write"

    def haproxy_url(self, database: str = DATABASE, *, port: int = 0) -> str:
        return f"postgres://{USER}:{self.password}@127.0.0.1:{port or self.haproxy_port}/{database}"

    # --- SQL ------------------------------------------------------------------------------------------------------
    def execute(self, *statements: str) -> None:
        """Execute statements on the leader as a superuser, each in a transaction of its own."""
        with closing(self.connect(self.leader(), "postgres")) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str, *, node: Node | None = None, database: str = DATABASE) -> list[tuple[Any, ...]]:
        with closing(self.connect(node or self.leader(), database)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def connect(self, node: Node, database: str) -> Any:
        """A superuser's session, with autocommit."""
        url = f"postgres://postgres:{self.password}@127.0.0.1:{node.port}/{database}?connect_timeout=5"
        connection = psycopg2.connect(url)
        connection.autocommit = True
        return connection

    # --- Faults ---------------------------------------------------------------------------------------------------
    def switchover(self) -> Node:
        """Hand the lead over, as planned. Returns the new leader, when it can be written."""
        leader = self.leader()
        status, text = leader.request("POST", "/switchover", {"leader": leader.name}, timeout=PATIENCE)
        if status != http.HTTPStatus.OK:
            raise ClusterFailed(f"Patroni refused a switchover: {status} {text}\n{self.logs()}")
        return self.wait_for_leader(other_than=leader)

    def kill_leader(self, *, with_patroni: bool) -> Node:
        """``kill -9`` of the server that leads, and of its Patroni. Returns it."""
        leader = self.leader()
        server = leader.server_processes
        if with_patroni:
            os.kill(leader.patroni, signal.SIGKILL)
        os.kill(leader.postmaster, signal.SIGKILL)
        # A stopped backend does not notice that its postmaster is gone.
        for pid in {*server} & {*self.stopped}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stopped = [pid for pid in self.stopped if pid not in server]
        return leader

    def freeze_leader(self, *, with_patroni: bool) -> Node:
        """Stop all processes of the server that leads, and its Patroni, as ``docker pause`` does. Returns it."""
        leader = self.leader()
        self.send_stop([leader.patroni] if with_patroni else [])
        self.send_stop(leader.server_processes)
        self.send_stop(leader.server_processes)  # started since
        return leader

    def pause_replication(self) -> Node:
        """Stop the processes of the leader that send its WAL. Returns the leader."""
        leader = self.leader()
        self.send_stop([pid for (pid,) in self.rows("SELECT pid FROM pg_stat_replication", node=leader)])
        return leader

    def send_stop(self, pids: Iterable[int]) -> None:
        for pid in pids:
            if pid not in self.stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    self.stopped.append(pid)

    def thaw(self) -> None:
        """Let everything continue that was stopped."""
        for pid in self.stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.stopped.clear()

    def stop_etcd(self) -> None:
        os.kill(self.etcd, signal.SIGTERM)
        self.wait_until(lambda: not runs(self.etcd), "etcd ends")

    def configure(self, **settings: Any) -> None:
        """Change settings of Patroni for all servers, such as ``synchronous_mode``, and wait until they apply."""
        leader = self.leader()
        status, text = leader.request("PATCH", "/config", settings, timeout=PATIENCE)
        if status != http.HTTPStatus.OK:
            raise ClusterFailed(f"Patroni refused {settings}: {status} {text}")
        self.wait_until(lambda: settings.items() <= self.configuration(leader).items(), "the settings are changed")
        self.heal()

    def heal(self) -> None:
        """Start and continue whatever does not run, and wait until the cluster is whole."""
        self.thaw()
        self.start_etcd()
        for node in self.nodes:
            self.start_patroni(node)
        self.wait_until(self.is_whole, "the cluster is whole")


def end(keeper: "subprocess.Popen[str]") -> None:
    keeper.communicate(timeout=60)


def runs(pid: int) -> bool:
    """Whether the process exists, stopped ones included."""
    return pid > 0 and Path(f"/proc/{pid}").exists()


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def free_ports(count: int) -> list[int]:
    """They are all held until the last is found, so that no two are equal."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]
