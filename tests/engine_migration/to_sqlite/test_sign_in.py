"""After a migration people sign in at the real site, in either direction, and new rows get numbers of their own."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models

from homerack.accounts.models import User
from homerack.inventory.models import Rack
from ops.databases.override import override_database, sqlite_wrapper
from tests.engine_migration import support
from tests.engine_migration.legacy_lab import PASSWORD, REAL_FILE, write_legacy_lab
from tests.engine_migration.support import Database
from tests.support.web import Browser, WebServer

PEOPLE = [f"{name}@lampadas.local" for name in ("admin", "gone", "op", "ro")]
WITH_OTHER_ROWS = {"inventory/device", "inventory/rack"}
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)"(?: value="([^"]*)")?')


@contextmanager
def site(url: str, folder: Path) -> Iterator[WebServer]:
    """The project under gunicorn on the database."""
    environment = {"DATABASE_URL": url, "BACKUP_DIR": str(folder / "backups"), "REDIS_URL": "", "DEBUG": "true"}
    web = WebServer.start(**environment)
    try:
        yield web
    finally:
        web.stop()


def add(browser: Browser, kind: str, /, **fields: str) -> str:
    """Send the form of the page for a new row; return the key of the row."""
    path = f"/admin/{kind}/add/"
    # Pages with rows of other tables count these in hidden fields.
    hidden = dict(HIDDEN.findall(browser.request("GET", path)[2])) if kind in WITH_OTHER_ROWS else {}
    status, headers, text = browser.post(path, **{**hidden, **fields, "_continue": "1"})
    assert status == 302, (kind, re.findall(r"errorlist.*?</ul>", text, re.DOTALL))
    found = re.search(r"/(\d+)/change/$", headers["Location"])
    assert found, headers["Location"]
    return found[1]


def add_row_of_each_kind(browser: Browser, name: str) -> None:
    kind = add(browser, "inventory/devicetype", name=name, slug=name)
    brand = add(browser, "inventory/brand", name=name, slug=name)
    add(browser, "inventory/devicemodel", name=name, brand=brand, device_type=kind, height_u="1")
    new = {"number": "1", "brand": name, "product": name}
    devices = [add(browser, "inventory/device", custom_name=f"{name} {number}", **new) for number in range(2)]
    place = {"positions-TOTAL_FORMS": "1", "positions-0-device": devices[0], "positions-0-start_u": "1"}
    add(browser, "inventory/rack", name=name, total_height_u="42", width_inches='19"', **place)
    add(browser, "inventory/cable", from_device=devices[0], to_device=devices[1])
    group = add(browser, "auth/group", name=name)
    person = {"email": f"{name}@example.org", "is_staff": "on", "groups": group}
    add(browser, "accounts/user", **person, password1="a long enough one", password2="a long enough one")


def largest_numbers() -> dict[str, tuple[int, int]]:
    """The number of rows and the largest number of each table that numbers its rows."""
    numbered = [
        model
        for model in apps.get_models(include_auto_created=True)
        if isinstance(model._meta.pk, models.AutoField) and model._meta.app_label in {"inventory", "accounts", "auth"}
    ]
    return {
        model._meta.db_table: (
            model._base_manager.count(),
            model._base_manager.aggregate(models.Max("pk"))["pk__max"] or 0,
        )
        for model in numbered
    }


def check_site(url: str, folder: Path, people: Sequence[str], password: str) -> None:
    """Sign in, add rows, sign out.

    The `people` are an administrator, one whose account is deactivated, and perhaps an editor and a viewer.
    """
    administrator, gone, *others = people
    before = largest_numbers()
    connection.close()
    with site(url, folder) as web:
        for name, typed in ((administrator, "wrong"), (gone, password), ("stranger@example.org", password)):
            browser = Browser(web.port)
            assert browser.sign_in(name, typed) == 200, (name, "is refused")
            assert browser.request("GET", "/admin/")[0] == 302
        browser = Browser(web.port)
        assert browser.sign_in(administrator, password) == 302
        status, _, text = browser.request("GET", "/admin/")
        assert (status, administrator in text) == (200, True)
        assert browser.request("GET", "/admin/inventory/rack/")[0] == 200
        add_row_of_each_kind(browser, "in_" + url.partition(":")[0])
        assert browser.post("/admin/logout/")[0] == 200
        assert browser.request("GET", "/admin/")[0] == 302
        for name, status_of_form in zip(others, (200, 403), strict=False):
            browser = Browser(web.port)
            assert browser.sign_in(name, password) == 302, name
            assert browser.request("GET", "/admin/inventory/rack/")[0] == 200
            assert browser.request("GET", "/admin/inventory/rack/add/")[0] == status_of_form
    after = largest_numbers()
    added = {table for table in after if after[table] != before[table]}
    assert added >= {table for table in after if not re.search("permissions|auth_permission", table)}
    for table in added:
        (rows, largest), (rows_now, largest_now) = before[table], after[table]
        assert largest_now >= largest + rows_now - rows, table


def check_both_ways(file: Path, database: Database, people: Sequence[str], password: str) -> None:
    folder = file.parent
    support.migrate(file, database)
    with override_database(database.address.wrapper()):
        check_site(database.url, folder, people, password)
        last = Rack.objects.latest("pk")
        number = last.pk
        last.delete()
    back = folder / "back.db"
    support.come_back(back, database)
    with override_database(sqlite_wrapper(str(back))):
        check_site(f"sqlite:///{back}", folder, people, password)
        assert Rack.objects.latest("pk").pk == number + 1, "the number of a deleted row is not used again"


@pytest.mark.slow
def test_users_of_the_older_program_sign_in_after_the_migration_and_after_the_way_back(
    database: Database, tmp_path: Path, settings: Any
) -> None:
    settings.OPS_LEGACY_FORMAT = "homerack.inventory.legacy.FORMAT"
    check_both_ways(write_legacy_lab(tmp_path / "legacy.db"), database, PEOPLE, PASSWORD)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_FILE.exists(), reason="the shared legacy file is not on this machine")
def test_users_of_the_shared_legacy_file_sign_in_after_the_migration_and_after_the_way_back(
    database: Database, tmp_path: Path, settings: Any
) -> None:
    settings.OPS_LEGACY_FORMAT = "homerack.inventory.legacy.FORMAT"
    file = Path(shutil.copyfile(REAL_FILE, tmp_path / "legacy.db"))
    check_both_ways(file, database, PEOPLE, PASSWORD)


@pytest.mark.slow
def test_users_of_a_file_of_this_project_sign_in_after_the_migration_and_after_the_way_back(
    file: Path, database: Database
) -> None:
    with override_database(sqlite_wrapper(str(file))):
        User.objects.create_superuser("ada@example.org", "correct horse")
        User.objects.create_superuser("gone@example.org", "correct horse", is_active=False)
    check_both_ways(file, database, ["ada@example.org", "gone@example.org"], "correct horse")
