"""docs/ops-in-your-project.md: a project built from its code blocks works, and its tables are complete."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ops import tasks
from ops.backups import table_policy
from ops.schedules.builtin import BUILT_IN, describe
from tests.backups.postgresql import support

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/ops-in-your-project.md").read_text()
BLOCKS = re.findall(r"```(?:python|html)\n(?:# |<!-- )(\S+)(?: -->)?\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[0]
REST = """
import dj_database_url, os
SECRET_KEY = "a secret of this project"
BACKUP_SIGNING_KEY = "another one"
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
import json, sys
import django
from django.core.management import CommandError, call_command
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

def names():
    connection.close()  # PostgreSQL has ended it
    return list(Item.objects.order_by("pk").values_list("name", flat=True))

administrator = User.objects.create_superuser("ada")
client = Client(SERVER_NAME="localhost")
client.force_login(administrator)
Cart.objects.create(item=Item.objects.create(name="kept"))
call_command("backup_database")
Item.objects.create(name="later")
newest = Backup.objects.first()
backup = f"/admin/ops/backup/{newest.pk}/"
pages = {}
schedules = "/admin/ops/run/schedules/"
for url in ("/admin/", "/admin/ops/backup/", f"{backup}change/", f"{backup}restore/", schedules, "/health/ready/"):
    answer = client.get(url, follow=True)
    assert answer.status_code == 200, (url, answer.status_code)
    pages[url] = answer.content.decode()
call_command("restore_database", "--latest", "--yes")
restored = names()
assert client.get("/admin/").status_code == 302
carts = Cart.objects.count()
call_command("undo_restore", "--yes")
try:
    call_command("migrate_to_postgres", "--dry-run")
    refusal = ""
except CommandError as error:
    refusal = str(error)
result = {
    "restored": restored,
    "undone": names(),
    "runs": sorted(Run.objects.filter(status="succeeded").values_list("kind", flat=True)),
    "excluded": sorted(entry["table"] for entry in newest.manifest["excluded"]),
    "carts": carts,
    "dashboard": "Backed up" in pages["/admin/"],
    "preview": pages[f"{backup}restore/"],
    "schedules": pages[schedules],
    "refusal": refusal,
}
"""
WITHOUT = """
from django.core.checks import run_checks
from django.conf import global_settings, settings
from django.test import override_settings

def reported(**changes):
    with override_settings(**changes):
        for name, value in changes.items():
            if value is None:
                if hasattr(global_settings, name):
                    setattr(settings, name, getattr(global_settings, name))
                else:
                    delattr(settings, name)
        if celery := sys.modules.get("shop.celery"):
            celery.app.config_from_object("django.conf:settings", namespace="CELERY", force=True)
        return [f"{found.id} {found.msg} {found.hint}" for found in run_checks()]

def without(setting, item):
    value = getattr(settings, setting)
    return [each for each in value if each != item] if isinstance(value, list) else {
        key: value[key] for key in value if key != item}

cases = json.loads(sys.argv[2])
result["nothing"] = reported()
result["without"] = {
    " ".join(case): reported(**{case[0]: without(*case) if len(case) > 1 else None}) for case in cases}
