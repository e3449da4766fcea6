"""Until when backups are kept: at any time the console says what the dry run of pruning says."""

import contextlib
import datetime as dt
import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ops import operations
from ops.admin import kept
from ops.backups.retention import Policy
from ops.errors import OpsError
from ops.models import Backup, Run
from tests.locations.support import DAY, NOW, Installation

pytestmark = pytest.mark.django_db(transaction=True)
POLICIES = (Policy(days=2), Policy(days=7), Policy(days=1, daily=2, weekly=2), Policy(days=3, monthly=1, yearly=1))
numbers = itertools.count(1)
which = st.integers(0, 4)


class RunsAndDays(RuleBasedStateMachine):
    """All runs that change the set of backups, in any order, and time that passes."""

    root = ""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=self.root))
        self.lab = Installation(
            self.folder, {"name": "near", "encrypted": False, "retention_days": 5}, policy=POLICIES[0]
        )
        self.now = NOW - 300 * DAY
        self.clock = time_machine.travel(self.now, tick=False)
        self.traveller = self.clock.start()
        self.set_rows(200)
        self.backup()

    def teardown(self) -> None:
        if hasattr(self, "clock"):
            self.clock.stop()
            shutil.rmtree(self.folder)
            Run.objects.all().delete()
            Backup.objects.all().delete()

    # --- Runs -----------------------------------------------------------------------------------------------------

    def run(self, operation: Callable[..., Any], kind: Run.Kind, *, arguments: dict[str, Any], **more: Any) -> None:
        """One that succeeds or is refused."""
        with contextlib.suppress(OpsError):
            operation(self.lab.context, Run(kind=kind, requested_by="ada", arguments=arguments), **more)

    def name(self, number: int) -> str:
        """The name of one of the newest backups; that of none after all were deleted."""
        names = [record.name for record in self.lab.catalog.records()]
        return names[min(number, len(names) - 1)] if names else "none"

    @rule()
    def backup(self) -> None:
        self.run(operations.back_up, Run.Kind.BACKUP, arguments={})

    @rule()
    def failed_backup(self) -> None:
        hidden = self.lab.database.rename(self.folder / "hidden.db")
        self.run(operations.back_up, Run.Kind.BACKUP, arguments={})
        hidden.rename(self.lab.database)

    @rule(number=which, pinned=st.booleans())
    def pin(self, number: int, pinned: bool) -> None:
        self.run(operations.change_backup, Run.Kind.CHANGE, arguments={"name": self.name(number), "pinned": pinned})

    @rule(number=which)
    def note(self, number: int) -> None:
        arguments = {"name": self.name(number), "note": f"note {next(numbers)}"}
        self.run(operations.change_backup, Run.Kind.CHANGE, arguments=arguments)

    @rule(number=which)
    def verification(self, number: int) -> None:
        self.run(operations.verify, Run.Kind.VERIFICATION, arguments={"names": [self.name(number)]})

    @rule(number=which)
    def damage_that_a_verification_finds(self, number: int) -> None:
        name = self.name(number)
        path = self.folder / "backups" / name
        if path.exists():
            path.write_bytes(path.read_bytes()[:-1] + b"x")
        self.run(operations.verify, Run.Kind.VERIFICATION, arguments={"names": [name], "location": "local"})

    @rule(number=which)
    def deletion(self, number: int) -> None:
        self.run(operations.delete_backup, Run.Kind.DELETION, arguments={"name": self.name(number)})

    @rule(number=which, right=st.booleans())
    def decision(self, number: int, right: bool) -> None:
        arguments = {"name": self.name(number), "right": right}
        self.run(operations.decide_backup, Run.Kind.DECISION, arguments=arguments)

    @rule()
    def upload(self) -> None:
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("CREATE TABLE rack (name TEXT)")
            content = connection.serialize()
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            self.run(operations.upload, Run.Kind.UPLOAD, arguments={"named": "old.db"}, file=file)

    @rule()
    def copies(self) -> None:
        self.run(operations.copy_backups, Run.Kind.COPY, arguments={"locations": [], "take_over": False})

    @rule()
    def pruning(self) -> None:
        self.run(operations.prune, Run.Kind.PRUNE, arguments={})

    # --- What else changes the decisions ----------------------------------------------------------------------------

    @rule(hours=st.integers(1, 200))
    def time_passes(self, hours: int) -> None:
        self.now += dt.timedelta(hours=hours)
        self.traveller.move_to(self.now)

    @rule(rows=st.sampled_from([0, 200]))
    def set_rows(self, rows: int) -> None:
        """The next backup may be suspicious."""
        with contextlib.closing(sqlite3.connect(self.lab.database)) as connection, connection:
            connection.execute("DELETE FROM rack")
            connection.executemany("INSERT INTO rack VALUES (?)", [(str(number),) for number in range(rows)])

    @rule(policy=st.sampled_from(POLICIES))
    def other_settings(self, policy: Policy) -> None:
        self.lab.policy = policy

    @invariant()
    def console_says_what_the_dry_run_says(self) -> None:
        if not hasattr(self, "lab"):
            return
        context = self.lab.context
        decisions = operations.evaluate_retention(context, context.repository.records())
        expected = {
            decision.name: decision.reason.removeprefix("kept ")
            if decision.keep
            else f"until the next pruning: {decision.reason}"
            for decision in decisions
        }
        names = list(Backup.objects.values_list("name", flat=True))
        shown = kept.describe_kept(names, lambda: context)
        assert {name: kept.describe_kept([name], lambda: context)[name] for name in names} == shown
        assert {name: shown.get(name) for name in expected} == expected
        missing = {name for name in names if shown[name] == kept.NOWHERE}
        assert missing == set(Backup.objects.filter(copies=[]).values_list("name", flat=True))


@pytest.mark.slow
@pytest.mark.parametrize("examples", [3, pytest.param(60, marks=pytest.mark.slow)], ids=["a few", "many"])
def test_console_and_dry_run_agree_after_any_run_and_over_time(examples: int, tmp_path: Path) -> None:
    RunsAndDays.root = str(tmp_path)
    run_state_machine_as_test(
        RunsAndDays,
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
