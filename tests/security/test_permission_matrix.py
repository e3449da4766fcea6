"""The pages that each role may open and use: every address of the site is compared with a table.

The addresses are found by walking Django's resolver. One that the table does not name fails the test: write down who
may see it (GET) and who may act on it (POST). So does a group, an argument or a model that is not known here.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.apps import apps
from django.contrib import admin, auth
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.http import HttpResponse
from django.template.response import SimpleTemplateResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, path

from homerack.accounts.models import User
from homerack.history.models import ChangeSet
from homerack.spreadsheets.models import SpreadsheetImport
from ops.admin import backup_actions, decide
from ops.admin.run_status import status_link
from ops.errors import PreconditionFailed
from ops.models import Run
from tests.admin.conftest import queue, storage
from tests.admin.support import add_run, add_suspicious_backup
from tests.inventory.factories import connect, make_device, make_rack, place

__all__ = ["queue", "storage"]

pytestmark = pytest.mark.django_db

# --- Who ----------------------------------------------------------------------------------------------------------
STRANGER, NO_STAFF, NO_GROUP, ADMINISTRATOR = (
    "a stranger",
    "a user without staff",
    "staff without a group",
    "a superuser",
)
GROUPS = {"Viewers", "Editors", "Backup viewers", "Backup operators", "Backup restorers"}
NOBODY: frozenset[str] = frozenset()
ADMINISTRATORS = frozenset({ADMINISTRATOR})
STAFF = frozenset({NO_GROUP, *GROUPS, ADMINISTRATOR})
EVERYBODY = STAFF | {STRANGER, NO_STAFF}
EDIT = frozenset({"Editors", ADMINISTRATOR})
LOOK = EDIT | {"Viewers"}
RESTORE = frozenset({"Backup restorers", ADMINISTRATOR})
OPERATE = RESTORE | {"Backup operators"}
WATCH = OPERATE | {"Backup viewers"}


# --- May do what: the table ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Page:
    """Who gets something by GET, and for whose POST it does something; the others are refused."""

    see: frozenset[str]
    act: frozenset[str]


PAGES = {
    "admin:index": Page(STAFF, STAFF),
    "admin:login": Page(EVERYBODY, EVERYBODY),
    "admin:logout": Page(frozenset({STRANGER, NO_STAFF}), EVERYBODY),  # strangers are led to the console
    "admin:password_change": Page(STAFF, STAFF),
    "admin:password_change_done": Page(STAFF, NOBODY),
    "admin:search": Page(STAFF, STAFF),
    "admin:autocomplete": Page(ADMINISTRATORS, NOBODY),  # the groups of users
    "admin:jsi18n": Page(STAFF, NOBODY),
    "admin:view_on_site": Page(NOBODY, NOBODY),  # nothing has a page outside of the console
    "admin:auth_user_password_change": Page(ADMINISTRATORS, ADMINISTRATORS),
    "admin:inventory_device_duplicate": Page(EDIT, EDIT),  # leads to the form to add devices
    "admin:inventory_device_models_of_brand": Page(LOOK, NOBODY),
    "admin:inventory_device_remove_demo": Page(EDIT, EDIT),
    "admin:inventory_rack_as_of": Page(LOOK, NOBODY),
    "admin:history_changeset_changelist": Page(LOOK, NOBODY),
    "admin:history_changeset_change": Page(LOOK, NOBODY),
    "admin:history_changeset_row": Page(LOOK, NOBODY),
    "admin:history_changeset_revert": Page(EDIT, EDIT),
    "admin:history_changeset_revert_row": Page(EDIT, EDIT),
    "admin:ops_backup_make": Page(NOBODY, OPERATE),
    "admin:ops_backup_copy": Page(NOBODY, OPERATE),
    "admin:ops_backup_verify": Page(NOBODY, OPERATE),
    "admin:ops_backup_restore_test": Page(NOBODY, OPERATE),
    "admin:ops_backup_pin": Page(NOBODY, OPERATE),
    "admin:ops_backup_note": Page(OPERATE, OPERATE),
    "admin:ops_backup_decide": Page(OPERATE, OPERATE),
    "admin:ops_backup_restore": Page(RESTORE, RESTORE),
    "admin:ops_backup_undo": Page(RESTORE, RESTORE),
    "admin:ops_backup_drop_previous_database": Page(RESTORE, RESTORE),
    "admin:ops_backup_download": Page(NOBODY, ADMINISTRATORS),
    "admin:inventory_devicemodel_import": Page(EDIT, EDIT),
    "admin:spreadsheets": Page(LOOK, EDIT),
    "admin:spreadsheets_import": Page(NOBODY, NOBODY),  # another user's; tests/spreadsheets/test_import_page.py
    "admin:spreadsheets_import_status": Page(NOBODY, NOBODY),
    "admin:spreadsheets_problems": Page(NOBODY, NOBODY),
    "admin:spreadsheets_export": Page(LOOK, NOBODY),
    "admin:spreadsheets_export_everything": Page(LOOK, NOBODY),
    "admin:ops_backup_upload": Page(ADMINISTRATORS, ADMINISTRATORS),
    "admin:ops_backup_migrate_to_postgresql": Page(ADMINISTRATORS, ADMINISTRATORS),
    "admin:ops_backup_migrate_to_sqlite": Page(ADMINISTRATORS, ADMINISTRATORS),
    "admin:ops_backup_make_sqlite_file": Page(NOBODY, ADMINISTRATORS),
    "admin:ops_backup_delete_sqlite_file": Page(NOBODY, ADMINISTRATORS),
    "admin:ops_backup_recovery_kits": Page(ADMINISTRATORS, NOBODY),
    "admin:ops_backup_create_recovery_kit": Page(NOBODY, ADMINISTRATORS),
    "admin:ops_backup_prove_recovery_kit": Page(NOBODY, ADMINISTRATORS),
    "admin:ops_backup_withdraw_recovery_kit": Page(ADMINISTRATORS, ADMINISTRATORS),
    "admin:ops_run_download_sqlite_file": Page(NOBODY, ADMINISTRATORS),
    "admin:ops_run_report": Page(NOBODY, NOBODY),  # the run has none; tests/admin/test_restore_tests.py
    "admin:ops_run_cancel": Page(NOBODY, OPERATE),  # a backup; what one may start, one may cancel
    "admin:ops_notifications": Page(ADMINISTRATORS, ADMINISTRATORS),
    "admin:ops_schedules": Page(WATCH, ADMINISTRATORS),
    "admin:ops_schedules_run_now": Page(NOBODY, OPERATE),  # Back up; what one may start there, one may start here
    "admin:ops_settings": Page(ADMINISTRATORS, ADMINISTRATORS),
    "ops-run-status": Page(EVERYBODY, NOBODY),  # its address is signed
    "ops-run-status-fragment": Page(EVERYBODY, NOBODY),
    "health": Page(EVERYBODY, NOBODY),
    "health-live": Page(EVERYBODY, NOBODY),
    "health-ready": Page(EVERYBODY, NOBODY),
    "health-full": Page(EVERYBODY, NOBODY),
    "/": Page(EVERYBODY, EVERYBODY),  # leads to the console
    "/admin/(?P<url>.*)$": Page(NOBODY, NOBODY),  # what is not there
}
"""By their names, and those without a name by their routes."""


@dataclass(frozen=True, kw_only=True)
class Rights:
    """Who may do what with the rows of a model in the console."""

    view: frozenset[str]
    add: frozenset[str] = NOBODY
    change: frozenset[str] = NOBODY
    delete: frozenset[str] = NOBODY

    def page(self, kind: str) -> Page:
        return {
            "changelist": Page(self.view, self.view),
            "history": Page(self.view, self.view),
            "add": Page(self.add, self.add),
            "change": Page(self.view, self.change),
            "delete": Page(self.delete, self.delete),
        }[kind]


INVENTORY = Rights(view=LOOK, add=EDIT, change=EDIT, delete=EDIT)
FOR_ADMINISTRATORS = Rights(view=ADMINISTRATORS, add=ADMINISTRATORS, change=ADMINISTRATORS, delete=ADMINISTRATORS)
MODELS = {
    "inventory_brand": INVENTORY,
    "inventory_cable": INVENTORY,
    "inventory_device": INVENTORY,
    "inventory_devicemodel": INVENTORY,
    "inventory_devicetype": INVENTORY,
    "inventory_rack": INVENTORY,
    "history_changeset": Rights(view=LOOK),
    "ops_backup": Rights(view=WATCH, delete=ADMINISTRATORS),
    "ops_run": Rights(view=WATCH),
    "accounts_user": FOR_ADMINISTRATORS,
    "auth_group": FOR_ADMINISTRATORS,
    "axes_accessattempt": Rights(view=ADMINISTRATORS, delete=ADMINISTRATORS),
}
"""By app and model, as in the names of the console's pages."""
QUERIES = {"admin:autocomplete": "?app_label=accounts&model_name=user&field_name=groups"}
POSTED = {"post": "yes", "action": "delete_selected", "task": "ops.tasks.back_up"}
"""Confirms a deletion, which is undone after the request; `task` is the schedule to run now."""


