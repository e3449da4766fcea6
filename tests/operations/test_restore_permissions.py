"""Users who would get more permissions by a restore or an undo: named before, and compared again at the cut-over."""

import contextlib
import gzip
import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from tests.operations.harness import Lab, first

PASSWORD = "a-password-of-the-tests"
BEFORE = f"""
from django.contrib.auth.models import Group, Permission
from homerack.accounts.models import User
make = User.objects.create_user
User.objects.create_superuser("ada@example.com", "{PASSWORD}")
make("rita@example.com", "{PASSWORD}", is_staff=True).groups.add(Group.objects.get(name="Backup restorers"))
"""
PEOPLE = (
    BEFORE
    + """
User.objects.create_superuser("eve@example.com", "first")
make("carl@example.com", "first")
friends = Group.objects.create(name="Friends")
friends.permissions.add(Permission.objects.get(codename="add_device"))
make("dan@example.com", "first").groups.add(friends)
make("gus@example.com", "first").user_permissions.add(Permission.objects.get(codename="delete_device"))
make("tab\\\\t and \\\\\\\\ slash@example.com", "first", is_staff=True)
"""
)
LESS = """
from django.contrib.auth.models import Group
from homerack.accounts.models import User
User.objects.filter(email="eve@example.com").update(is_superuser=False)
User.objects.filter(email="carl@example.com").update(is_active=False)
Group.objects.get(name="Friends").permissions.clear()
User.objects.get(email="gus@example.com").delete()
User.objects.filter(email__startswith="tab").delete()
zoe = User.objects.get(email="dan@example.com")
zoe.set_password("second")
zoe.save()
"""
MORE = """
from homerack.accounts.models import User
User.objects.filter(email="rita@example.com").update(full_name="Changed")
User.objects.create_superuser("yan@example.com", "first")
"""
NAMED = (
    "eve@example.com: all permissions (superuser)",
    "carl@example.com: no permissions",
    "dan@example.com: 1 permission (inventory.add_device), which the group Friends will get",
    "gus@example.com: 1 permission (inventory.delete_device) granted directly",
    "tab\\t and \\\\ slash@example.com: access to the admin site",
)
VISIT = """
import html, json
from django.conf import settings
from django.test import Client
from homerack.accounts.models import User
from ops import operations, tasks
from ops.models import Run
from ops.runs.context import get_context
settings.OPS_CELERY_APP = "homerack.celery.app"
settings.ALLOWED_HOSTS = ["testserver"]
settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
tasks.execute_run.apply_async = lambda *arguments, **options: None
client = Client()
client.force_login(User.objects.get(email=who))
site = get_context()
from ops.models import Backup
path = f"/admin/ops/backup/{Backup.objects.get(name=name).pk}/restore/" if name else "/admin/ops/backup/undo/"
page = client.get(path)
form = {"database": site.engine.database, "password": password}
posted = client.post(path, form)
print("ANSWER", json.dumps({
    "page": " ".join(html.unescape(page.content.decode()).split()),
    "posted": posted.status_code,
    "queued": Run.objects.filter(status="queued").count(),
}))
Run.objects.filter(status="queued").delete()
"""
RUN = """
from ops import operations
from ops.errors import OpsError
from ops.models import Run
from ops.runs.context import get_context
kind, operation = (Run.Kind.RESTORE, operations.restore) if name else (Run.Kind.UNDO, operations.undo_restore)
arguments = {"name": name} if name else {}
try:
    operation(get_context(), Run(kind=kind, requested_by=who, origin=Run.Origin.ADMIN, arguments=arguments))
    print("ANSWER", '"done"')
except OpsError as error:
    import json
    print("ANSWER", json.dumps(str(error)))
"""
REFUSED = "rita@example.com is not a superuser. Nothing was changed.\nAsk a superuser to start it"


def shell(lab: Lab, script: str, **names: str) -> Any:
    """What the script answers."""
    given = "\n".join(f"{name} = {value!r}" for name, value in {"password": PASSWORD, **names}.items())
    out = lab.run("shell", "-c", f"{given}\n{script}").out
    return json.loads(out.rpartition("ANSWER ")[2]) if "ANSWER " in out else None


@pytest.fixture(params=["postgresql", pytest.param("schema", marks=pytest.mark.slow), "sqlite"])
def lab(request: pytest.FixtureRequest, make_lab: Callable[[str], Lab]) -> Lab:
    return make_lab(request.param)


def confirmable(answer: Any) -> bool:
    """Whether the page offered to confirm, which is what the answer to a confirmation has to fit."""
    offered = 'name="password"' in answer["page"]
    assert ("Only an administrator can confirm this" in answer["page"]) is not offered
    assert (answer["posted"], answer["queued"]) == ((302, 1) if offered else (403, 0))
    return offered


@first("sqlite", "postgresql", "schema")
def test_restore_that_raises_permissions_needs_a_superuser(lab: Lab) -> None:
    shell(lab, PEOPLE)
    name = lab.back_up()
    assert confirmable(shell(lab, VISIT, who="rita@example.com", name=name))
    shell(lab, LESS)
    for who, may in (("rita@example.com", False), ("ada@example.com", True)):
        answer = shell(lab, VISIT, who=who, name=name)
        for words in NAMED:
            assert words in answer["page"].replace("tab and", "tab\\t and"), words
        assert "<b>1 user will get a different password:</b> dan@example.com" in answer["page"]
        assert confirmable(answer) is may


