"""Commands on pages: each has a button that copies it."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.template import engines
from django.test import Client
from django.urls import reverse

from ops.runs import results
from ops.utils.schema import to_json
from ops.utils.shell_commands import show_command, show_commands
from tests.admin.support import add_backup, add_run, text

PRINTED = {"recovery_kit.html", "restore_test_report.html"}
"""Sheets of paper: they have no scripts."""
TEMPLATES = [
    path
    for folder in ("ops/templates", "templates", "homerack")
    for path in sorted((Path(project.BASE_DIR) / folder).rglob("*.html"))
    if path.name not in PRINTED
]
TYPED = r"(?:manage\.py|age|apt|celery|docker|make|python|pip|--[a-z])"
"""How commands and options begin that a page may tell users to type."""


def commands_in(page: str) -> list[str]:
    """The commands that have a button."""
    return [html.unescape(found) for found in re.findall(r'<span class="ops-command"><code>(.*?)</code><button', page)]


def without_buttons(page: str) -> str:
    return re.sub(r'<span class="ops-command">.*?</span>', "", page)


@pytest.mark.parametrize(
    ("sentence", "commands"),
    [
        ("Decompress it: manage.py migrate_to_postgres --sqlite-path FILE", ["migrate_to_postgres --sqlite-path FILE"]),
        ("Continue: manage.py copy_backups --take-over. Otherwise give it a directory.", ["copy_backups --take-over"]),
        ("`manage.py list_backups` shows all of them.", ["list_backups"]),
        ("kept; decide: manage.py decide_backup lab_2026.sql.gz", ["decide_backup lab_2026.sql.gz"]),
        ("Free some space (manage.py prune_backups deletes old backups), or move.", ["prune_backups"]),
        ("Right: manage.py decide_backup b_1.db --right. If not: manage.py x", ["decide_backup b_1.db --right", "x"]),
        ("Run manage.py migrate in the installation that made the file.", ["migrate"]),
        ("With manage.py make --path NEW.db, with --quarantine DIR for rows.", ["make --path NEW.db"]),
        ("run: manage.py restore --path '/a b/c, d.db' --dry-run", ["restore --path '/a b/c, d.db' --dry-run"]),
        ("It was read: manage.py verify_backup b_1.db --restore.", ["verify_backup b_1.db --restore"]),
        ("Set NOTIFY_URLS.", []),
    ],
)
def test_commands_in_a_sentence_are_found_to_their_ends(sentence: str, commands: list[str]) -> None:
    shown = show_commands(sentence)
    assert commands_in(shown) == [f"manage.py {command}" for command in commands]
    words = html.unescape(re.sub(r"<button.*?</button>|<.*?>", "", shown))
    assert words == sentence.replace("`", "")


def test_markup_in_a_command_is_escaped() -> None:
    shown = show_commands("<b>Run</b>: manage.py restore_database '<img>'")
    assert shown.startswith("&lt;b&gt;Run&lt;/b&gt;: <span")
    assert "<img>" not in shown + show_command("<img>")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_commands_of_a_template_have_buttons(template: Path) -> None:
    source = re.sub(r"{%.*?%}|{#.*?#}", "", template.read_text())
    assert "manage.py" not in source
    assert re.findall(rf"<(?:code|pre)[^>]*>\s*{TYPED}\b[^<]*", source) == []
    values = re.findall(r"{{\s*([\w.]*(?:command|hint)[\w.]*)\s*}}", source)
    assert values == [], "use {% command … %} or the filter `commands`"


def test_tag_and_filter_show_the_button() -> None:
    source = '{% load ops_commands %}{% command "manage.py a" %}{{ hint|commands }}'
    page = engines["django"].from_string(source).render({"hint": "Do: manage.py b"})
    assert commands_in(page) == ["manage.py a", "manage.py b"]


# --- Pages ----------------------------------------------------------------------------------------------------------
def pages_with_commands() -> Iterator[str]:
    backup = add_backup()
    decision = results.DecisionResult(
        backup=backup.name, right=False, decided=(backup.name,), undecided=(), last_good=backup.name
    )
    yield reverse("admin:ops_backup_changelist")
    yield reverse("admin:ops_backup_change", args=[backup.pk])
    for name in ("migrate_to_postgresql", "migrate_to_sqlite", "recovery_kits"):
        yield reverse(f"admin:ops_backup_{name}")
    yield reverse("admin:ops_run_change", args=[add_run(kind="decision", result=to_json(decision)).pk])
    failed = add_run(status="failed", error="No backup.", hint="Make one: manage.py backup_database")
    yield reverse("admin:ops_run_change", args=[failed.pk])
    yield reverse("admin:index")


@pytest.mark.django_db
def test_commands_of_pages_have_buttons(admin_client: Client, settings: Any) -> None:
    settings.OPS_CELERY_APP = ""
    for url in pages_with_commands():
        page = text(admin_client.get(url, follow=True))
        assert "manage.py" not in without_buttons(page), url


@pytest.mark.django_db
def test_message_without_a_worker_has_a_button(admin_client: Client, settings: Any) -> None:
    settings.OPS_CELERY_APP = ""
    page = text(admin_client.post(reverse("admin:ops_backup_make"), follow=True))
    assert "or run: " in page
    assert "manage.py backup_database" in commands_in(page)