# --- Which pages there are ----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Address:
    """One page of the site: its name or, where it has none, its route; and its path."""

    name: str
    path: str
    page: Page


def patterns(resolver: URLResolver, route: str = "/", space: str = "") -> Iterator[tuple[str, str]]:
    """The name and the route of every page below `resolver`."""
    for pattern in resolver.url_patterns:
        whole = route + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLPattern):
            yield (f"{space}{pattern.name}" if pattern.name else whole), whole
        else:
            yield from patterns(pattern, whole, f"{space}{pattern.namespace}:" if pattern.namespace else space)


def all_addresses() -> list[Address]:
    rows = make_rows()
    return [
        Address(name, path + QUERIES.get(name, ""), page)
        for name, route in patterns(get_resolver())
        for path, page in filled(name, route, rows)
    ]


def filled(name: str, route: str, rows: dict[str, str]) -> Iterator[tuple[str, Page]]:
    """The path of a page, with its arguments from `rows`, and its entry in the table."""
    if name == "admin:app_list":
        yield from ((f"/admin/{label}/", page_of_app(label)) for label in admin_apps())
    else:
        yield path_of(name, route, rows), page_of(name, route)


def page_of(name: str, route: str) -> Page:
    """Raises AssertionError for a page that nobody wrote down."""
    if name in PAGES:
        return PAGES[name]
    if name == route and route.endswith("/<path:object_id>/"):
        return Page(STAFF, STAFF)  # leads to the page of the row
    label, _, kind = name.removeprefix("admin:").rpartition("_")
    assert label in MODELS, (
        f"{name} ({route}) is not in the permission matrix. Write down who may see it and who may act on it:"
        f" in PAGES of {__name__}, or its model with all its pages in MODELS."
    )
    return MODELS[label].page(kind)


