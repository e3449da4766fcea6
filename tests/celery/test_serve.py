"""``manage.py serve`` with real processes."""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from homerack.serve.runtime_dir import socket_path
from homerack.serve.services import redis_is_up
from tests.celery.support import Running, command_of, is_alive, manage, running, served, wait_for
from tests.support.backend import eventually
from tests.support.forked import ROOT
from tests.support.postgres import children_of
from tests.support.slow import slow_except

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


SHELLS = """
from django.core.management import execute_from_command_line
from homerack.management.commands import serve
from homerack.serve import supervisor
from homerack.serve.services import Service
supervisor.RESTART_DELAY = {delay}
serve.all_services = lambda *_address: [
    Service(name=name, command=("sh", "-c", "trap 'kill $!; exit' TERM; sleep 600 & wait", name))
    for name in ("worker", "beat", "web")
]
execute_from_command_line(["manage.py", "serve", "--port", "0"])
"""
"""``manage.py serve`` of shells instead of the worker, beat and the site. Each has a child, and ends it at SIGTERM."""


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_all_processes_end_at_sigint_and_sigterm(home: Path, number: signal.Signals) -> None:
    with served(home) as (serving, port):
        assert_is_served(serving, port)
        descendants = serving.descendants()
        assert len(descendants) >= 6  # Redis, the worker and its child, beat, the site and the one that it reloads
        assert serving.end_with(number) == 0
        assert [pid for pid in descendants if is_alive(pid)] == []
    assert "HomeRack has stopped." in serving.output
    assert not list((ROOT / ".run").glob(f"*/redis-{serving.process.pid}.sock"))


@contextlib.contextmanager
def served_shells(home: Path, *, delay: float = 60) -> Iterator[tuple[Running, list[int]]]:
    """`SHELLS` under way, and all processes that it has started: Redis, and the shells with their children."""
    with running(home, "serve", "-c", SHELLS.format(delay=delay)) as serving:
        wait_for(lambda: "HomeRack is at" in serving.output, serving)
        wait_for(lambda: len(serving.descendants()) == 7, serving)
        yield serving, serving.descendants()


def test_processes_end_with_a_killed_serve_and_it_starts_again(home: Path) -> None:
    for _ in range(2):
        with served_shells(home) as (serving, descendants):
            serving.end_with(signal.SIGKILL)
            eventually(lambda descendants=descendants: not any(map(is_alive, descendants)), within=20)  # type: ignore[misc]


@pytest.mark.slow
def test_services_end_with_a_killed_serve_and_it_starts_again(home: Path) -> None:
    for _ in range(2):
        with served(home) as (serving, port):
            assert_is_served(serving, port)
            descendants = serving.descendants()
            assert len(descendants) >= 6
            serving.end_with(signal.SIGKILL)
            eventually(lambda descendants=descendants: not any(map(is_alive, descendants)), within=20)  # type: ignore[misc]


@pytest.mark.parametrize("name", slow_except(["worker", "beat", "web", "redis"], "worker", "redis"))
def test_process_that_ends_is_started_again(home: Path, name: str) -> None:
    with served_shells(home, delay=1) as (serving, descendants):
        process = child(serving, name)
        others = set(descendants) - {process, *children_of(process)}
        os.kill(process, signal.SIGKILL)
        wait_for(lambda: f"{name} was started again." in serving.output, serving)
        assert f"{name} has ended (killed by SIGKILL); it starts again in 1 s.\n" in serving.output
        wait_for(lambda: len(serving.descendants()) == 7, serving)
        assert others < set(serving.descendants())
        assert child(serving, name) != process
        if name == "redis":
            assert redis_is_up(f"unix://{next((ROOT / '.run').glob(f'*/redis-{serving.process.pid}.sock'))}")


@pytest.mark.slow
def test_process_that_ends_often_starts_later_each_time(home: Path) -> None:
    with served_shells(home, delay=1) as (serving, _):
        for seconds in (1, 2):
            os.kill(serving.child("worker"), signal.SIGKILL)
            wait_for(lambda seconds=seconds: f"it starts again in {seconds} s." in serving.output, serving)  # type: ignore[misc]
            wait_for(lambda seconds=seconds: serving.output.count("started again.") == seconds, serving)  # type: ignore[misc]


def test_ctrl_c_ends_the_wait_for_a_restart(home: Path) -> None:
    with served_shells(home, delay=300) as (serving, descendants):
        os.kill(serving.child("worker"), signal.SIGKILL)
        wait_for(lambda: "worker has ended (killed by SIGKILL); it starts again in 300 s." in serving.output, serving)
        start = time.monotonic()
        assert serving.end_with(signal.SIGINT) == 0
        assert time.monotonic() - start < 5
        assert [pid for pid in descendants if is_alive(pid)] == []


