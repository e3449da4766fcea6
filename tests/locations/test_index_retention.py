"""What the console says of a few backups is what it says of them among all, although it does not read all rows."""

import datetime as dt
import random
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from time_machine import TimeMachineFixture

from ops import operations
from ops.backups.locations.location import POLICY_FIELDS
from ops.backups.record import LOCAL
from ops.backups.retention import Policy, RetentionDecision
from ops.models import Backup
from ops.operations.index_retention import deciding_rows
from ops.operations.prune import evaluate_location, last_backup_failed
from ops.runs import index
from ops.runs.context import OpsContext
from tests.locations.support import NOW, Installation
from tests.support.slow import slow_except

pytestmark = pytest.mark.django_db
POLICIES = (
    Policy(days=7),
    Policy(days=3, daily=3, weekly=2, monthly=2, yearly=1),
    Policy(days=30, weekly=4, monthly=6),
    Policy(days=2, yearly=3),
)
NAMES = (LOCAL, "near", "far", "unknown")


def random_copy(chance: random.Random, location: str, faults: float) -> dict[str, Any]:
    error = "Its SHA-256 differs." if chance.random() < faults else ""
    answers = location == LOCAL or chance.random() < 0.9
    return {"location": location, "size": 5, "verified_at": None, "error": error, "answers": answers}


def random_row(chance: random.Random, number: int, context: OpsContext, faults: float = 0) -> Backup:
    """Of any trust, age, verification, suspicion and set of copies; `faults` is how probable each oddity is."""
    rarely = lambda usual, *others: chance.choice(others) if chance.random() < faults else usual  # noqa: E731
    when = NOW - dt.timedelta(hours=chance.randrange(-20, 24 * chance.choice((5, 60, 900))))
    copies = [random_copy(chance, name, faults) for name in NAMES if chance.random() < 0.4]
    fault = "" if any(not copy["error"] for copy in copies) else "Its SHA-256 differs"
    level = chance.choice(("", "read", "restored"))
    return Backup(
        id=uuid.UUID(int=chance.getrandbits(128)),
        name=f"homerack_{number:06}.sqlite3",
        kind="sqlite3",
        origin=rarely("scheduled", "manual", "upload", "pre-restore"),
        engine=rarely(context.engine.kind, "postgresql"),
        database=rarely(context.engine.database, "other"),
        created_by="ada",
        taken_at=when,
        size=5,
        uncompressed_size=5,
        rows=1,
        duration=1,
        pinned=rarely(False, True),
        verified_level=level,
        verified_at=when if level else None,
        verification_error=fault if level and copies else "",
        suspicion=rarely("", "", "undecided", "wrong", "right"),
        trust=rarely("signed", "unsigned", "foreign key", "tampered"),
        file_missing=not copies,
        copies=copies,
    )


def decide_with_all_rows(context: OpsContext) -> dict[str, RetentionDecision]:
    records = index.read_records()
    found: dict[str, RetentionDecision] = {}
    for location in (LOCAL, *context.repository.others):
        decisions = evaluate_location(
            context, records, location, last_run_failed=last_backup_failed(context), now=timezone.now()
        )
        found = {decision.name: decision for decision in decisions} | found
    return found


@pytest.mark.parametrize("seed", slow_except(range(60), *range(12)))
def test_decisions_on_a_page_are_those_with_all_rows(
    seed: int, tmp_path: Path, time_machine: TimeMachineFixture
) -> None:
    chance = random.Random(seed)
    time_machine.move_to(NOW, tick=False)
    policies = chance.choices(POLICIES, k=2)
    own = {setting: getattr(policies[1], word) for word, setting in POLICY_FIELDS.items()}
    lab = Installation(
        tmp_path,
        {"name": "near", "encrypted": False, **own},
        {"name": "far", "encrypted": False},
        policy=policies[0],
    )
    context = lab.context
    faults, number = chance.choice((0, 0.02, 0.15)), chance.choice((3, 12, 40, 150))
    rows = [random_row(chance, each, context, faults) for each in range(number)]
    if chance.random() < 0.5:
        for row in rows:  # without a backup that keeps all others
            row.suspicion = row.suspicion.replace("undecided", "right")
    Backup.objects.bulk_create(rows)
    expected = decide_with_all_rows(context)
    names = [row.name for row in rows]
    for size in (1, 1, 1, 2, 10):
        page = chance.sample(names, min(size, len(names)))
        wanted = {name: expected[name] for name in page if name in expected}
        assert operations.evaluate_index(context, page) == wanted


def test_few_rows_are_read_for_a_page_of_many_backups(tmp_path: Path) -> None:
    context = Installation(tmp_path, policy=Policy(days=7, weekly=4, monthly=6)).context
    chance = random.Random(1)
    rows = [random_row(chance, number, context) for number in range(60)]
    for row in rows:
        row.copies, row.file_missing = [random_copy(chance, LOCAL, 0)], False
    Backup.objects.bulk_create(rows)
    page = [row.name for row in rows[:10]]
    with CaptureQueriesContext(connection) as queries:
        assert len(operations.evaluate_index(context, page)) == len(page)
    assert len(queries) == 3
    assert deciding_rows(context, page, now=NOW).count() < 40