result["relative"] = reported(BACKUP_DIR="backups")
"""
REQUIRED = {
    "INSTALLED_APPS unfold": "ops.E004",
    "INSTALLED_APPS django.contrib.admin": "ops.E004",
    "MIDDLEWARE ops.maintenance.maintenance_middleware": "ops.E005",
    "MIDDLEWARE": "ops.E005",
    "TEMPLATES": "admin.E403",
    "BACKUP_DIR": "ops.E008",
    "UNFOLD": "ops.W011",
    "UNFOLD STYLES": "ops.W011",
    "UNFOLD SCRIPTS": "ops.W011",
    "BACKUP_SIGNING_KEY": "ops.W016",
    "REDIS_URL": "ops.E012",
    "OPS_CELERY_APP": "ops.W013",
    "CELERY_BROKER_URL": "ops.E012",
    "CELERY_BEAT_SCHEDULER": "ops.E012",
}
"""What is left out of the settings, and the check that names it."""


@pytest.fixture
def postgresql() -> Iterator[str]:
    name = support.new_name()
    yield support.create(name).url
    support.drop(name)


def run(folder: Path, address: str, blocks: list[tuple[str, str]], story: str) -> tuple[dict[str, object], str]:
    """The result and the output of `story` in a project with these files."""
    for name, content in [("shop/models.py", MODELS), *blocks, ("settings.py", REST)]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(content)
    (folder / "shop/__init__.py").touch()
    environment = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "POSTGRES_URL"}}
    cases = [name.split() for name in REQUIRED]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{story}\nprint(json.dumps(result))", COMMANDS, json.dumps(cases)],
        cwd=folder,
        env=environment | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{folder}:{ROOT}", "SHOP": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result, done.stdout + done.stderr


@pytest.mark.slow
def test_project_with_required_blocks_backs_up_restores_and_undoes(tmp_path: Path) -> None:
    settings, urls = BLOCKS[:2]
    as_string = ("settings.py", settings[1].replace('BASE_DIR / "backups"', 'str(BASE_DIR / "backups")'))
    assert as_string != settings
    without_zones = ("settings.py", 'USE_TZ = False\nTIME_ZONE = "Asia/Kathmandu"\n')
    result, _output = run(tmp_path, f"sqlite:///{tmp_path}/shop.db", [as_string, urls, without_zones], STORY)
    assert result["excluded"] == ["django_session"]
    assert (result["restored"], result["carts"], result["undone"]) == (["kept"], 1, ["kept", "later"])
    assert result["runs"] == ["backup", "backup", "restore", "undo"]
    assert "The site has no worker. Set OPS_CELERY_APP, or run: " in str(result["preview"])
    assert "Nothing starts by schedule: django-celery-beat is not installed." in str(result["schedules"])
    assert result["refusal"] == (
        'No PostgreSQL database: DATABASES["default"] is SQLite, and POSTGRES_URL is not set.\n'
        "Set POSTGRES_URL, for example to postgres://user:password@127.0.0.1:5432/mydatabase"
    )


@pytest.mark.slow
def test_project_with_all_blocks_works_and_reports_each_missing_setting(tmp_path: Path, postgresql: str) -> None:
    result, output = run(tmp_path, postgresql, BLOCKS, STORY + WITHOUT)
    assert result["excluded"] == ["audit.requests", "django_session", "shop_cart"]
    assert (result["restored"], result["carts"], result["undone"]) == (["kept"], 0, ["kept", "later"])
    assert result["dashboard"]
    assert "All carts will be removed (1 row now), because backups do not include them." in str(result["preview"])
    assert "every day at 02:00" in str(result["schedules"]).lower()
    assert "W003" not in output
    assert result["nothing"] == []
    without = result["without"]
    assert isinstance(without, dict)
    for case, reported in without.items():
        named = [line for line in reported if line.startswith(REQUIRED[case]) and all(n in line for n in case.split())]
        assert named, (case, reported)
    assert str(result["relative"]).count("ops.E008 BACKUP_DIR is not an absolute path") == 1


def test_required_settings_cover_the_code_blocks() -> None:
    blocks = "".join(block for file, block in BLOCKS if file == "settings.py")
    names = set(re.findall(r"^([A-Z_]+) =", blocks, re.MULTILINE))
    optional = {"BACKUP_LOCATIONS", "OPS_BACKUP_EXCLUDED_TABLES", "OPS_UNTRUSTED_EXCLUDED_TABLES"}
    assert names - {"BASE_DIR", *optional} <= {case.split()[0] for case in REQUIRED}


@cache
def nodes_of_ops() -> dict[Path, list[ast.AST]]:
    """The syntax of the modules."""
    return {path: [*ast.walk(ast.parse(path.read_text()))] for path in (ROOT / "ops").glob("**/*.py")}


def test_packages_that_ops_imports_are_listed() -> None:
    packages = {"health_check": "django-health-check", "unfold": "django-unfold", "psycopg2": "psycopg2-binary"}
    packages |= {"storages": "django-storages", "botocore": "boto3", "kombu": "celery"}
    known = sys.stdlib_module_names | {"ops", "django", "asgiref"}
    for path, nodes in nodes_of_ops().items():
        for node in nodes:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {module.partition(".")[0] for module in modules} - known:
                assert re.search(rf"\b{packages.get(top, top.replace('_', '-'))}\b", TEXT), (path, top)


def test_messages_of_ops_do_not_name_homerack_or_its_variables() -> None:
    names = re.compile(r"homerack|DATABASE_URL|_DIRECT_URL|PG_BIN|_LIMIT_MB|\.env\b|make run", re.IGNORECASE)
    for path, nodes in nodes_of_ops().items():
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        texts = [
            node.value
            for node in nodes
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        ]
        assert [text for text in texts if names.search(text)] == [], path
    for path in (ROOT / "ops/templates").glob("**/*.html"):
        assert not names.search(path.read_text()), path


def test_tables_of_the_policy_are_listed() -> None:
    left_out, untrusted = TEXT.split("**Not in backups.**")[1].split("**Never from untrusted files.**")
    assert (
        set(re.findall(r"`([a-z]+_[a-z_]+)`", left_out.split("Name your own")[0])) == table_policy.exclusions().keys()
    )
    named = re.findall(r"`([a-z_0-9]+…?)`", untrusted)
    for table in table_policy.never_from_untrusted_files() - table_policy.exclusions().keys():
        assert "all tables of django-celery-beat" in untrusted
        assert table in table_policy.SCHEDULES or any(re.fullmatch(name.replace("…", ".*"), table) for name in named), (
            table
        )


def test_tasks_are_listed_with_their_schedules() -> None:
    listed = dict(re.findall(r"\| `(ops\.tasks\.\w+)` \|[^|]*\| ([^|]*) \|", TEXT))
    defaults = {each.task: describe(each.default) if each.default else "every 5 minutes" for each in BUILT_IN}
    assert listed == defaults
    assert all(hasattr(tasks, name.rpartition(".")[2]) for name in listed)


def test_settings_of_the_table_are_read() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "ops").glob("**/*.py"))
    rows = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `")]
    names = [name for row in rows for name in re.findall(r"`([A-Z_]{4,})`", row)]
    assert len(names) > 10
    assert [name for name in names if not re.search(rf"\b{name}\b", sources)] == []
