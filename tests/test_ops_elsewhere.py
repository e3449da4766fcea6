"""docs/ops-in-your-project.md: a project that is made of its code blocks works, and its tables name what there is."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import tasks
from ops.backups import table_policy
from tests.backups.postgresql import support

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/ops-in-your-project.md").read_text()
SETTINGS, BEAT, EXCLUDED, UNTRUSTED = re.findall(r"```python\n# settings\.py\n(.*?)```", TEXT, re.DOTALL)
(URLS,) = re.findall(r"```python\n# urls\.py\n(.*?)```", TEXT, re.DOTALL)
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
REST = """
import dj_database_url, os
SECRET_KEY = "a secret of this project"
DATABASES = {"default": dj_database_url.parse(os.environ["SHOP"])}
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["localhost"]
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None
"""
MODELS = """
from django.db import models

class Item(models.Model):
    name = models.CharField(max_length=50)

class Cart(models.Model):
    item = models.ForeignKey(Item, models.CASCADE)

class ApiKey(models.Model):
    key = models.CharField(max_length=50)

class Webhook(models.Model):
    url = models.URLField()
"""
STORY = """
import sys
import django
from django.core.management import call_command
django.setup()
call_command("makemigrations", "shop", verbosity=0)
from django.db import connection
with connection.cursor() as cursor:
    if connection.vendor == "postgresql":
        cursor.execute("CREATE SCHEMA audit")
    name = "audit.requests" if connection.vendor == "postgresql" else '"audit.requests"'
    cursor.execute(f"CREATE TABLE {name} (line text)")
    cursor.execute(f"INSERT INTO {name} VALUES ('10.0.0.1')")
for line in sys.argv[1].strip().splitlines():
    call_command(*line.split()[1:])

from django.contrib.auth.models import User
from django.test import Client
from ops.models import Backup, Run
from shop.models import Cart, Item
administrator = User.objects.create_superuser("ada", password="secret")
client = Client(SERVER_NAME="localhost")
client.force_login(administrator)
Cart.objects.create(item=Item.objects.create(name="kept"))
call_command("backup_database")
Item.objects.create(name="later")
newest = Backup.objects.first()
backup = f"/admin/ops/backup/{newest.pk}/"
for url in ("/admin/", "/admin/ops/backup/", f"{backup}change/", f"{backup}restore/", "/health/ready/"):
    answer = client.get(url, follow=True)
    assert answer.status_code == 200, (url, answer.status_code)
    if url.endswith("/restore/"):
        page = answer.content.decode()
call_command("restore_database", "--latest", "--yes")
connection.close()  # PostgreSQL has ended it
assert list(Item.objects.values_list("name", flat=True)) == ["kept"]
assert client.get("/admin/").status_code == 302
assert Run.objects.filter(status="succeeded").count() == 3
print("LEFT OUT", sorted(entry["table"] for entry in newest.manifest["excluded"]))
print("CARTS", Cart.objects.count(), "disappear" if "later" in page else "")
print("PREVIEW", "Backups do not include carts: the table is empty afterwards (1 row now)." in page)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/shop.db"
        return
    name = support.new_name()
    yield support.create(name).url
    support.drop(name)


def run(folder: Path, address: str, settings: str) -> str:
    """The output of the story in a project with these settings."""
    (folder / "shop").mkdir()
    (folder / "shop/__init__.py").touch()
    (folder / "shop/models.py").write_text(MODELS)
    (folder / "settings.py").write_text(settings + REST)
    (folder / "urls.py").write_text(URLS)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY, COMMANDS],
        cwd=folder,
        env=environment | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{folder}:{ROOT}", "SHOP": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_project_made_of_the_code_blocks_works(tmp_path: Path) -> None:
    said = run(tmp_path, f"sqlite:///{tmp_path}/shop.db", SETTINGS)
    assert "LEFT OUT ['django_session']" in said
    assert "CARTS 1" in said


def test_so_does_one_with_schedules_and_tables_of_its_own(tmp_path: Path, address: str) -> None:
    beat = BEAT + 'INSTALLED_APPS.append("django_celery_beat")\n'
    said = run(tmp_path, address, SETTINGS + beat + EXCLUDED + UNTRUSTED)
    assert "LEFT OUT ['audit.requests', 'django_session', 'shop_cart']" in said
    assert "CARTS 0" in said
    assert "PREVIEW True" in said
    assert "W003" not in said


def test_every_table_of_the_policy_is_named() -> None:
    left_out, untrusted = TEXT.split("**Not in backups.**")[1].split("**Never from untrusted files.**")
    assert (
        set(re.findall(r"`([a-z]+_[a-z_]+)`", left_out.split("Name your own")[0]))
        == table_policy.excluded_from_backups()
    )
    named = re.findall(r"`([a-z_0-9]+…?)`", untrusted)
    for table in table_policy.never_from_untrusted_files() - table_policy.excluded_from_backups():
        assert "all tables of django-celery-beat" in untrusted
        assert table in table_policy.SCHEDULES or any(re.fullmatch(name.replace("…", ".*"), table) for name in named), (
            table
        )


def test_every_task_is_named_with_the_hour_at_which_it_starts() -> None:
    from homerack.migrations import __path__ as folder  # noqa: PLC0415

    schedules = (Path(folder[0]) / "0001_release.py").read_text()
    for name, when in re.findall(r"\| `ops\.tasks\.(\w+)` \|[^|]*\| ([^|]*) \|", TEXT):
        assert hasattr(tasks, name)
        (found,) = re.findall(rf'"ops\.tasks\.{name}"[^(]*(\("\d+", "\d+", "."\))?', schedules)
        minute, hour, day = re.findall(r'"(.+?)"', found) if found else ("", "", "")
        expected = f"{'daily' if day == '*' else 'Sundays'}, {hour:0>2}:{minute:0>2}" if found else "every 5 minutes"
        assert when == expected


def test_every_setting_is_read() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "ops").glob("**/*.py"))
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `")]
    names = [name for row in rows for name in re.findall(r"`([A-Z_]{4,})`", row)]
    assert len(names) > 10
    assert [name for name in names if not re.search(rf"\b{name}\b", sources)] == []
