"""In maintenance mode writes are answered with 503 and the reason; the mode is kept in Redis and in a file."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.test import AsyncClient, Client

from ops import maintenance
from ops.errors import PreconditionFailed
from ops.maintenance import MaintenanceMode, MaintenanceState, maintenance_mode, mode_from_settings
from ops.utils import clock
from tests.support import forked
from tests.support.backend import eventually
from tests.support.postgres import free_port
from tests.support.redis import RedisServer

REASON = "A backup of yesterday is being restored."


@pytest.fixture(autouse=True)
def backup_dir(settings: Any, tmp_path: Path) -> Path:
    settings.BACKUP_DIR = tmp_path / "backups"
    return tmp_path / "backups"


@pytest.fixture(params=["file", "redis"])
def mode(request: pytest.FixtureRequest, settings: Any, redis_server: RedisServer) -> MaintenanceMode:
    settings.REDIS_URL = redis_server.url() if request.param == "redis" else ""
    return mode_from_settings()


def test_write_without_maintenance_mode_reaches_its_view(client: Client, mode: MaintenanceMode) -> None:
    assert mode.read() is None
    assert client.post("/nowhere/").status_code == 404


def test_write_in_maintenance_mode_gets_a_page_without_the_database(client: Client, mode: MaintenanceMode) -> None:
    with maintenance_mode(mode=mode, reason=REASON):
        response = client.post("/admin/login/", headers={"referer": "http://testserver/admin/login/?next=/admin/"})
    assert (response.status_code, response["Retry-After"]) == (503, "10")
    assert "no-store" in response["Cache-Control"]
    page = response.content.decode()
    assert f'<p class="reason">{REASON}</p>' in page
    assert '<meta http-equiv="refresh" content="10; url=/admin/login/?next=/admin/">' in page
    assert "<time datetime=" in page
    assert "http://" not in page
    assert "https://" not in page
    assert client.post("/nowhere/").status_code == 404


@pytest.mark.parametrize(
    "referer",
    [
        "https://elsewhere.example/",
        "http://testserver//elsewhere.example/",
        "http://testserver///elsewhere.example/",
        "http://testserver//elsewhere.example",
        "http://testserver/\\elsewhere.example/",
        "http://testserver\\@elsewhere.example/",
        "http://testserver@elsewhere.example/",
        "http://testserver:80@elsewhere.example/",
        "http://elsewhere.example/#http://testserver/",
        "//elsewhere.example/",
        "//testserver//elsewhere.example/",
        "javascript://elsewhere.example/%0Aalert(1)",
        "javascript:alert(1)//testserver/",
        "http://[broken/",
        "testserver",
        "",
    ],
)
def test_page_never_links_to_another_site(client: Client, mode: MaintenanceMode, referer: str) -> None:
    with maintenance_mode(mode=mode, reason=REASON):
        page = client.post("/nowhere/", headers={"referer": referer}).content.decode()
    assert '<meta http-equiv="refresh" content="10; url=/">' in page
    assert '<a class="button" href="/">' in page


def test_write_that_accepts_json_gets_json(client: Client, mode: MaintenanceMode) -> None:
    with maintenance_mode(mode=mode, reason=REASON):
        response = client.delete("/nowhere/", headers={"accept": "application/json"})
        state = mode.read()
    assert state
    assert (response.status_code, response["Retry-After"]) == (503, "10")
    assert response.json() == {
        "status": "maintenance",
        "reason": REASON,
        "since": state.since.isoformat(),
        "retry_after": 10,
    }


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_request_that_only_reads_does_not_read_the_mode(
    client: Client, mode: MaintenanceMode, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with maintenance_mode(mode=mode, reason=REASON), monkeypatch.context() as patched:
        patched.setattr(MaintenanceMode, "read", None)
        assert getattr(client, method)("/nowhere/").status_code == 404


async def post_and_get(client: AsyncClient) -> tuple[int, int]:
    return (await client.post("/nowhere/")).status_code, (await client.get("/nowhere/")).status_code


def test_asynchronous_middleware_blocks_writes(mode: MaintenanceMode) -> None:
    with maintenance_mode(mode=mode, reason=REASON):
        assert asyncio.run(post_and_get(AsyncClient())) == (503, 404)


def test_mode_is_renewed_while_its_holder_runs(mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "LIFETIME", 1)
    monkeypatch.setattr(maintenance, "RENEW_INTERVAL", 0.3)
    with maintenance_mode(mode=mode, reason=REASON):
        time.sleep(1.6)
        assert mode.read() is not None
    assert mode.read() is None


def test_mode_of_a_killed_holder_expires(mode: MaintenanceMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "LIFETIME", 1)
    mode.enable(MaintenanceState(reason=REASON, since=clock.now()))
    assert mode.read() is not None
    eventually(lambda: mode.read() is None, within=3)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"until": "soon"}', '{"until": 9e9}', "\udcff"])
def test_malformed_mode_counts_as_disabled(mode: MaintenanceMode, text: str) -> None:
    assert mode.path
    mode.path.parent.mkdir()
    mode.path.write_bytes(text.encode(errors="surrogateescape"))
    if mode.redis_url:
        with redis.Redis.from_url(mode.redis_url) as client:
            client.set(mode.key, text.encode(errors="surrogateescape"), ex=2)
    assert mode.read() is None
    mode.disable()


def test_mode_with_frozen_redis_is_read_from_the_file(
    client: Client, settings: Any, redis_server: RedisServer, backup_dir: Path
) -> None:
    settings.REDIS_URL = redis_server.url()
    with maintenance_mode(reason=REASON):
        redis_server.freeze()
        try:
            start = time.monotonic()
            assert client.post("/nowhere/").status_code == 503
            assert time.monotonic() - start < 1
            (backup_dir / ".maintenance").unlink()
            assert client.post("/nowhere/").status_code == 404
        finally:
            redis_server.thaw()
        assert client.post("/nowhere/").status_code == 503
    assert client.post("/nowhere/").status_code == 404


def test_mode_that_cannot_be_stored_is_refused(backup_dir: Path) -> None:
    backup_dir.write_text("a file where the folder should be")
    mode = MaintenanceMode(redis_url=f"redis://127.0.0.1:{free_port()}/0", key="key", path=backup_dir / ".maintenance")
    with pytest.raises(PreconditionFailed) as refusal, maintenance_mode(mode=mode, reason=REASON):
        pytest.fail("The block must not run.")
    assert refusal.value.message == (
        "Maintenance mode could not be enabled: Redis does not answer (ConnectionError) and"
        f" {mode.path} cannot be written (File exists)."
    )
    nowhere = MaintenanceMode(redis_url="", key="key", path=None)
    with pytest.raises(PreconditionFailed, match="there is no Redis and there is no directory for a file"):
        nowhere.enable(MaintenanceState(reason=REASON, since=clock.now()))
    assert nowhere.read() is None


@pytest.mark.django_db(transaction=True)
def test_health_endpoint_reports_maintenance_with_its_reason_for_staff(client: Client, mode: MaintenanceMode) -> None:
    staff = Client()
    staff.force_login(get_user_model().objects.create_user("staff@example.org", is_staff=True))
    with maintenance_mode(mode=mode, reason=REASON):
        public, full = client.get("/health/"), staff.get("/health/")
        ready = client.get("/health/ready/")
    assert (public.status_code, public.json()["status"]) == (200, "maintenance")
    assert public.json()["checks"]["maintenance"] == {"status": "maintenance", "error": "Maintenance"}
    detail = full.json()["checks"]["maintenance"]["detail"]
    assert detail.startswith(f"{REASON} Since ")
    assert detail.endswith(" UTC writes are answered with 503.")
    assert ready.status_code == 200
    assert client.get("/health/").json()["checks"]["maintenance"] == {"status": "healthy"}


def test_check_database_in_maintenance_mode_exits_with_4(migrated: Path, tmp_path: Path) -> None:
    database = shutil.copy(migrated / "homerack.db", tmp_path)
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{database}", "REDIS_URL": ""}

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.run(["manage.py", *arguments], env=environment)

    with maintenance_mode(
        mode=MaintenanceMode(redis_url="", key="", path=Path(f"{database}.ops-maintenance")), reason=REASON
    ):
        document, table = manage("check_database", "--json"), manage("check_database")
    assert (document.returncode, json.loads(document.stdout)["status"]) == (4, "maintenance")
    assert "A backup of yesterday" in table.stdout
    assert manage("check_database").returncode == 0
