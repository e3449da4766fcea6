"""``manage.py serve`` with real processes."""

import os
import shutil
import signal
import socket
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from homerack.serve.runtime_dir import socket_path
from tests.celery.support import Running, is_alive, manage, served
from tests.support.backend import eventually
from tests.support.forked import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")


def sockets() -> set[Path]:
    return set((ROOT / ".run").glob("*/*.sock"))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_sigint_and_sigterm_end_all_processes(home: Path, number: signal.Signals) -> None:
    before = sockets()
    with served(home) as (serving, port):
        descendants = serving.descendants()
        assert len(descendants) >= 6  # Redis, the worker and its child, beat, the site and the one that it reloads
        with urlopen(f"http://127.0.0.1:{port}/health/live/") as answer:
            assert answer.status == 200
        assert serving.end_with(number) == 0
        assert [pid for pid in descendants if is_alive(pid)] == []
    assert "HomeRack has stopped." in serving.output
    assert sockets() - before == set()


@pytest.mark.parametrize(
    ("name", "debug"),
    [
        ("worker", "true"),
        pytest.param("beat", "true", marks=pytest.mark.slow),
        pytest.param("gunicorn", "false", marks=pytest.mark.slow),
    ],
)
def test_end_of_one_process_ends_all(home: Path, name: str, debug: str) -> None:
    with served(home, DEBUG=debug) as (serving, _):
        descendants = serving.descendants()
        os.kill(serving.child(name), signal.SIGKILL)
        assert serving.process.wait(timeout=40) == 1
        assert [pid for pid in descendants if is_alive(pid)] == []
    shown = "web" if name == "gunicorn" else name
    assert (
        f"CommandError: {shown} has ended (killed by SIGKILL). All other services were stopped. "
        "The output above shows the reason. Start again with: make run" in serving.output
    )


def test_processes_end_with_a_killed_serve_and_the_next_one_starts(home: Path) -> None:
    with served(home) as (serving, _):
        descendants = serving.descendants()
        serving.end_with(signal.SIGKILL)
        eventually(lambda: not any(map(is_alive, descendants)), within=20)
    with served(home) as (serving, _):
        assert serving.end_with(signal.SIGINT) == 0


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
        refused = manage(home, "serve", "--port", str(port))
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