@first("sqlite", "postgresql", "schema")
def test_permissions_are_compared_again_before_the_cut_over(lab: Lab) -> None:
    shell(lab, PEOPLE)
    name = lab.back_up()
    # The page was shown, and confirmed, when nothing would be raised; then rights were lowered.
    shell(lab, LESS)
    before = lab.content()
    error = shell(lab, RUN, who="rita@example.com", name=name)
    assert error.startswith("The restore would give more permissions to dan@example.com, eve@example.com, carl@")
    assert REFUSED in error
    assert lab.content() == before
    assert lab.runs()[-1] == ("restore", "failed")
    assert len(lab.listed()) == 1
    assert shell(lab, RUN, who="nobody@example.com", name=name) == error.replace("rita@", "nobody@")
    assert shell(lab, RUN, who="ADA@example.com", name=name) == error.replace("rita@", "ADA@")
    assert shell(lab, RUN, who="ada@example.com", name=name) == "done"
    assert lab.value("SELECT count(*) FROM accounts_user WHERE email = 'eve@example.com' AND is_superuser") == 1


@first("sqlite", "postgresql", "schema")
def test_undo_that_raises_permissions_needs_a_superuser(lab: Lab) -> None:
    shell(lab, BEFORE)
    name = lab.back_up()
    shell(lab, MORE)
    assert shell(lab, RUN, who="rita@example.com", name=name) == "done"
    for who, may in (("rita@example.com", False), ("ada@example.com", True)):
        answer = shell(lab, VISIT, who=who, name="")
        assert "yan@example.com: all permissions (superuser); access to the admin site" in answer["page"]
        assert confirmable(answer) is may
    before = lab.content()
    error = shell(lab, RUN, who="rita@example.com", name="")
    assert error.startswith("The restore would give more permissions to yan@example.com.")
    assert REFUSED in error
    assert lab.content() == before
    asked = lab.manage("undo_restore", typed="no\n")
    assert asked.code == 5
    assert "  yan@example.com: all permissions (superuser); access to the admin site\n" in asked.out
    (raised,) = lab.run_json("undo_restore", "--yes")["rights"]["returning"]
    assert raised["name"] == "yan@example.com"
    # The undo of the undo gives no user more permissions, so a restorer may confirm it.
    answer = shell(lab, VISIT, who="rita@example.com", name="")
    assert "No user will get more permissions" in answer["page"]
    assert "<b>1 user will be removed:</b> yan@example.com" in answer["page"]
    assert confirmable(answer)
    assert shell(lab, RUN, who="rita@example.com", name="") == "done"


@first("sqlite", "postgresql", "schema")
def test_commands_list_users_with_more_permissions_and_ask(lab: Lab) -> None:
    shell(lab, PEOPLE)
    name = lab.back_up()
    shell(lab, LESS)
    asked = lab.manage("restore_database", name, typed="no\n")
    assert asked.code == 5
    outcome = lab.run("restore_database", name, "--yes", "--json")
    for output in (asked.out, outcome.error):
        for words in NAMED:
            assert f"  {words}\n" in output.replace("\t", "\\t").replace("        ", "\\t"), words
        assert "1 user will get a different password: dan@example.com\n" in output
    rights = outcome.json["rights"]
    assert [gain["name"] for gain in rights["raised"]] == ["dan@example.com", "eve@example.com"]
    assert rights["raised"][1]["reasons"] == [{"cause": "superuser", "subject": "", "permissions": []}]
    assert [gain["name"] for gain in rights["revived"]] == ["carl@example.com"]
    assert rights["passwords"] == ["dan@example.com"]
    assert rights["unknown"] == ""


@first("sqlite", "postgresql", "schema")
def test_restore_command_works_without_any_users(lab: Lab) -> None:
    shell(lab, BEFORE)
    name = lab.back_up()
    lab.rows("DELETE FROM accounts_user_groups")
    lab.rows("DELETE FROM accounts_user")
    asked = lab.run("restore_database", name, typed=f"{lab.name}\n")
    assert "2 users will be restored, with permissions:\n  ada@example.com: all permissions" in asked.out
    assert lab.value("SELECT count(*) FROM accounts_user") == 2


def test_live_database_without_tables_counts_as_without_accounts(lab: Lab) -> None:
    shell(lab, BEFORE)
    name = lab.back_up()
    lab.rows("DROP TABLE accounts_user_groups")
    asked = lab.manage("restore_database", name, typed="no\n")
    assert "  rita@example.com: the group Backup restorers with " in asked.out
    assert asked.code == 5


@first("sqlite", "postgresql", "schema")
def test_permissions_of_an_untrusted_file_are_compared(lab: Lab) -> None:
    shell(lab, PEOPLE)
    name = lab.back_up()
    foreign = lab.folder / f"foreign.{name.partition('.')[2]}"
    foreign.write_bytes((lab.backups / name).read_bytes())
    shell(lab, LESS)
    asked = lab.manage("restore_database", "--backup-file", str(foreign), "--untrusted", typed="no\n")
    assert asked.code == 5, asked
    for words in NAMED:
        assert f"  {words}\n" in asked.out.replace("\t", "\\t").replace("        ", "\\t"), words


def test_any_true_value_in_sqlite_counts_as_a_permission(sqlite_lab: Lab) -> None:
    shell(sqlite_lab, PEOPLE)
    foreign = sqlite_lab.folder / "foreign.db"
    foreign.write_bytes(gzip.decompress((sqlite_lab.backups / sqlite_lab.back_up()).read_bytes()))
    with contextlib.closing(sqlite3.connect(foreign)) as connection, connection:
        connection.execute("UPDATE accounts_user SET is_superuser = 2 WHERE email = 'carl@example.com'")
        connection.execute("UPDATE accounts_user SET is_superuser = 'yes' WHERE email = 'dan@example.com'")
    asked = sqlite_lab.manage("restore_database", "--backup-file", str(foreign), "--untrusted", typed="no\n")
    assert "2 users will get more permissions:\n  carl@example.com: all permissions (superuser)\n  dan@" in asked.out
