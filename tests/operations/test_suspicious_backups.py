"""A database that loses its rows: its backups are suspicious, and the good ones stay until a user decides."""

import json
from typing import Any

import pytest

from tests.notifications.conftest import Receiver, receiver
from tests.operations.harness import Lab, sqlite_first

__all__ = ["receiver"]

NIGHTS = """
import datetime as dt
import json
import time_machine
from ops import operations
from ops.backups.engines.postgresql import snapshot
from ops.models import Run
from ops.runs.context import get_context

def of_this_night(cursor, query, fetch=snapshot.fetch_row):
    # The server has a clock of its own.
    row = fetch(cursor, query)
    return (row[0], dt.datetime.now(dt.UTC)) if "pg_export_snapshot" in query else row

snapshot.fetch_row = of_this_night
made = []
# A minute later each night, so that the one of a week before is older than seven days, however long a backup takes.
for night in range({first}, {last}):
    with time_machine.travel(dt.datetime(2026, 3, 1, 2, tzinfo=dt.UTC) + dt.timedelta(days=night, minutes=night)):
        run = Run(kind=Run.Kind.BACKUP, requested_by="scheduler", origin=Run.Origin.SCHEDULE)
        made.append(operations.back_up(get_context(), run).backup)
print(json.dumps(made))
"""


def shell(lab: Lab, code: str, **changes: str) -> str:
    # apprise imports a module that Python deprecates, and commands in tests turn warnings into errors.
    return lab.run(
        "shell", "--no-imports", "-c", f"import warnings\nwarnings.simplefilter('ignore')\n{code}", **changes
    ).out


def nights(lab: Lab, first: int, last: int, **changes: str) -> list[str]:
    """The names of the backups of these nights of a year, each of which was followed by pruning."""
    out = shell(lab, NIGHTS.format(first=first, last=last), **changes)
    names: list[str] = json.loads(out.splitlines()[-1])
    return names


def delete_rows(lab: Lab) -> None:
    """Empty the inventory."""
    others = ("accounts", "django", "axes", "auth")
    found = (name for name in lab.project_content() if not name.endswith("_id_seq"))
    tables = [name for name in found if not name.startswith(others)]
    with lab.connected() as cursor:
        for table in tables:
            cursor.execute(f'TRUNCATE "{table}" CASCADE' if lab.database else f'DELETE FROM "{table}"')


def suspicions(lab: Lab) -> dict[str, str]:
    return dict(lab.rows("SELECT name, suspicion FROM ops_backup"))


@pytest.mark.slow
@sqlite_first
def test_full_backup_outlives_a_month_of_empty_ones_and_restores(lab: Lab, receiver: Receiver) -> None:
    notified = {"NOTIFY_URLS": f"json://{receiver.host}/hook"}
    full = nights(lab, 0, 10, **notified)
    before = lab.content()
    assert set(suspicions(lab).values()) == {""}
    assert receiver.requests == []

    delete_rows(lab)
    empty = nights(lab, 10, 40, **notified)
    (message,) = [json.loads(body) for _, _, body in receiver.requests]
    assert message["title"].startswith("HomeRack: A backup is suspicious on ")
    assert f"{empty[0]} is verified, but the database has lost rows." in message["message"]
    assert "All rows of the app inventory are gone: " in message["message"]
    assert f"If not, restore the last good backup: manage.py restore_database {full[-1]}" in message["message"]

    # The seven full ones that existed, the first empty one, and those of the last seven nights.
    assert lab.listed() == [*reversed(empty[-7:]), empty[0], *reversed(full[-7:])]
    assert suspicions(lab) == dict.fromkeys([*full[-7:]], "") | dict.fromkeys([empty[0], *empty[-7:]], "undecided")
    listed = lab.run("list_backups").out
    assert "read back, SUSPICIOUS" in listed
    assert f"kept because {empty[0]} is suspicious; decide: manage.py decide_backup {empty[0]}" in listed
    assert f"Decide: manage.py decide_backup {empty[0]}" in lab.manage("check_database").output

    shell(
        lab,
        f"from django.core.management import call_command as call\ncall('restore_database', '{full[-1]}', yes=True)",
        **notified,
    )
    assert lab.content() == before
    assert {name for name, state in suspicions(lab).items() if state == "wrong"} >= {empty[0], *empty[-7:]}
    assert "undecided" not in suspicions(lab).values()
    titles = [json.loads(body)["title"] for _, _, body in receiver.requests]
    assert titles[1:] == [titles[1]]
    assert titles[1].startswith("HomeRack: The newest backup is not suspicious any more on ")
    nights(lab, 40, 41, **notified)
    # The last good backup needs no help any more: another one is good.
    assert full[-1] not in lab.listed()
    assert len(receiver.requests) == 2


