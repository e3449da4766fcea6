"""The same rows are in the same order, and are found by the same text, in SQLite and in PostgreSQL of any collation."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import Group
from django.db.backends.base.base import BaseDatabaseWrapper
from django.forms import ModelChoiceField
from django.http import HttpRequest
from django.test import RequestFactory

from homerack.accounts.models import User
from homerack.inventory.models import Rack
from homerack.ordering import alphabetical_key
from ops.databases.migration_state import run_migrations
from ops.databases.override import override_database, sqlite_wrapper
from tests.engine_migration.support import Database, new_name
from tests.servers.support import at
from tests.support.postgres import PostgresServer
from tests.support.replayed_migrations import replaying
from tests.support.slow import slow_except
from tests.support.tricky_rows import FIRST, NAMES, fill

Lists = dict[str, list[str]]
WORDS = ("ärger", "ÄRGER", "zebra", "é", "É", "e\u0301", "straße", "STRASSE", "ss", "ÿ", "🖥", "ı", "i", "s", "%", "_")
"""What users search for."""
COLLATIONS = {
    "C": "LOCALE 'C'",
    "C.UTF-8": "LOCALE 'C.UTF-8'",
    "ICU": "LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C.UTF-8'",
    "glibc": "LOCALE 'en_US.UTF-8'",
}
"""Bytes; bytes, with the letters of Unicode, as in Alpine; words of a language by ICU and, as in Debian, by glibc."""
DIFFERENCES: dict[str, dict[str, set[str]]] = {
    "C": {"ärger": {"Ärger"}, "ÄRGER": {"ärger"}, "É": {"é"}, "ı": {"\uffee wide"}},
    "C.UTF-8": {},
    "ICU": {},
    "glibc": {},
}
"""The names that only one database finds: with LC_CTYPE C, PostgreSQL knows A to Z only."""


# --- Databases --------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def filled(wrapper: BaseDatabaseWrapper, statements: Path) -> Iterator[None]:
    """While the block runs, this database is "default", with tables and rows."""
    with override_database(wrapper):
        replaying(run_migrations, statements)()
        with pytest.MonkeyPatch.context() as patch:
            for model in admin.site._registry:
                for field in model._meta.concrete_fields:  # the time of the test would replace that of the row
                    for option in {"auto_now", "auto_now_add"} & set(vars(field)):
                        patch.setattr(field, option, False)
            fill()
        yield


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, statements_of_migrate: Path, django_db_blocker: Any) -> Path:
    path = tmp_path_factory.mktemp("order") / "homerack.db"
    with django_db_blocker.unblock(), filled(sqlite_wrapper(str(path)), statements_of_migrate):
        return path


@pytest.fixture(
    scope="module",
    params=slow_except(["C", "ICU", "C.UTF-8", "glibc"], "ICU"),
)
def collation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def collated(
    collation: str, server: PostgresServer, statements_of_migrate: Path, django_db_blocker: Any
) -> Iterator[Database]:
    """A PostgreSQL database with this collation and the rows."""
    database, others = at(server, new_name()), at(server, "postgres")
    create = f"CREATE DATABASE {database.name} TEMPLATE template0 {COLLATIONS[collation]}"
    with django_db_blocker.unblock(), english_words(server) if collation == "glibc" else contextlib.nullcontext():
        try:
            others.rows(create)
        except psycopg2.Error as error:
            pytest.skip(f"this PostgreSQL cannot order text by {collation}: {error}")
        with filled(database.address.wrapper(), statements_of_migrate):
            pass
        yield database
        others.rows(f"DROP DATABASE {database.name} WITH (FORCE)")


@contextlib.contextmanager
def english_words(server: PostgresServer) -> Iterator[None]:
    """The server has the locale en_US.UTF-8, which is compiled if the machine does not have it."""
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=True).stdout.lower()
    if "en_us.utf8" in known:
        yield
        return
    folder = server.root / "locales"
    folder.mkdir(exist_ok=True)
    compiled = subprocess.run(
        ["localedef", "-i", "en_US", "-f", "UTF-8", str(folder / "en_US.utf8")], capture_output=True, check=False
    )
    if compiled.returncode:
        pytest.skip(f"the machine has no locale en_US.UTF-8, and cannot compile it: {compiled.stderr.decode()}")
    if server.user:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, server.user)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCPATH", f"{folder}:/usr/lib/locale")
        server.restart()
        yield
    server.restart()


# --- Lists ------------------------------------------------------------------------------------------------------
def request(query: str = "") -> HttpRequest:
    made = RequestFactory().get(f"/?{query}")
    made.user = User(is_superuser=True, is_staff=True, is_active=True)
    return made


def named(rows: Any) -> list[str]:
    """The keys of the rows of this test. Those of other rows differ between databases."""
    return [str(row.pk if int(row.pk) >= FIRST else row) for row in rows]


def all_lists() -> Lists:
    """What the admin lists, in order, by the name of the list: pages by each column, filters, fields, inlines."""
    lists = [found for model_admin in admin.site._registry.values() for found in lists_of(model_admin)]
    by_name = dict(lists)
    assert len(by_name) == len(lists)  # each has a name of its own
    return by_name


def lists_of(model_admin: ModelAdmin[Any]) -> Iterator[tuple[str, list[str]]]:
    name = model_admin.opts.label
    page = model_admin.get_changelist_instance(request())
    yield name, named(page.queryset)
    for place, column in enumerate(page.list_display):
        if page.get_ordering_field(column) is not None:
            for query in (f"o={place}", f"o=-{place}"):
                yield f"{name}?{query}", named(model_admin.get_changelist_instance(request(query)).queryset)
    for shown in page.filter_specs:
        yield f"{name}, filter by {shown.title}", [str(choice["display"]) for choice in shown.choices(page)]
    yield f"{name} in other lists", named(model_admin.get_queryset(request()))
    if not model_admin.has_add_permission(request()):
        return
    for field_name, field in model_admin.get_form(request())().fields.items():
        if isinstance(field, ModelChoiceField):
            yield f"{name}.{field_name}", named(field.queryset)
    for inline in model_admin.get_inline_instances(request()):
        yield f"{name}, {type(inline).__name__}", named(inline.get_queryset(request()))


@pytest.fixture(scope="module")
def lists_in_sqlite(file: Path, django_db_blocker: Any) -> Lists:
    with django_db_blocker.unblock(), override_database(sqlite_wrapper(str(file))):
        return all_lists()


def test_lists_are_in_the_same_order_as_in_sqlite(collated: Database, lists_in_sqlite: Lists) -> None:
    with override_database(collated.address.wrapper()):
        found = all_lists()
    assert found.keys() == lists_in_sqlite.keys()
    assert [name for name, rows in found.items() if rows != lists_in_sqlite[name]] == []


def test_default_order_is_that_of_the_key_in_python(file: Path) -> None:
    with override_database(sqlite_wrapper(str(file))):
        names = list(Rack.objects.values_list("name", flat=True))
        by_key = sorted(Rack.objects.order_by("pk").values_list("name", flat=True), key=alphabetical_key)
    assert names == by_key
    assert set(names) == set(NAMES)


# --- Search -----------------------------------------------------------------------------------------------------
def found_by_words() -> dict[str, set[str]]:
    """The names that a search of the groups finds, by what was searched for."""
    groups, search = Group.objects.filter(pk__gte=FIRST), admin.site.get_model_admin(Group).get_search_results
    return {word: {group.name for group in search(request(), groups, word)[0]} for word in WORDS}


def test_search_finds_the_same_rows_as_in_sqlite(collation: str, collated: Database, file: Path) -> None:
    with override_database(sqlite_wrapper(str(file))):
        in_sqlite = found_by_words()
    with override_database(collated.address.wrapper()):
        found = found_by_words()
    differences = {word: in_sqlite[word] ^ names for word, names in found.items() if names != in_sqlite[word]}
    assert differences == DIFFERENCES[collation]
    assert in_sqlite["ärger"] == in_sqlite["ÄRGER"] == {"Ärger", "ärger"}


def test_equality_without_regard_to_case_is_that_of_search(file: Path) -> None:
    with override_database(sqlite_wrapper(str(file))):
        for name in ("ÄRGER", "zebra", "straße"):
            found = Rack.objects.filter(name__iexact=name).values_list("name", flat=True)
            assert set(found) == {other for other in NAMES if other.lower() == name.lower()}