@pytest.mark.parametrize("seconds", [0, 2])
def test_process_that_fails_at_its_first_start_ends_all(home: Path, seconds: int) -> None:
    code = SHELLS.replace("trap", f"test $0 = beat && sleep {seconds} && exit 3; trap").format(delay=1)
    with running(home, "serve", "-c", code) as serving:
        assert serving.process.wait(timeout=40) == 1
    assert (
        "CommandError: beat has ended (exit code 3). All other services were stopped. "
        "The output above shows the reason. Start again with: make run" in serving.output
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "debug"), [("worker", "true"), ("beat", "true"), ("gunicorn", "false")])
def test_service_that_is_killed_is_started_again(home: Path, name: str, debug: str) -> None:
    """And works: the worker is asked for its queues, beat for a ping, the site for a page."""
    with served(home, DEBUG=debug) as (serving, port):
        before = serving.child(name)
        children = children_of(before)
        os.kill(before, signal.SIGKILL)
        service = "web" if name == "gunicorn" else name
        wait_for(lambda: f"{service} was started again." in serving.output, serving)
        eventually(lambda: not any(map(is_alive, children)), within=20)
        healthy = {"status": "healthy"}
        eventually(lambda: {checks(port)[each]["status"] for each in ("worker", "beat")} == {"healthy"}, within=60)
        assert checks(port)["redis"] == healthy


@pytest.mark.slow
def test_worker_takes_tasks_after_redis_was_killed(home: Path, tmp_path: Path) -> None:
    with served(home, BACKUP_DIR=str(tmp_path / "backups")) as (serving, port):
        os.kill(redis_of(serving), signal.SIGKILL)
        wait_for(lambda: "redis was started again." in serving.output, serving)
        eventually(lambda: checks(port)["worker"]["status"] == "healthy", within=60)
        url = f"unix://{ROOT}/" + str(
            next((ROOT / ".run").glob(f"*/redis-{serving.process.pid}.sock")).relative_to(ROOT)
        )
        send = "from ops import tasks; tasks.back_up.delay()"
        sent = manage(home, "shell", "--no-imports", "--command", send, REDIS_URL=url)
        assert sent.returncode == 0, sent.stderr
        eventually(lambda: list((tmp_path / "backups").glob("*.gz.json")), within=60)


def checks(port: int) -> Any:
    """What the health endpoint says; nothing is healthy while the site does not answer."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/") as answer:
            return json.load(answer)["checks"]
    except OSError:
        return defaultdict(lambda: {"status": ""})


def child(serving: Running, name: str) -> int:
    return redis_of(serving) if name == "redis" else serving.child(name)


def redis_of(serving: Running) -> int:
    return next(pid for pid in children_of(serving.process.pid) if "unixsocket" in command_of(pid))


@pytest.mark.slow
def test_second_serve_needs_another_database(home: Path, tmp_path: Path) -> None:
    second = Path(shutil.copytree(home, tmp_path / "second"))
    with served(home) as (one, port), served(second) as (two, _):
        again = manage(home, "serve", "--port", "0", BACKUP_SIGNING_KEY="a key of its own")
        assert again.returncode == 1
        assert again.stderr == (
            f"CommandError: This database is already served at http://127.0.0.1:{port}/ by process {one.process.pid}; "
            "two schedulers would start every backup twice. Nothing was started. Stop the other process, or set "
            "another DATABASE_URL.\n"
        )
        assert two.end_with(signal.SIGINT) == 0
        assert_is_served(one, port)


def assert_is_served(serving: Running, port: int) -> None:
    assert serving.process.poll() is None
    with urlopen(f"http://127.0.0.1:{port}/health/live/") as answer:
        assert answer.status == 200


def test_port_in_use_is_reported_before_anything_starts(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = manage(home, "serve", "--port", str(port), BACKUP_SIGNING_KEY="a key of its own")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == (
        f"CommandError: Port {port} is in use. Nothing was started. Try another: make run PORT={port + 1}\n"
    )


def test_unmigrated_database_is_refused(tmp_path: Path) -> None:
    refused = manage(tmp_path, "serve")
    assert refused.returncode == 1
    assert refused.stderr.endswith(" migrations are not applied. Nothing was started. Run: manage.py migrate\n")


def test_socket_with_a_long_path_is_placed_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    with socket_path(deep) as path:
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert len(str(path)) < 100
    assert not path.parent.exists()
    with socket_path(Path("/short")) as path:
        assert path.parent == Path("/short")