@pytest.mark.slow
@sqlite_first
def test_decision_that_a_loss_is_right_ends_what_is_kept_for_its_sake(lab: Lab) -> None:
    full = nights(lab, 0, 3)
    delete_rows(lab)
    empty = nights(lab, 3, 20)
    assert set(full) <= set(lab.listed())
    decided = lab.run_json("decide_backup", empty[-1], "--right")
    assert (decided["backup"], decided["right"], decided["undecided"]) == (empty[-1], True, [])
    assert set(decided["decided"]) == {empty[0], *empty[-7:]}
    assert set(full) <= set(lab.listed())
    assert set(suspicions(lab).values()) == {"", "right"}
    after = nights(lab, 20, 21)
    assert suspicions(lab)[after[0]] == ""
    assert set(lab.listed()) == {*empty[-6:], *after}
    assert lab.value("SELECT count(*) FROM ops_run WHERE kind = 'decision' AND status = 'succeeded'") == 1


def test_later_loss_stays_undecided_when_the_first_is_right(sqlite_lab: Lab) -> None:
    lab = sqlite_lab
    nights(lab, 0, 2)
    lab.rows("DELETE FROM connections")
    (first,) = nights(lab, 2, 3)
    (same,) = nights(lab, 3, 4)
    lab.rows("DELETE FROM devices")
    (second,) = nights(lab, 4, 5)
    decided = lab.run_json("decide_backup", first, "--right")
    assert (decided["decided"], decided["undecided"]) == ([first, same], [second])
    wrong = lab.run("decide_backup", second, "--wrong").out
    assert "1 suspicious backup is wrong." in wrong
    assert f"manage.py restore_database {same}" in wrong
    # A decision can be changed.
    lab.run("decide_backup", second, "--right")
    assert suspicions(lab)[second] == "right"


def test_restore_and_undo_explain_a_loss(sqlite_lab: Lab) -> None:
    lab = sqlite_lab
    delete_rows(lab)
    empty = lab.back_up()
    lab.run("load_demo")
    full = lab.back_up()
    lab.run("restore_database", empty, "--yes")
    after = lab.back_up()
    assert suspicions(lab)[after] == ""
    assert "undecided" not in suspicions(lab).values()
    lab.run("undo_restore", "--yes")
    lab.back_up()
    assert "undecided" not in suspicions(lab).values()
    assert full in lab.listed()


def test_backup_before_a_restore_is_suspicious_and_then_wrong(sqlite_lab: Lab) -> None:
    lab = sqlite_lab
    full = lab.back_up()
    delete_rows(lab)
    restored = lab.run_json("restore_database", "--latest", "--yes")
    assert restored["backup"] == full
    assert suspicions(lab) == {full: "", restored["pre_backup"]: "wrong"}


def test_newest_good_backup_is_restored_by_latest_and_cannot_be_deleted(sqlite_lab: Lab) -> None:
    lab = sqlite_lab
    full = lab.back_up()
    delete_rows(lab)
    made = lab.run("backup_database").out
    assert "The backup is suspicious: the database has lost much since " + full in made
    assert "All rows of the app inventory are gone: " in made
    shown = lab.manage("restore_database", "--latest", typed="no\n").out
    assert f"Restoring {full}" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--right",), 1, " is not suspicious. Nothing was decided."),
        ((), 2, "one of the arguments --right --wrong is required"),
    ],
)
def test_decision_on_another_backup_is_refused(
    sqlite_lab: Lab, arguments: tuple[str, ...], code: int, words: str
) -> None:
    name = sqlite_lab.back_up()
    refused: Any = sqlite_lab.manage("decide_backup", name, *arguments)
    assert (refused.code, words in refused.error) == (code, True), refused