def page_of_app(label: str) -> Page:
    """The list of its models is for those who may do anything with one of them."""
    may = frozenset().union(*(MODELS[model].view for model in admin_models() if model.startswith(f"{label}_")))
    return Page(may, may)


def admin_models() -> list[str]:
    return [f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry]


def admin_apps() -> list[str]:
    return sorted({model._meta.app_label for model in admin.site._registry})


def path_of(name: str, route: str, rows: dict[str, str]) -> str:
    of_model = re.match(r"/admin/(\w+)/(\w+)/", route)

    def argument(match: re.Match[str]) -> str:
        wanted = match["path"] or match["regex"]
        is_row = of_model is not None and wanted in {"object_id", "id", "key"}
        key = "_".join(of_model.groups()) if of_model and is_row else wanted
        assert key in rows, f"{name} ({route}) takes {wanted!r}. Give it a value in make_rows of {__name__}: {key!r}."
        return rows[key]

    path = re.sub(r"<(?:\w+:)?(?P<path>\w+)>|\(\?P<(?P<regex>\w+)>[^()]*\)", argument, route)
    return path.removesuffix("$").removesuffix("/?")


def make_rows() -> dict[str, str]:
    """A value for each argument of an address: the key of a row of each model, and what else there is."""
    device = make_device("one")
    connect(device, make_device("two"))
    place(device, rack := make_rack())
    target = User.objects.create_user("target@example.com")
    spreadsheet = SpreadsheetImport.objects.create(user=target)
    AccessAttempt.objects.create(username="name:somebody", ip_address="192.0.2.1", failures_since_start=1)
    add_suspicious_backup()
    run = add_run(status="queued", started_at=None, finished_at=None)
    rows = {label: row_of(apps.get_model(*label.rsplit("_", 1))) for label in admin_models()}
    # Not that of a user, which few may view.
    rows["history_changeset"] = str(ChangeSet.objects.earliest("pk").pk)
    change = rack.history.earliest("history_id").pk
    rows |= {"kind": "rack", "row_key": str(rack.pk), "change": str(change)}
    rows |= {"spreadsheets_import": str(spreadsheet.pk), "table": "racks", "suffix": "csv"}
    types = {"content_type_id": str(ContentType.objects.get_for_model(Run).pk), "object_id": str(run.pk)}
    return {**rows, **types, "token": status_link(run, may_undo=False), "url": "nothing-here"}


