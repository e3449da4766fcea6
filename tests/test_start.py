"""What processes import at their start: commands are no web server and no worker."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = (
    "apprise",
    "boto3",
    "botocore",
    "celery.app.amqp",
    "cryptography",
    "dns",
    "health_check",
    "homerack.accounts.admin",
    "homerack.inventory.admin",
    "homerack.urls",
    "httpx",
    "isal",
    "kombu.transport.redis",
    "msgspec",
    "ops.admin",
    "ops.backups",
    "ops.engine_migration",
    "ops.health",
    "ops.notifications",
    "ops.operations",
    "ops.runs",
    "ops.tasks",
    "paramiko",
    "pyrage",
    "redis",
    "requests",
    "rich",
    "segno",
    "sqlalchemy",
    "storages",
    "unfold.admin",
)
SETUP = """
import json, sys
import homerack.settings
import django
django.setup()
heavy = set(json.loads(sys.argv[1]))
found = {}
def note(what):
    if new := heavy & set(sys.modules):
        found[what] = sorted(new)
        heavy.difference_update(new)
note("django.setup()")
"""
HELP = """
from django.core.management import get_commands, load_command_class
for name, app in sorted(get_commands().items()):
    load_command_class(app, name).create_parser("manage.py", name).format_help()
    note(name)
found["commands"] = len(get_commands())
"""
WITH_CHECKS = """
from django.contrib import admin
from django.core.checks import run_checks
registered = len(admin.site._registry)
found = {"before": registered, "messages": [message.id for message in run_checks(tags=["admin"])]}
found["after"] = len(admin.site._registry)
"""
SERVER = """
import homerack.wsgi
from django.contrib import admin
found = {"classes": len(admin.site._registry), "pool": "sqlalchemy" in sys.modules}
"""
END = "print(json.dumps(found))"


@pytest.fixture(params=["postgresql", "sqlite"])
def environment(request: pytest.FixtureRequest) -> dict[str, str]:
    """No database is connected to."""
    url = "postgres://nobody@127.0.0.1:9/nothing" if request.param == "postgresql" else "sqlite://:memory:"
    return os.environ | {"DJANGO_SETTINGS_MODULE": "homerack.settings", "DATABASE_URL": url, "REDIS_URL": "redis://:9"}


def run(environment: dict[str, str], *parts: str) -> dict[str, Any]:
    """What a program of these `parts` has found."""
    code = "".join((SETUP, *parts, END))
    arguments = (sys.executable, "-c", code, json.dumps(HEAVY))
    ran = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_setup_and_the_help_of_each_command_import_nothing_heavy(environment: dict[str, str]) -> None:
    found = run(environment, HELP)
    assert found.pop("commands") > 40
    assert found == {}


def test_checks_see_the_classes_of_the_admin_that_no_command_imports(environment: dict[str, str]) -> None:
    found = run(environment, WITH_CHECKS)
    assert found["before"] == 0
    assert found["after"] > 10
    assert found["messages"] == []


def test_server_imports_all_pages_and_the_pool_before_it_forks(environment: dict[str, str]) -> None:
    found = run(environment, SERVER)
    assert found["classes"] > 10
    assert found["pool"] == environment["DATABASE_URL"].startswith("postgres")
