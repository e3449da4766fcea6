"""The check of the worker, with a real worker, beat and Redis."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.celery.support import environment, running, wait_for
from tests.celery.test_beat import BEAT, READY, WORKER
from tests.support.redis import RedisServer
from tests.support.web import WebServer

FULL = "/health/full/?format=json"
OTHER_QUEUE = (*WORKER, "--queues=photos", "--hostname=photos@%h")


@pytest.fixture(scope="module")
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url()


@pytest.fixture(scope="module")
def home(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(migrated, tmp_path_factory.mktemp("health") / "home"))


@pytest.fixture(scope="module")
def web(home: Path, redis_url: str) -> Iterator[WebServer]:
    names = ("DATABASE_URL", "DEBUG", "REDIS_URL")
    changed = environment(home, REDIS_URL=redis_url)
    server = WebServer.start("--threads", "4", **{name: changed[name] for name in names})
    yield server
    server.stop()


@contextlib.contextmanager
def started(home: Path, redis_url: str, **commands: tuple[str, ...]) -> Iterator[None]:
    """These processes, each once it is ready."""
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            process = stack.enter_context(running(home, name, *command, REDIS_URL=redis_url))
            ready = READY["beat" if command is BEAT else "worker"]
            wait_for(lambda process=process, ready=ready: ready in process.output, process)  # type: ignore[misc]
        yield


def worker_results(web: WebServer, *, calls: int) -> tuple[set[str], set[str]]:
    """The error and the result of the worker on both pages."""
    health: list[Any] = [web.get("/health/").json["checks"]["worker"] for _ in range(calls)]
    full: list[Any] = [web.get(FULL).json["worker"] for _ in range(calls)]
    return {answer.get("error", "") for answer in health}, set(full)


@pytest.fixture(scope="module", autouse=True)
def others(home: Path, redis_url: str) -> Iterator[None]:
    """Beat, and a worker that takes no tasks of HomeRack's."""
    with started(home, redis_url, beat=BEAT, other=OTHER_QUEUE):
        yield


def test_worker_is_found_by_every_call_next_to_beat(home: Path, redis_url: str, web: WebServer) -> None:
    with started(home, redis_url, worker=WORKER):
        assert worker_results(web, calls=12) == ({""}, {"OK"})
        assert {web.get(FULL).status for _ in range(6)} == {200}
        full: dict[str, str] = web.get(FULL).json
        assert full.pop("backups") == "Warning: NoBackup"
        assert set(full.values()) == {"OK"}


@pytest.mark.slow
def test_beat_and_a_worker_of_other_queues_are_not_the_worker(web: WebServer) -> None:
    assert worker_results(web, calls=3) == ({"NoWorker"}, {"Warning: NoWorker"})
    assert web.get(FULL).status == 200
    assert web.get("/health/").json["checks"]["beat"] == {"status": "healthy"}
