"""``manage.py serve`` with real processes."""

import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from homerack.serve.runtime_dir import socket_path
from tests.celery.support import Running, is_alive, manage, running, served, wait_for
from tests.support.backend import eventually
from tests.support.forked import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


SHELLS = """
from django.core.management import execute_from_command_line
from homerack.management.commands import serve
from homerack.serve.services import Service
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
def served_shells(home: Path) -> Iterator[tuple[Running, list[int]]]:
    """`SHELLS` under way, and all processes that it has started: Redis, and the shells with their children."""
    with running(home, "serve", "-c", SHELLS) as serving:
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


@pytest.mark.parametrize("name", ["worker", "web"])
def test_end_of_one_process_ends_all(home: Path, name: str) -> None:
    with served_shells(home) as (serving, descendants):
        os.kill(serving.child(name), signal.SIGKILL)
        assert_all_end(serving, descendants, name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "debug"), [("worker", "true"), ("beat", "true"), ("gunicorn", "false")])
def test_end_of_one_service_ends_all(home: Path, name: str, debug: str) -> None:
    with served(home, DEBUG=debug) as (serving, _):
        descendants = serving.descendants()
        os.kill(serving.child(name), signal.SIGKILL)
        assert_all_end(serving, descendants, "web" if name == "gunicorn" else name)


def assert_all_end(serving: Running, descendants: list[int], name: str) -> None:
    assert serving.process.wait(timeout=40) == 1
    assert [pid for pid in descendants if is_alive(pid)] == []
    assert (
        f"CommandError: {name} has ended (killed by SIGKILL). All other services were stopped. "
        "The output above shows the reason. Start again with: make run" in serving.output
    )


@pytest.mark.slow
def test_second_serve_needs_another_database(home: Path, tmp_path: Path) -> None:
    second = Path(shutil.copytree(home, tmp_path / "second"))
    with served(home) as (one, port), served(second) as (two, _):
        again = manage(home, "serve", "--port", "0")
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
