"""Writes are answered with a page that says why, and health says so, wherever the sign hangs and whatever is broken."""

import asyncio
import json
import os
import subprocess
import sys
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
from tests.support.backend import eventually
from tests.support.postgres import free_port
from tests.support.redis import RedisServer
from tests.support.web import ROOT

REASON = "A backup of yesterday is being restored."


@pytest.fixture(autouse=True)
def backup_dir(settings: Any, tmp_path: Path) -> Path:
    settings.BACKUP_DIR = tmp_path / "backups"
    return tmp_path / "backups"


@pytest.fixture(params=["file", "redis"])
def sign(request: pytest.FixtureRequest, settings: Any, redis_server: RedisServer) -> MaintenanceMode:
    settings.REDIS_URL = redis_server.url() if request.param == "redis" else ""
    return mode_from_settings()


def test_nothing_is_held_back_without_a_sign(client: Client, sign: MaintenanceMode) -> None:
    assert sign.read() is None
    assert client.post("/nowhere/").status_code == 404


def test_a_write_is_answered_with_a_page_that_needs_no_database(client: Client, sign: MaintenanceMode) -> None:
    with maintenance_mode(mode=sign, reason=REASON):
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
def test_the_page_leads_nowhere_else(client: Client, sign: MaintenanceMode, referer: str) -> None:
    with maintenance_mode(mode=sign, reason=REASON):
        page = client.post("/nowhere/", headers={"referer": referer}).content.decode()
    assert '<meta http-equiv="refresh" content="10; url=/">' in page
    assert '<a href="/">' in page


def test_a_program_gets_json(client: Client, sign: MaintenanceMode) -> None:
    with maintenance_mode(mode=sign, reason=REASON):
        response = client.delete("/nowhere/", headers={"accept": "application/json"})
        notice = sign.read()
    assert notice
    assert (response.status_code, response["Retry-After"]) == (503, "10")
    assert response.json() == {
        "status": "maintenance",
        "reason": REASON,
        "since": notice.since.isoformat(),
        "retry_after": 10,
    }


@pytest.mark.parametrize("method", ["get", "head", "options"])
def test_reading_costs_nothing(
    client: Client, sign: MaintenanceMode, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with maintenance_mode(mode=sign, reason=REASON), monkeypatch.context() as patched:
        patched.setattr(MaintenanceMode, "read", None)
        assert getattr(client, method)("/nowhere/").status_code == 404


async def ask_both(client: AsyncClient) -> tuple[int, int]:
    return (await client.post("/nowhere/")).status_code, (await client.get("/nowhere/")).status_code


def test_asynchronous_servers_hold_back_as_well(sign: MaintenanceMode) -> None:
    with maintenance_mode(mode=sign, reason=REASON):
        assert asyncio.run(ask_both(AsyncClient())) == (503, 404)


def test_the_sign_is_renewed_while_its_holder_lives(sign: MaintenanceMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "LIFETIME", 1)
    monkeypatch.setattr(maintenance, "RENEW_INTERVAL", 0.3)
    with maintenance_mode(mode=sign, reason=REASON):
        time.sleep(1.6)
        assert sign.read() is not None
    assert sign.read() is None


def test_the_sign_of_a_killed_holder_falls_off(sign: MaintenanceMode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "LIFETIME", 1)
    sign.enable(MaintenanceState(reason=REASON, since=maintenance.timezone.now()))
    assert sign.read() is not None
    eventually(lambda: sign.read() is None, within=3)


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"until": "soon"}', '{"until": 9e9}', "\udcff"])
def test_a_sign_that_can_not_be_read_is_none(sign: MaintenanceMode, text: str) -> None:
    assert sign.path
    sign.path.parent.mkdir()
    sign.path.write_bytes(text.encode(errors="surrogateescape"))
    if sign.redis_url:
        with redis.Redis.from_url(sign.redis_url) as client:
            client.set(sign.key, text.encode(errors="surrogateescape"), ex=2)
    assert sign.read() is None
    sign.disable()


def test_a_redis_that_is_down_closes_no_site_and_opens_none(
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


def test_a_sign_that_nobody_would_see_is_refused(backup_dir: Path) -> None:
    backup_dir.write_text("a file where the folder should be")
    sign = MaintenanceMode(redis_url=f"redis://127.0.0.1:{free_port()}/0", key="key", path=backup_dir / ".maintenance")
    with pytest.raises(PreconditionFailed) as refusal, maintenance_mode(mode=sign, reason=REASON):
        pytest.fail("Nobody knows.")
    assert refusal.value.message == (
        "Maintenance mode could not be enabled: Redis does not answer (ConnectionError) and"
        f" {sign.path} cannot be written (File exists)."
    )
    nowhere = MaintenanceMode(redis_url="", key="key", path=None)
    with pytest.raises(PreconditionFailed, match="there is no Redis and there is no directory for a file"):
        nowhere.enable(MaintenanceState(reason=REASON, since=maintenance.timezone.now()))
    assert nowhere.read() is None


@pytest.mark.django_db(transaction=True)
def test_health_says_so_and_tells_staff_why(client: Client, sign: MaintenanceMode) -> None:
    staff = Client()
    staff.force_login(get_user_model().objects.create_user("staff@example.org", is_staff=True))
    with maintenance_mode(mode=sign, reason=REASON):
        public, full = client.get("/health/"), staff.get("/health/")
        ready = client.get("/health/ready/")
    assert (public.status_code, public.json()["status"]) == (200, "maintenance")
    assert public.json()["checks"]["maintenance"] == {"status": "maintenance", "error": "Maintenance"}
    detail = full.json()["checks"]["maintenance"]["detail"]
    assert detail.startswith(f"{REASON} Since ")
    assert detail.endswith(" UTC writes are answered with 503.")
    assert ready.status_code == 200
    assert client.get("/health/").json()["checks"]["maintenance"] == {"status": "healthy"}


def test_check_database_says_so(tmp_path: Path) -> None:
    database = tmp_path / "lab.db"
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{database}", "REDIS_URL": ""}

    def manage(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    assert manage("migrate", "--verbosity", "0").returncode == 0
    with maintenance_mode(
        mode=MaintenanceMode(redis_url="", key="", path=Path(f"{database}.ops-maintenance")), reason=REASON
    ):
        told, shown = manage("check_database", "--json"), manage("check_database")
    assert (told.returncode, json.loads(told.stdout)["status"]) == (4, "maintenance")
    assert "A backup of yesterday" in shown.stdout
    assert manage("check_database").returncode == 0
