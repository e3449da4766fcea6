"""Events are files that nobody signs: whatever they hold, no page and no command answers with an error."""

import dataclasses
import datetime as dt
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ops import operations
from ops.backups.configuration import catalogue_from_settings
from ops.backups.engines.base import Undo
from ops.backups.manifest import Verification
from ops.backups.restore import Restored, Undone
from ops.models import Backup, Run
from ops.notifications.alerts import load_state
from ops.runs import event_format, event_log
from tests.admin.test_runs import RESTORED
from tests.backups import factories

NOW = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
UNDO = RESTORED["undo"]
PROOF = {"level": "restored", "when": NOW.isoformat(), "seconds": 2.0, "fault": ""}
SIZES = {"rows": 3, "tables": 2, "size": 10}
RESULTS: dict[str, dict[str, Any]] = {
    "backup": {**SIZES, "plain_size": 20, "seconds": 1.0, "deleted": {"old.sql": "too old"}},
    "verification": {"proofs": [["lab.sql", PROOF]]},
    "drill": {"proofs": [["lab.sql", PROOF]]},
    "restore": RESTORED,
    "undo": {"brought_back": UNDO, "undo": UNDO, "migrations": [], "writes_closed": 1.0, "cut_over": 0.1},
    "drop undo": {"undo": UNDO},
    "prune": {"deleted": {"old.sql": "too old"}, "kept": 3},
    "upload": SIZES,
    "deletion": {"size": 3},
    "preflight": {
        "acceptable": False, "rows": 3, "size": 10, "seconds": 1.0, "tables": [["racks", "rack", 3]],
        "skipped": [["cache", 1, "not wanted"]], "unknown": [["photos", 1, "unknown"]], "notes": ["one"], "findings": 1,
        "groups": [["rack", "name", "too long", 1, ["7"]]], "file": "/lab/findings.csv",
    },
}  # fmt: skip


def event(kind: str = "backup", **changes: Any) -> dict[str, Any]:
    run = Run(
        kind=kind, status="succeeded", who="ada@example.com", database="homerack", origin="console", asked=NOW,
        started=NOW, ended=NOW + dt.timedelta(seconds=9), host="attic", pid=7, result=RESULTS.get(kind, {}),
        stages=[{"stage": "dump", "began": NOW.isoformat(), "seconds": 3.0}], arguments={"name": "lab.sql"},
    )  # fmt: skip
    return {**event_log._event("ended", run), "when": NOW.isoformat(), **changes}


DEEP, LONG = "(nested 900 times)", "(two million letters)"
"""Written out when the file is written: a failure would print them."""
MEANT = {f'"{DEEP}"': "[" * 900 + "]" * 900, f'"{LONG}"': '"' + "x" * 2_000_000 + '"'}
# fmt: off
HOSTILE = [
    None, True, -1, 2**63, 10**400, 1e308, -0.5, "", "x", "\0", "\x1b[2J", "\u202e", LONG, DEEP, "queued", "nobody",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-23T10:00:00", "NaN", [], {}, [[]], [{}],
    {"a": {"b": "\0"}}, {"undo": {"name": 5}}, {"proofs": [["x"]]}, {"manifest": {"size": "many"}}, {"a": DEEP},
    {"stage": 5}, [{"stage": "dump", "seconds": "long"}], [None], ["x"] * 50, {"rows": "many"}, {"": None},
]
# fmt: on
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
anything = st.sampled_from(HOSTILE) | json_values


@st.composite
def hostile_events(draw: st.DrawFn) -> dict[str, Any]:
    """An event of ours in which something is changed: a field, a part of its result, or all of it."""
    made = event(draw(st.sampled_from(sorted(RESULTS))))
    how = draw(st.sampled_from(["field", "field", "result", "result", "missing", "whole"]))
    if how == "whole":
        return draw(st.dictionaries(st.text(max_size=8), anything, max_size=4))
    if how == "missing":
        del made[draw(st.sampled_from(sorted(made)))]
    if how == "field":
        for name in draw(st.lists(st.sampled_from(sorted(made)), min_size=1, max_size=3)):
            made[name] = draw(anything)
    if how == "result":
        made["result"] = broken(draw, made["result"])
    return made