def row_of(model: type[models.Model]) -> str:
    row = model._base_manager.order_by("-pk").first()
    assert row is not None, f"{__name__}.make_rows makes no row of {model._meta.label}."
    return str(row.pk)


# --- The comparison -----------------------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def nothing_happens(queue: list[str], storage: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be done at once refuses after the permission was checked.

    Pages are not drawn, nor is their sidebar looked up: both take long.
    """

    def refuse() -> None:
        raise PreconditionFailed("There is no site.")

    monkeypatch.setattr(backup_actions, "get_context", refuse)
    monkeypatch.setattr(decide, "get_context", refuse)
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")
    monkeypatch.setattr(admin.site, "each_context", lambda _request: {})
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"


def browser_of(who: str, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Signed in. The user and their permissions are read once rather than for each of a thousand requests."""
    client = Client()
    if who != STRANGER:
        fields = {"is_staff": who != NO_STAFF, "is_superuser": who == ADMINISTRATOR}
        user = User.objects.create_user("reader@example.com", "a long passphrase", **fields)
        user.groups.set(Group.objects.filter(name=who))
        client.force_login(user)
        monkeypatch.setattr(auth, "get_user", lambda _request: user)
    return client


def send_request(client: Client, method: str, path: str, *, changes: bool) -> HttpResponse:
    """The answer to a request. What one `changes` is undone; no other is expected to change anything."""
    send: Callable[..., HttpResponse] = getattr(client, method.lower())
    data = [POSTED] if method == "POST" else []
    if not changes:
        answer = send(path, *data)
        if answer.streaming:
            list(answer)  # which closes its file
        return answer
    cookies = client.cookies.output(header="")
    with transaction.atomic():
        answer = send(path, *data)
        transaction.set_rollback(True)
    client.cookies = SimpleCookie(cookies)
    return answer


def is_refused(answer: HttpResponse) -> bool:
    """Not allowed, not with this method, not there, or signing in comes first."""
    leads_to_sign_in = answer.status_code == 302 and answer["Location"].startswith("/admin/login/")
    return answer.status_code in {403, 404, 405} or leads_to_sign_in


def methods(address: Address, who: str) -> dict[str, bool]:
    """Which methods are tried, and whether something comes of them. Those that no page knows are for nobody."""
    sees, acts = who in address.page.see, who in address.page.act
    expected = {"GET": sees, "POST": acts}
    if who == STRANGER or not address.name.startswith("admin:"):
        expected["HEAD"] = sees
    if who in {STRANGER, NO_GROUP} and not sees and not acts:
        expected["DELETE"] = False
    if who == STRANGER and not sees and not acts:
        expected |= {"PUT": False, "PATCH": False}
    return expected


ROLES = [STRANGER, NO_STAFF, NO_GROUP, *sorted(GROUPS), ADMINISTRATOR]


@pytest.mark.parametrize("who", ROLES)
def test_each_role_can_open_and_use_only_its_pages(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = all_addresses()
    client = browser_of(who, monkeypatch)
    wrong = []
    for address in addresses:
        for method, allowed in methods(address, who).items():
            answer = send_request(client, method, address.path, changes=allowed and method == "POST")
            if is_refused(answer) is allowed or answer.status_code >= 500:
                table = "may" if allowed else "may not"
                wrong.append(f"{method} {address.path} ({address.name}): {who} {table}, and got {answer.status_code}")
    assert not wrong, "\n".join(wrong)


def test_permission_table_has_no_removed_pages() -> None:
    found = {address.name for address in all_addresses()}
    assert set(PAGES) <= found
    assert set(MODELS) == set(admin_models())


def test_permission_table_has_every_group() -> None:
    assert set(Group.objects.values_list("name", flat=True)) == GROUPS


def test_page_missing_from_the_permission_table_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is: on the site, in the console, and with an argument that nothing is known of."""
    urlconf = get_resolver().url_patterns

    def view(_request: Any, **_arguments: Any) -> HttpResponse:
        return HttpResponse()

    for new, complaint in (
        (path("new/", view), r"^/new/ \(/new/\) is not in the permission matrix\. Write down who may see it"),
        (path("admin/inventory/rack/new/", view, name="rack_new"), "^rack_new .* is not in the permission matrix"),
        (path("new/<int:unknown>/", view, name="health"), r"takes 'unknown'\. Give it a value in make_rows"),
    ):
        monkeypatch.setattr(get_resolver(), "url_patterns", [new, *urlconf])
        with transaction.atomic():
            with pytest.raises(AssertionError, match=complaint):
                all_addresses()
            transaction.set_rollback(True)
