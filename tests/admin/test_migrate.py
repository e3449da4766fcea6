"""The page of the migration to PostgreSQL: what the last preflight check found, and what to do about it."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from ops.admin import migrate
from ops.engine_migration.plan import Skipped
from ops.models import Run
from ops.runs.results import FindingGroup, PreflightResult
from ops.utils.schema import to_json
from tests.admin.support import add_run, text

pytestmark = pytest.mark.django_db
PAGE = "/admin/ops/backup/migrate-to-postgresql/"
NUL = FindingGroup(table="devices", column="name", reason="a NUL character", count=2, keys=("7", "9"))
PHOTOS = Skipped(table="photos", rows=3, reason="no model has this table")
ODD = Skipped(table="odd name", rows=0, reason="no model has this table")
COLUMN = Skipped(table="devices.colour", rows=0, reason="no model has this column")
QUARANTINE, BY_HAND = "--quarantine refused/", "was changed by hand"


@pytest.fixture(autouse=True)
def on_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "connection", SimpleNamespace(vendor="sqlite"))


def preflight(*groups: FindingGroup, unknown: Sequence[Skipped] = ()) -> PreflightResult:
    return PreflightResult(
        reader="PostgreSQL",
        acceptable=not groups and not unknown,
        rows=1_200,
        size=10,
        estimate=3.0,
        tables=(),
        skipped=(),
        unknown=tuple(unknown),
        notes=(),
        findings=sum(group.count for group in groups),
        groups=groups,
        findings_file="",
    )


@pytest.mark.parametrize(
    ("result", "sentences", "advice"),
    [
        (preflight(), ["All 1,200 rows can be migrated as they are."], []),
        (preflight(NUL), ["PostgreSQL would refuse or change 2 values."], [QUARANTINE]),
        (preflight(unknown=[PHOTOS]), ["1 table of the file has no model: photos."], ["--skip-table photos"]),
        (
            preflight(unknown=[PHOTOS, ODD]),
            ["2 tables of the file have no model: photos, odd name."],
            ["--skip-table photos --skip-table 'odd name'"],
        ),
        (preflight(unknown=[COLUMN]), ["1 column of the file has no field of a model: devices.colour."], [BY_HAND]),
        (
            preflight(NUL, unknown=[PHOTOS, COLUMN]),
            [
                "PostgreSQL would refuse or change 2 values.",
                "1 table of the file has no model: photos.",
                "1 column of the file has no field of a model: devices.colour.",
            ],
            [QUARANTINE, "--skip-table photos", BY_HAND],
        ),
    ],
    ids=["clean", "values", "table", "tables", "column", "everything"],
)
def test_page_says_what_was_found_and_only_what_helps_against_that(
    admin_client: Client, result: PreflightResult, sentences: list[str], advice: list[str]
) -> None:
    stored: Any = to_json(result)
    add_run(kind=Run.Kind.PREFLIGHT, origin=Run.Origin.ADMIN, result=stored)
    page = text(admin_client.get(PAGE))
    assert f"<b>{' '.join(sentences)} </b>" in page
    for option in (QUARANTINE, "--skip-table", BY_HAND):
        assert (option in page) is any(option in one for one in advice)
    for one in advice:
        assert one in page
