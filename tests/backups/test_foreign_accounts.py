"""Rights in a project with its own user model: other columns, other tables, no superusers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backups.postgresql import support

ROOT = Path(__file__).parents[2]
SETTINGS = """
import dj_database_url, os
from pathlib import Path
SECRET_KEY = "a secret of this project"
DATABASES = {"default": dj_database_url.parse(os.environ["PEOPLE"])}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "people", "ops"]
AUTH_USER_MODEL = "people.Member"
OPS_RIGHTS_FIELDS = ["level"]
STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
BACKUP_DIR = Path("backups")
ROOT_URLCONF = "ops.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
MODELS = """
import uuid
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import Permission
from django.db import models

class Role(models.Model):
    title = models.CharField(max_length=20)
    allows = models.ManyToManyField(Permission, db_table="role_allows")

class Person(models.Model):
    uid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    login = models.CharField(max_length=50, unique=True, db_column="Sign In")

class Member(Person, AbstractBaseUser):
    is_active = models.BooleanField(default=True, db_column="enabled")
    is_admin = models.BooleanField("chief", default=False)
    level = models.CharField(max_length=10, blank=True)
    roles = models.ManyToManyField(Role, through="Holds")
    USERNAME_FIELD = "login"
    objects = BaseUserManager()

    class Meta:
        db_table = "Our Members"

class Holds(models.Model):
    since = models.DateField(auto_now_add=True)
    holder = models.ForeignKey(Member, models.CASCADE, db_column="who")
    role = models.ForeignKey(Role, models.CASCADE, db_column="what")
"""
STORY = """
import contextlib, io, json
from unittest import mock
import django
from django.core.management import call_command
django.setup()
call_command("makemigrations", "people", verbosity=0)
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection, models
from ops.backups.preview import preview_restore
from ops.backups.rights import accounts
from ops.models import Backup
from ops.operations import find_source
from ops.runs.context import get_context
from ops.utils.schema import to_json
from people.models import Holds, Person, Role
Member = get_user_model()
chief = Member.objects.create(login="chief", is_admin=True, password="one")
plain = Member.objects.create(login="plain", level="gold", password="one")
worker = Member.objects.create(login="worker", password="one")
away = Member.objects.create(login="away", password="one")
Person.objects.create(login="no member")
role = Role.objects.create(title="keepers")
role.allows.set(Permission.objects.filter(codename__in=["add_role", "delete_role"]))
Holds.objects.create(holder=worker, role=role)
call_command("backup_database", stdout=io.StringIO())
made = Backup.objects.get().name
Member.objects.filter(login="chief").update(is_admin=False)
Member.objects.filter(login="plain").update(level="tin", password="two")
Member.objects.filter(login="away").update(is_active=False)
# A permission that stays gets another number.
add = Permission.objects.get(codename="add_role")
add.delete()
role.allows.set([Permission.objects.create(codename="add_role", name="again", content_type=add.content_type)])

def rights():
    # What the preview of a restore says.
    context = get_context()
    return to_json(preview_restore(engine=context.engine, source=find_source(context, name=made)).rights)

output = io.StringIO()
with contextlib.redirect_stdout(output):
    call_command("restore_database", made, "--yes", "--json", "--no-pre-backup")
connection.close()
assert Member.objects.filter(login="chief", is_admin=True).exists()
answer = {"as it is": json.loads(output.getvalue())["rights"]}
with mock.patch.object(accounts, "MAX_ROWS", 3):
    answer["many rows"] = rights()
models.BooleanField(default=False).contribute_to_class(Member, "is_new")
answer["new column"] = rights()
print("ANSWER", json.dumps(answer))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/people.db"
        return
    name = support.new_name()
    yield support.create(name).url
    support.drop(name)


@pytest.fixture
def rights(tmp_path: Path, address: str) -> Any:
    """The rights in the preview of a restore, and of two that would follow."""
    (tmp_path / "people").mkdir()
    (tmp_path / "people/__init__.py").touch()
    (tmp_path / "people/models.py").write_text(MODELS)
    (tmp_path / "settings.py").write_text(SETTINGS)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY],
        cwd=tmp_path,
        env=environment | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{tmp_path}:{ROOT}", "PEOPLE": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("ANSWER ")[2])


def reason(cause: str, subject: str = "", *permissions: str) -> dict[str, Any]:
    return {"cause": cause, "subject": subject, "permissions": list(permissions)}


def test_rights_of_any_user_model_are_found_or_named_as_unknown(rights: Any) -> None:
    assert rights["as it is"] == {
        "raised": [
            {"name": "chief", "reasons": [reason("mark", "chief")], "active": True},
            {"name": "plain", "reasons": [reason("mark", "level gold")], "active": True},
            {
                "name": "worker",
                "reasons": [reason("its group has more permissions", "role 1", "people.delete_role")],
                "active": True,
            },
        ],
        "revived": [{"name": "away", "reasons": [], "active": True}],
        "returning": [],
        "passwords": ["plain"],
        "removed": [],
        "replaced": [],
        "unknown": "",
    }
    many, new = rights["many rows"]["unknown"], rights["new column"]["unknown"]
    assert many.startswith("The permissions could not be compared: the ")
    assert "has more than 3 rows in the table " in many
    assert new == (
        "The permissions could not be compared: the backup has no table Our Members, or not all of its columns."
    )
