"""A Redis with two replicas and three Sentinels, on free ports; ended with the process of the tests."""

import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.postgres import die_with_parent, free_port
from tests.support.redis import find_program

SERVICE = "lab"
NEVER = Retry(NoBackoff(), 0)
DOWN_AFTER = 1000
"""Milliseconds without an answer after which a Sentinel regards a server as down."""


@dataclass
class RedisCluster:
    """`servers` and `sentinels` are processes by their ports."""

    root: Path
    password: str = "redis-password-of-the-tests"
    sentinel_password: str = "sentinel-password-of-the-tests"
    servers: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    sentinels: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @classmethod
    def start(cls) -> "RedisCluster":
        """All three servers follow the first one, and all Sentinels know each other."""
        cluster = cls(root=Path(tempfile.mkdtemp(prefix="homerack-sentinel-")))
        try:
            cluster.launch()
        except BaseException:
            cluster.stop()
            raise
        return cluster

    def launch(self) -> None:
        first, *replicas = [free_port() for _ in range(3)]
        for port in (first, *replicas):
            self.launch_server(port, leader=None if port == first else first)
        for _ in range(3):
            self.launch_sentinel(free_port(), leader=first)
        self.wait_until_complete()

    def launch_server(self, port: int, *, leader: int | None = None) -> None:
        """A server that was killed comes back as a replica: Sentinel reconfigures it."""
        configuration = self.root / f"redis-{port}.conf"
        if not configuration.exists():
            lines = [
                *common_lines(port, self.root / str(port)),
                *(f"{word} {self.password}" for word in ("requirepass", "masterauth")),
                'save ""',
                "appendonly no",
                "repl-diskless-sync-delay 0",
                *([f"replicaof 127.0.0.1 {leader}"] if leader else []),
            ]
            configuration.write_text("\n".join(lines))
        self.servers[port] = run(configuration)
        wait_until(lambda: self.client(port).ping(), "a Redis")

    def launch_sentinel(self, port: int, *, leader: int) -> None:
        configuration = self.root / f"sentinel-{port}.conf"
        lines = [
            *common_lines(port, self.root / str(port)),
            f"requirepass {self.sentinel_password}",
            f"sentinel sentinel-pass {self.sentinel_password}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {leader} 2",
            f"sentinel auth-pass {SERVICE} {self.password}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}",
            f"sentinel failover-timeout {SERVICE} 5000",
        ]
        configuration.write_text("\n".join(lines))
        self.sentinels[port] = run(configuration, "--sentinel")
        wait_until(lambda: self.sentinel(port).ping(), "a Sentinel")

    def client(self, port: int) -> "redis.Redis":
        return redis.Redis(port=port, password=self.password, socket_timeout=1, retry=NEVER, decode_responses=True)

    def sentinel(self, port: int) -> "redis.Redis":
        password = self.sentinel_password
        return redis.Redis(port=port, password=password, socket_timeout=0.5, retry=NEVER, decode_responses=True)

    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"sentinel://:{self.password}@{hosts}/0?service={SERVICE}&sentinel_password={self.sentinel_password}"

    def leader(self) -> int:
        """The port of the server that most of the Sentinels name which answer."""
        named: list[int] = []
        for port in self.sentinels:
            with contextlib.suppress(redis.RedisError), self.sentinel(port) as client:
                named.append(int(client.sentinel_get_master_addr_by_name(SERVICE)[1]))
        return max(set(named), key=named.count)

    def wait_until_complete(self) -> None:
        """Both replicas follow the leader, and could lead: then the next failover is possible."""

        def is_complete() -> bool:
            leader = self.leader()
            if self.client(leader).info("replication")["connected_slaves"] != 2:
                return False
            for port in self.sentinels:
                state = self.sentinel(port).sentinel_master(SERVICE)
                if (state["num-slaves"], state["num-other-sentinels"], state["flags"]) != (2, 2, "master"):
                    return False
            return True

        wait_until(is_complete, "the replication")

    def kill_leader(self) -> int:
        """With SIGKILL. Returns its port, for `launch_server`."""
        port = self.leader()
        self.servers[port].kill()
        self.servers[port].wait(timeout=20)
        return port

    def freeze_leader(self) -> int:
        port = self.leader()
        self.servers[port].send_signal(signal.SIGSTOP)
        return port

    def thaw(self, port: int) -> None:
        self.servers[port].send_signal(signal.SIGCONT)

    def wait_for_other_leader(self, lost: int) -> int:
        """The port of the new one, which accepts writes."""

        def is_other() -> bool:
            leader = self.leader()
            return leader != lost and self.client(leader).role()[0] == "master"

        wait_until(is_other, "another leader")
        return self.leader()

    def stop(self) -> None:
        for process in (*self.sentinels.values(), *self.servers.values()):
            if process.poll() is None:
                process.kill()
                process.wait(timeout=20)
        shutil.rmtree(self.root, ignore_errors=True)


def common_lines(port: int, folder: Path) -> list[str]:
    folder.mkdir(mode=0o700)
    return [f"port {port}", "bind 127.0.0.1", f"dir {folder}", "daemonize no", "protected-mode no"]


def run(configuration: Path, *options: str) -> "subprocess.Popen[bytes]":
    configuration.chmod(0o600)
    with configuration.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [find_program(), str(configuration), *options],
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # as in tests.support.redis
        )


def wait_until(condition: Callable[[], object], what: str, *, within: float = 40) -> None:
    """Until `condition` holds without an error of Redis."""
    deadline, error = time.monotonic() + within, ""
    while True:
        try:
            if condition():
                return
        except redis.RedisError as refused:
            error = str(refused)
        assert time.monotonic() < deadline, f"{what} did not come in time: {error}"
        time.sleep(0.05)
