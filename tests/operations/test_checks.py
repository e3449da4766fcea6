"""System checks on the settings that name tables."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection


def found(**kwargs: Any) -> list[CheckMessage]:
    return [message for message in run_checks(**kwargs) if str(message.id).startswith("ops.")]


@pytest.mark.django_db
def test_all_is_well() -> None:
    assert found(databases=["default"]) == []


@pytest.mark.parametrize("setting", ["OPS_BACKUP_EXCLUDED_TABLES", "OPS_UNTRUSTED_EXCLUDED_TABLES"])
@pytest.mark.parametrize("value", ["everything", 5, {"everything": "why"}, [5], None])
def test_a_setting_has_to_be_a_list(settings: Any, setting: str, value: object) -> None:
    setattr(settings, setting, value)
    (error,) = found()
    assert (error.id, error.msg) == ("ops.E001", f"{setting} is not a list of names of tables.")


@pytest.mark.parametrize(
    ("excluded", "referring"),
    [
        (["otherproject_tag"], "otherproject_book_tags"),
        (["otherproject_shelf"], "otherproject_place"),
        (
            ["otherproject_book", "otherproject_author", "otherproject_book_tags", "otherproject_book_similar"],
            "otherproject_comic",
        ),
    ],
)
def test_a_table_that_others_refer_to_is_an_error(settings: Any, excluded: list[str], referring: str) -> None:
    settings.OPS_BACKUP_EXCLUDED_TABLES = excluded
    errors = {message.msg for message in found() if message.id == "ops.E002"}
    assert (
        f"Rows of {excluded[0]} are left out of backups, but {referring} refers to them: no backup can be made."
        in errors
    )
    with pytest.raises(SystemCheckError, match=r"ops\.E002"):
        call_command("check")


def test_tables_that_only_refer_to_each_other_and_others_are_fine(settings: Any) -> None:
    settings.OPS_BACKUP_EXCLUDED_TABLES = ["otherproject_shelf", "otherproject_place"]
    assert found() == []


@contextlib.contextmanager
def table(name: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} (n integer)")
        yield


@pytest.mark.django_db
def test_a_table_that_nobody_knows_is_warned_of(settings: Any) -> None:
    settings.OPS_BACKUP_EXCLUDED_TABLES = ["everything", "by_hand", "pg_catalog.pg_class"]
    settings.OPS_UNTRUSTED_EXCLUDED_TABLES = ["otherproject_bok"]
    with table("by_hand"):
        (warning,) = found(databases=["default"])
    assert warning.id == "ops.W003"
    assert warning.msg == "OPS_UNTRUSTED_EXCLUDED_TABLES names otherproject_bok, and there is no such table."
    assert found(databases=[]) == []
