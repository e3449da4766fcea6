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
STORAGES = {
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "backups": {"BACKEND": "ops.backups.storage.local.PrivateFileSystemStorage", "OPTIONS": {"location": "backups"}},
}
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
import io, json, sys
import django
from django.core.management import call_command
django.setup()
call_command("makemigrations", "people", verbosity=0)
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
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
Member.objects.filter(login="chief").update(is_admin=False)
Member.objects.filter(login="plain").update(level="tin", password="two")
Member.objects.filter(login="away").update(is_active=False)
# A permission that stays gets another number.
add = Permission.objects.get(codename="add_role")
add.delete()
role.allows.set([Permission.objects.create(codename="add_role", name="again", content_type=add.content_type)])
exec(sys.argv[1])
output = io.StringIO()
sys.stdout = output
call_command("restore_database", "--latest", "--yes", "--json")
sys.stdout = sys.__stdout__
connection.close()
assert Member.objects.filter(login="chief", is_admin=True).exists()
print("ANSWER", output.getvalue())
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/people.db"
        return
    name = support.new_name()
    yield support.create(name).url
    support.drop(name)


def rights(folder: Path, address: str, change: str = "") -> Any:
    """The rights in the preview, after a `change` to the live database."""
    (folder / "people").mkdir()
    (folder / "people/__init__.py").touch()
    (folder / "people/models.py").write_text(MODELS)
    (folder / "settings.py").write_text(SETTINGS)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STORY, change],
        cwd=folder,
        env=environment | {"DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": f"{folder}:{ROOT}", "PEOPLE": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("ANSWER ")[2])["rights"]


def reason(cause: str, subject: str = "", *permissions: str) -> dict[str, Any]:
    return {"cause": cause, "subject": subject, "permissions": list(permissions)}


def test_layout_of_any_user_model_finds_its_rights(tmp_path: Path, address: str) -> None:
    assert rights(tmp_path, address) == {
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


def test_table_with_too_many_rows_is_not_compared(tmp_path: Path, address: str) -> None:
    found = rights(tmp_path, address, "from ops.backups.rights import accounts; accounts.MAX_ROWS = 3")
    assert found["unknown"].startswith("The permissions could not be compared: the ")
    assert "has more than 3 rows in the table " in found["unknown"]


def test_backup_without_a_column_is_not_compared(tmp_path: Path, address: str) -> None:
    change = """
from django.db import models
field = models.BooleanField(default=False)
field.contribute_to_class(Member, "is_new")
"""
    found = rights(tmp_path, address, change)
    assert found["unknown"] == (
        "The permissions could not be compared: the backup has no table Our Members, or not all of its columns."
    )
