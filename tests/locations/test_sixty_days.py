"""Sixty days with locations that fail in turns: whatever happens, the last good copy stays, and no copy is invented."""

import datetime as dt
import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
import time_machine
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ops.backups.retention import Policy
from ops.models import Run
from tests.locations.support import DAY, NOW, Installation

pytestmark = pytest.mark.django_db(transaction=True)
LOCATIONS = ("near", "far")
FOLDERS = {"local": "backups", "near": "near", "far": "far"}
numbers = itertools.count(1)


class SixtyDays(RuleBasedStateMachine):
    """The days lie in the past, so that no file is stored before it was taken."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=self.root))
        self.lab = Installation(
            self.folder,
            {"name": "near", "encrypted": False, "retention_days": 14},
            {"name": "far", "off_site": True, "retention_days": 3, "keep_weekly": 4},
            policy=Policy(days=2),
        )
        self.now = NOW - 62 * DAY
        self.clock = time_machine.travel(self.now, tick=False)
        self.traveller = self.clock.start()
        self.content: dict[str, bytes] = {}
        self.checked = False
        self.a_night()

    root = ""

    def teardown(self) -> None:
        if hasattr(self, "clock"):
            self.clock.stop()
            shutil.rmtree(self.folder)
            Run.objects.all().delete()

    # --- What the installation does ------------------------------------------------------------------------------

    def guarded(self, action: str) -> None:
        """Do it, and require that the newest backup that had an intact file still has one."""
        last = self.newest_intact()
        getattr(self.lab, action)()
        assert self.newest_intact() >= last
        self.checked = action == "copy"

    @rule()
    def a_night(self) -> None:
        if self.now >= NOW - DAY:
            return
        self.now += DAY
        self.traveller.move_to(self.now)
        name = self.lab.back_up(self.now, content=f"backup {next(numbers)}".encode() * 50)
        self.content[name] = (self.folder / "backups" / name).read_bytes()
        self.guarded("prune")
        self.guarded("copy")

    @rule()
    def copies(self) -> None:
        self.guarded("copy")

    @rule()
    def pruning(self) -> None:
        self.guarded("prune")

    # --- What happens to it -----------------------------------------------------------------------------------------

    @rule(location=st.sampled_from(LOCATIONS))
    def goes_down(self, location: str) -> None:
        if not (self.folder / f"{location} is down").exists():
            (self.folder / location).rename(self.folder / f"{location} is down")
        self.checked = False

    @rule(location=st.sampled_from(LOCATIONS))
    def comes_back(self, location: str) -> None:
        if (self.folder / f"{location} is down").exists():
            shutil.rmtree(self.folder / location, ignore_errors=True)
            (self.folder / f"{location} is down").rename(self.folder / location)
        self.checked = False

    @rule(location=st.sampled_from(tuple(FOLDERS)), which=st.integers(0, 3), damage=st.sampled_from(["delete", "cut"]))
    def loses_a_file(self, location: str, which: int, damage: str) -> None:
        if len(self.homes_of(self.newest_intact())) == 1:
            return  # the last good copy is for the installation to lose
        files = sorted((self.folder / FOLDERS[location]).glob("*.gz*"), reverse=True)
        files = [file for file in files if not file.name.endswith(("json", "json.age"))]
        if which < len(files):
            files[which].write_bytes(b"cut") if damage == "cut" else files[which].unlink()
        self.checked = False

    # --- What is true -------------------------------------------------------------------------------------------------

    def homes_of(self, name: str) -> list[str]:
        """The locations, up or down, that have an intact file of the backup."""
        return [location for location in FOLDERS if self.is_intact(name, location)]

    def is_intact(self, name: str, location: str) -> bool:
        for folder in (FOLDERS[location], f"{location} is down"):
            if location == "far":
                path = self.folder / folder / f"{name}.age"
                if path.is_file() and self.lab.age_keys is not None and path.stat().st_size > 3:
                    return self.lab.age_keys.decrypt(path.read_bytes(), name) == self.content[name]
            elif (path := self.folder / folder / name).is_file() and path.read_bytes() == self.content[name]:
                return True
        return False

    def newest_intact(self) -> str:
        """Names sort by time."""
        return max((name for name in self.content if self.homes_of(name)), default="")

    @invariant()
    @precondition(lambda self: getattr(self, "checked", False))
    def copies_that_are_counted_are_there(self) -> None:
        for record in self.lab.catalog.records():
            for location in record.reachable:
                assert self.is_intact(record.name, location), (record.name, location)
                assert location == "local" or not (self.folder / f"{location} is down").exists()

    @invariant()
    @precondition(lambda self: getattr(self, "checked", False))
    def a_backup_with_a_good_copy_has_not_failed(self) -> None:
        for record in self.lab.catalog.records():
            if record.reachable:
                assert record.verified
                assert record.fault == ""


# The first example of Hypothesis is one of nights only, which expire copies after 14 days; the second has no steps.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("examples", "steps"), [(3, 16), pytest.param(60, 90, marks=pytest.mark.slow)], ids=["a few", "many"]
)
def test_last_good_copy_survives_sixty_days_and_no_copy_is_invented(examples, steps, tmp_path):
    SixtyDays.root = str(tmp_path)
    run_state_machine_as_test(
        SixtyDays,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sixty_days_are_in_the_past():
    assert NOW - dt.datetime.now(dt.UTC) < dt.timedelta(seconds=1)