def broken(draw: st.DrawFn, value: Any) -> Any:
    """The same with one value somewhere in it replaced."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: broken(draw, value[name])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], broken(draw, value[place]), *value[place + 1 :]]
    return draw(anything)


def plant(folder: Path, document: dict[str, Any]) -> uuid.UUID:
    """Put the event among the others as somebody would who wants it to be read."""
    key = uuid.uuid4()
    word = document.get("event")
    name = f"20261123_100000_000000_{key}_{word if isinstance(word, str) and word.islower() else 'ended'}.json"
    if "run" in document and isinstance(document["run"], str):
        document = {**document, "run": str(key)}
    (folder / "events").mkdir(parents=True, exist_ok=True)
    for old in (folder / "events").iterdir():
        old.unlink()
    content = json.dumps(document)
    for short, meant in MEANT.items():
        content = content.replace(short, meant)
    (folder / "events" / name[:200]).write_text(content)
    return key


PAGES = ("/admin/", "/admin/ops/run/", "/admin/ops/backup/")


@pytest.mark.django_db
@pytest.mark.parametrize("kind", sorted(RESULTS))
def test_an_event_of_ours_is_read_as_it_is(kind: str) -> None:
    made = event(kind)
    (run,) = event_log.runs_of([made]).values()
    assert {name: getattr(run, name) for name in ("result", "stages", "arguments")} == {
        name: made[name] for name in ("result", "stages", "arguments")
    }
    assert run.result


@pytest.mark.django_db
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(document=hostile_events())
@example(document=event(result={"manifest": {"size": "many"}}))
@example(document=event("preflight", result={"groups": [["rack"]], "acceptable": True}))
@example(document=event("restore", result={"rows": "many"}))
@example(document=event("drill", result={"proofs": [["lab.sql", {"level": "magic", "seconds": None}]]}))
@example(document=event(asked="0001-01-01T00:00:00+14:00"))
@example(document=event(stages=[{"seconds": "long"}]))
@example(document=event(arguments={"a": DEEP}))
def test_whatever_an_event_holds_pages_and_commands_answer(
    admin_client: Client, settings: Any, document: dict[str, Any]
) -> None:
    key = plant(Path(settings.BACKUP_DIR), document)
    call_command("sync_backups")
    for page in PAGES:
        assert admin_client.get(page).status_code == 200, (page, document)
    found = Run.objects.filter(pk=key)
    for run in found:
        assert admin_client.get(f"/admin/ops/run/{key}/change/").status_code == 200, document
        assert run.status != Run.Status.QUEUED
    found.delete()


@pytest.mark.django_db
def test_an_event_can_not_queue_a_run() -> None:
    assert event_log.runs_of([event(status="queued"), event(status="queued", event="started")]) == {}
    assert event_log.runs_of([event(event="started"), event(status="running")]) == {}


@pytest.mark.django_db
def test_an_event_under_the_name_of_another_is_left_out(settings: Any) -> None:
    folder = Path(settings.BACKUP_DIR)
    plant(folder, event())
    (path,) = (folder / "events").iterdir()
    path.write_text(json.dumps(event(run=str(uuid.uuid4()))))
    assert catalogue_from_settings().events() == []
    path.write_text(json.dumps(event(run=["a list"])))
    assert catalogue_from_settings().unended_events() == []


def test_each_field_of_a_result_is_known() -> None:
    """Whoever gives a result another field says its shape in `ops.runs.event_format`."""
    known = {
        Restored: RESTORED,
        Undone: RESULTS["undo"],
        operations.LetGo: RESULTS["drop undo"],
        operations.Verified: RESULTS["drill"],
        Undo: UNDO,
        Verification: PROOF,
        operations.Beside: {
            "backup": "", "database": "lab_old", "rows": 1, "tables": 1, "compared": True, "migrations": [],
            "left_out": [{"table": "cache", "rows": 2, "reason": "not a table of this project"}],
        },
    }  # fmt: skip
    for result, made in known.items():
        assert {field.name for field in dataclasses.fields(result)} == set(made), result
    beside = known[operations.Beside]
    assert event_format.read_result("restore", beside) == beside
    for name in beside:
        if name != "database":
            assert event_format.read_result("restore", {**beside, name: object}) == {}


# --- Manifests and what has been told, which anybody may write as well ---------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes",
    [
        {"when": "0001-01-01T00:00:00+00:00"},
        {"when": "9999-12-31T23:59:59+00:00"},
        {"size": 2**63},
        {"tables": {f"t{number}": {"rows": 2**53, "digest": ""} for number in range(1100)}},
        {"note": "x" * 2_000_000},
        {"seconds": 1e308},
        {"proofs": [{"level": "complete", "when": "9999-12-31T23:59:59+00:00", "seconds": 1.0, "fault": ""}]},
    ],
)
def test_whatever_an_unsigned_manifest_holds_pages_and_commands_answer(
    admin_client: Client, settings: Any, changes: dict[str, Any]
) -> None:
    own = factories.backup(catalogue_from_settings(), when=NOW - dt.timedelta(days=1))
    document = factories.manifest(name="homerack_20261123_100000.sql", kind="sql").as_json()
    path = Path(settings.BACKUP_DIR) / "homerack_20261123_100000.sql.json"
    path.write_text(json.dumps({**document, **changes}))
    call_command("sync_backups")
    call_command("list_backups")
    assert Backup.objects.filter(name=own.name).exists()
    for page in PAGES:
        assert admin_client.get(page).status_code == 200
    for backup in Backup.objects.all():
        assert admin_client.get(f"/admin/ops/backup/{backup.pk}/change/").status_code == 200


@pytest.mark.django_db
def test_an_unsigned_manifest_does_not_hide_a_backup_by_its_number(settings: Any) -> None:
    own = factories.backup(catalogue_from_settings(), when=NOW)
    assert own.manifest
    for hour in ("09", "11"):
        name = f"homerack_20261123_{hour}0000.sql"
        moment = NOW.replace(hour=int(hour))
        forged = factories.manifest(id=own.manifest.id, name=name, kind="sql", when=moment).as_json()
        (Path(settings.BACKUP_DIR) / f"{name}.json").write_text(json.dumps(forged))
    call_command("sync_backups")
    assert list(Backup.objects.values_list("name", "trust")) == [(own.name, "signed")]


@pytest.mark.django_db
@pytest.mark.parametrize("trouble", [5, None, {}, {"since": "never", "relief": "x"}, {"since": NOW.isoformat()}])
def test_what_has_been_told_is_read_strictly(settings: Any, trouble: Any) -> None:
    well = {"since": NOW.isoformat(), "relief": "The backup works again."}
    Path(settings.BACKUP_DIR).mkdir()
    (Path(settings.BACKUP_DIR) / "notices.json").write_text(json.dumps({"run backup": trouble, "age": well}))
    assert load_state() == {"age": well}
