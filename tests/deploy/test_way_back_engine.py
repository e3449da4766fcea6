"""The way back to SQLite on a deployed machine. The tests follow each other."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.machine import ROOT, SCRIPT, Machine, skip_reason
from tests.operations.test_restore_under_load import Writer
from tests.support.backend import eventually
from tests.support.web import WebServer

pytestmark = [pytest.mark.deploy, pytest.mark.skipif(bool(skip_reason()), reason=skip_reason())]

ADMINISTRATOR, PASSWORD = "admin@lampadas.local", "changed in PostgreSQL"
CHANGE = f"""
import django
django.setup()
from homerack.accounts.models import User
user = User.objects.get(email="{ADMINISTRATOR}")
user.set_password("{PASSWORD}")
user.save()
"""
ROWS = """
import django
django.setup()
from django.apps import apps
for model in apps.get_models(include_auto_created=True):
    if model._meta.app_label not in {"ops", "sessions"}:
        for row in sorted(map(repr, model._base_manager.values_list())):
            print(model._meta.db_table, row)
"""
"""A program that prints all rows as Python values."""
OF_THE_FILE = {"DJANGO_SETTINGS_MODULE": "homerack.settings", "SECRET_KEY": "another-key-" * 6, "DEBUG": "true"}
"""The settings of HomeRack on the file. Those of the tests cannot check its passwords."""
SITE = ("homerack-front", "homerack-web", "homerack-worker", "homerack-beat")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("way back") / "lab.db"


@pytest.fixture(autouse=True)
def nothing_is_left(deployed: Machine, target: Path) -> Iterator[None]:
    yield
    find = "find /var/lib/homerack -name '*back-to-sqlite*'"
    volumes = ("-v", "homerack-uploads:/var/lib/homerack/uploads", "-v", "homerack-backups:/var/lib/homerack/backups")
    assert deployed.docker("run", "--rm", *volumes, "homerack:current", "sh", "-c", find) == ""
    assert "homerack-to-sqlite" not in deployed.remains()
    assert not [*target.parent.glob("*.partial")]


def are_running(machine: Machine) -> bool:
    return all(machine.inspect(name)["State"]["Running"] for name in SITE)


def rows_of(path: Path, settings: dict[str, str]) -> list[str]:
    """The rows that this HomeRack reads from the file."""
    ended = subprocess.run(
        [sys.executable, "-c", ROWS], cwd=ROOT, env=settings, capture_output=True, text=True, check=True
    )
    assert path.exists()
    return ended.stdout.splitlines()


@pytest.mark.parametrize("after", ["▸ Stop front, web, worker and beat", "▸ Migrate PostgreSQL to a SQLite file"])
def test_interrupted_way_back_starts_the_site_again(deployed: Machine, target: Path, after: str) -> None:
    ended = deployed.interrupt(SCRIPT, "--back-to-sqlite", str(target), after=after)
    assert ended.code == 1
    assert "failed: Interrupted." in ended.text
    assert not target.exists()
    assert are_running(deployed)


def test_value_that_sqlite_cannot_hold_is_listed(deployed: Machine, target: Path) -> None:
    deployed.query("UPDATE accounts_user SET last_login = 'infinity' WHERE email LIKE 'ro@%'")
    ended = deployed.run(SCRIPT, "--back-to-sqlite", str(target))
    deployed.query("UPDATE accounts_user SET last_login = NULL WHERE email LIKE 'ro@%'")
    assert ended.code == 1
    assert "accounts_user.last_login: infinite" in ended.text
    assert f"is healthy. {target} was not written." in ended.text
    assert "accounts_user" in target.with_name("lab.db.findings.csv").read_text()
    assert not target.exists()
    assert are_running(deployed)


def test_rows_of_today_are_in_the_file(deployed: Machine, target: Path) -> None:
    deployed.query("UPDATE devices SET custom_name = custom_name || ' é ✓' WHERE id < 10")
    deployed.query("DELETE FROM connections WHERE id = (SELECT min(id) FROM connections)")
    deployed.docker("exec", "homerack-web", "python", "-c", CHANGE)
    before = deployed.docker("exec", "homerack-web", "python", "-c", ROWS).splitlines()
    ended = deployed.run(SCRIPT, "--back-to-sqlite", str(target))
    assert ended.code == 0, ended.text
    assert not any(deployed.inspect(name)["State"]["Running"] for name in SITE)
    assert target.stat().st_mode & 0o777 == 0o600
    url = re.search(r"echo 'DATABASE_URL=(sqlite:[^']+)' >> .env", ended.text)
    assert url
    after = rows_of(target, OF_THE_FILE | {"DATABASE_URL": url[1], "PYTHONPATH": str(ROOT)})
    assert len(before) > 400
    assert after == before


class Administrator(Writer):
    """A client that signs in as a user who was migrated there and back."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies = {}
        self.post("/admin/login/", username=ADMINISTRATOR, password=PASSWORD, next="/admin/")


def test_migrated_user_signs_in_to_the_file(deployed: Machine, target: Path, tmp_path: Path) -> None:
    own = {"DATABASE_URL": f"sqlite:///{target}", "REDIS_URL": "", "BACKUP_DIR": str(tmp_path / "backups")}
    web = WebServer.start(**OF_THE_FILE, **own)
    try:
        status, _, page = Administrator(web.port).request("GET", "/admin/inventory/device/")
    finally:
        web.stop()
    assert status == 200
    assert " é ✓" in page


def test_second_way_back_to_the_file_is_refused(deployed: Machine, target: Path) -> None:
    ended = deployed.run(SCRIPT, "--back-to-sqlite", str(target))
    assert ended.code == 1
    assert f"✗ {target} exists. Name a new file, or move this one away." in ended.text
    assert "Nothing was changed." in ended.text


def test_printed_command_starts_the_site_on_postgresql(deployed: Machine) -> None:
    deployed.docker("start", "homerack-postgres", "homerack-redis", *SITE)

    def is_healthy() -> bool:
        answer = deployed.curl(f"https://homerack.test:{deployed.https_port}/health/").text
        return answer.startswith("{") and json.loads(answer)["database_type"] == "postgresql"

    eventually(is_healthy, within=60)
    assert deployed.query("SELECT count(*) FROM devices WHERE custom_name LIKE '% é ✓'") == "9"
