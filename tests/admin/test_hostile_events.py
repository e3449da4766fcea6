"""Events are unsigned files: whatever they contain, no page and no command fails."""

import datetime as dt
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from ops.backups.engines.base import LeftOut, PreviousDatabase
from ops.backups.manifest import Level, Verification
from ops.backups.reports import Check, RestoreTest
from ops.backups.suspicion import Decision, Loss, LossOf, Suspicion
from ops.engine_migration.plan import Skipped
from ops.engine_migration.result import MigratedTable, MigrationResult
from ops.models import Backup, Run
from ops.notifications.sent_alerts import AlertState, load_state
from ops.runs import event_log, results
from ops.runs.context import repository_from_settings
from ops.runs.descriptions import describe
from ops.runs.results import (
    BackupResult,
    CopyResult,
    DecisionResult,
    DeletionResult,
    DownloadResult,
    DropResult,
    EditResult,
    FileDeletionResult,
    FindingGroup,
    LocationResult,
    PreflightResult,
    PruneResult,
    RecoveryKitResult,
    RestoreResult,
    SettingChange,
    SettingsResult,
    SqliteMigrationResult,
    TableRows,
    UndoResult,
    UploadResult,
    VerificationResult,
)
from ops.utils.schema import to_json
from tests.backups import factories

NOW = dt.datetime(2026, 11, 23, 10, tzinfo=dt.UTC)
PREVIOUS = PreviousDatabase(name="lab_ops_undo", replaced_at=NOW, run=str(uuid.uuid4()), backup="lab.sql", size=10)
VERIFIED = VerificationResult(
    verifications={"lab.sql": Verification(level=Level.RESTORED, verified_at=NOW, duration=2.0)}
)
KIT = RecoveryKitResult(recipient="age1" + "q" * 58)
TESTED = RestoreTest(
    backup="lab.sql",
    began_at=NOW,
    seconds={"list": 0.1, "load": 2.0},
    recovery_time=2.1,
    checks=(Check(name="row counts", number=2, unit="table", passed=True),),
    location="nas",
    where="nas (/mnt/nas)",
    recovery_point=NOW,
    recovery_point_age=60.0,
    report="20261123_100000_000000_lab_nas.json",
)
DONE: dict[str, Struct] = {
    "backup": BackupResult(
        backup="lab.sql",
        rows=3,
        tables=2,
        size=10,
        uncompressed_size=20,
        duration=1.0,
        deleted={"old.sql": "too old"},
        suspicion=Suspicion(
            losses=(Loss(of=LossOf.TABLE, name="racks", before=9, after=3, at=NOW),),
            number=2,
            compared_with="a.sql",
            decision=Decision(right=True, decided_by="ada", decided_at=NOW),
        ),
    ),
    "decision": DecisionResult(
        backup="lab.sql", right=False, decided=("lab.sql",), undecided=("new.sql",), last_good="old.sql"
    ),
    "verification": VERIFIED,
    "restore_test": replace(VERIFIED, tests=(TESTED,), unread={"other.sql": "It does not answer."}),
    "restore": RestoreResult(
        backup="lab.sql",
        rows=3,
        tables=2,
        compared=True,
        location="nas",
        where="nas (/mnt/nas)",
        migrations=("inventory.0003_more",),
        left_out=(LeftOut(table="cache", rows=2, reason="it is not a table of this project"),),
        pre_backup="now.sql",
        previous=PREVIOUS,
        writes_blocked=1.0,
        cut_over=0.1,
    ),
    "undo": UndoResult(restored=PREVIOUS, previous=PREVIOUS, migrations=(), writes_blocked=1.0, cut_over=0.1),
    "drop_previous": DropResult(dropped=PREVIOUS),
    "copy": CopyResult(
        locations={"nas": LocationResult(copied=("lab.sql",), size=10, deleted={"old.sql": "too old"}, error="full")}
    ),
    "prune": PruneResult(deleted={"old.sql": "too old"}, kept={"lab.sql": "kept as the last verified backup"}),
    "download": DownloadResult(backup="lab.sql", location="nas", where="nas (/mnt/nas)"),
    "upload": UploadResult(backup="lab.sql", rows=3, tables=2, size=10),
    "change": EditResult(backup="lab.sql", pinned=True, note="mine"),
    "deletion": DeletionResult(backup="lab.sql", size=3),
    "preflight": PreflightResult(
        reader="PostgreSQL",
        acceptable=False,
        rows=3,
        size=10,
        estimate=1.0,
        tables=(TableRows(table="racks", label="rack", rows=3),),
        skipped=(Skipped(table="cache", rows=1, reason="not wanted"),),
        unknown=(Skipped(table="photos", rows=1, reason="unknown"),),
        notes=("one",),
        findings=1,
        groups=(FindingGroup(table="rack", column="name", reason="too long", count=1, keys=("7",)),),
        findings_file="/lab/findings.csv",
    ),
    "migration": MigrationResult(
        target="lab on db:5432",
        tables=(MigratedTable(name="rack", label="rack", rows=3, refused=0, sha256="0" * 64),),
        seconds={"copy": 1.0},
    ),
    "migration_to_sqlite": SqliteMigrationResult(
        target="/lab/backups/sqlite/lab_20261123_100000_3fa2.sqlite3",
        tables=(MigratedTable(name="rack", label="rack", rows=3, refused=0, sha256="0" * 64),),
        seconds={"copy": 1.0},
        taken_at=NOW,
    ),
    "recovery_kit": KIT,
    "kit_proof": KIT,
    "kit_withdrawal": KIT,
    "sqlite_deletion": FileDeletionResult(files=("lab_20261123_100000_3fa2.sqlite3",), size=10),
    "settings": SettingsResult(changes=(SettingChange(name="BACKUP_KEEP_WEEKLY", before="0", after="4"),)),
    **dict.fromkeys(("recovery_kit", "kit_proof", "kit_withdrawal"), RecoveryKitResult(recipient="age1qq")),
}
RESULTS = {kind: to_json(result) for kind, result in DONE.items()}


def event(kind: str = "backup", **changes: Any) -> dict[str, Any]:
    run = Run(
        kind=kind, status="succeeded", requested_by="ada@example.com", database="homerack", origin="admin",
        requested_at=NOW, started_at=NOW, finished_at=NOW + dt.timedelta(seconds=9), host="attic", pid=7,
        result=RESULTS.get(kind, {}),
        stages=[{"stage": "dump", "began": "2026-11-23T10:00:00Z", "seconds": 3.0}], arguments={"name": "lab.sql"},
    )  # fmt: skip
    return {**event_log._event("ended", run), "when": NOW.isoformat(), **changes}


DEEP, LONG = "(nested 900 times)", "(two million letters)"
"""Written out when the file is written: a failure would print them."""
MEANT = {f'"{DEEP}"': "[" * 900 + "]" * 900, f'"{LONG}"': '"' + "x" * 2_000_000 + '"'}
# fmt: off
HOSTILE = [
    None, True, -1, 2**63, 10**400, 1e308, -0.5, "", "x", "\0", "\x1b[2J", "\u202e", LONG, DEEP, "queued", "nobody",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-23T10:00:00", "NaN", [], {}, [[]], [{}],
    {"a": {"b": "\0"}}, {"previous": {"name": 5}}, {"verifications": [["x"]]}, {"manifest": {"size": "many"}},
    {"a": DEEP}, {"stage": 5}, [{"stage": "dump", "seconds": "long"}], [None], ["x"] * 50, {"rows": "many"}, {"": None},
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
    """A valid event in which a field, a part of its result, or everything is replaced."""
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
    """`value` with one value somewhere in it replaced."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(value)))
        return {**value, name: broken(draw, value[name])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], broken(draw, value[place]), *value[place + 1 :]]
    return draw(anything)


def plant(folder: Path, document: dict[str, Any]) -> uuid.UUID:
    """Write the event under a name that makes it be read."""
    key = uuid.uuid4()
    word = document.get("event")
    name = f"20261123_100000_000000_{key}_{word if isinstance(word, str) and word.islower() else 'ended'}.json"
    if "run" in document and isinstance(document["run"], str):
        document = {**document, "run": str(key)}
    (folder / "events").mkdir(parents=True, exist_ok=True)
    content = json.dumps(document)
    for short, meant in MEANT.items():
        content = content.replace(short, meant)
    (folder / "events" / name[:200]).write_text(content)
    return key


PAGES = ("/admin/", "/admin/ops/run/", "/admin/ops/backup/")


def test_every_kind_of_result_has_an_example() -> None:
    assert {*RESULTS} >= {str(kind) for kind in results.RESULTS}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", sorted(RESULTS))
def test_valid_event_is_read_unchanged(kind: str) -> None:
    made = event(kind)
    (run,) = event_log.read_runs([made]).values()
    assert {name: getattr(run, name) for name in ("result", "stages", "arguments")} == {
        name: made[name] for name in ("result", "stages", "arguments")
    }
    assert run.result


few = settings(
    max_examples=1, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
many = settings(few, max_examples=300)


def pages_and_commands_work(client: Client, folder: Path, documents: list[dict[str, Any]]) -> None:
    shutil.rmtree(folder / "events", ignore_errors=True)
    planted = {plant(folder, document): document for document in documents}
    call_command("rebuild_backup_index")
    for page in PAGES:
        assert client.get(page).status_code == 200, (page, documents)
    found = Run.objects.filter(pk__in=planted)
    for run in found:
        assert client.get(f"/admin/ops/run/{run.pk}/change/").status_code == 200, planted[run.pk]
        assert run.status != Run.Status.QUEUED
    found.delete()


HOSTILE_EVENTS = [
    event(result={"manifest": {"size": "many"}}),
    event("preflight", result={"groups": [["rack"]], "acceptable": True}),
    event("restore", result={"rows": "many"}),
    event("restore_test", result={"verifications": {"lab.sql": {"level": "magic", "duration": None}}}),
    event(requested_at="0001-01-01T00:00:00+14:00"),
    event(stages=[{"seconds": "long"}]),
    event(arguments={"a": DEEP}),
]


@pytest.mark.django_db
@few
@given(documents=st.lists(hostile_events(), min_size=5, max_size=5))
@example(documents=HOSTILE_EVENTS)
def test_pages_and_commands_work_with_hostile_events(
    admin_client: Client, settings: Any, documents: list[dict[str, Any]]
) -> None:
    pages_and_commands_work(admin_client, Path(settings.BACKUP_DIR), documents)


@pytest.mark.slow
@pytest.mark.django_db
@many
@given(document=hostile_events())
def test_pages_and_commands_work_with_many_hostile_events(
    admin_client: Client, settings: Any, document: dict[str, Any]
) -> None:
    pages_and_commands_work(admin_client, Path(settings.BACKUP_DIR), [document])


@pytest.mark.django_db
def test_event_cannot_queue_a_run() -> None:
    assert event_log.read_runs([event(status="queued"), event(status="queued", event="started")]) == {}
    assert event_log.read_runs([event(event="started"), event(status="running")]) == {}


@pytest.mark.django_db
def test_event_is_ignored_when_its_name_and_run_differ(settings: Any) -> None:
    folder = Path(settings.BACKUP_DIR)
    plant(folder, event())
    (path,) = (folder / "events").iterdir()
    path.write_text(json.dumps(event(run=str(uuid.uuid4()))))
    assert repository_from_settings().events() == []
    path.write_text(json.dumps(event(run=["a list"])))
    assert repository_from_settings().unended_events() == []


def test_every_result_is_read_back_and_refused_when_a_field_is_wrong() -> None:
    assert set(DONE) == set(results.RESULTS)
    for kind, result in DONE.items():
        document = RESULTS[kind]
        assert results.read_result(kind, document) == result
        assert describe(result)
        for name in document:
            broken = results.read_result(kind, {**document, name: object()})
            assert broken is None, (kind, name)


# --- Manifests and the file of alerts, which are as easy to forge --------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize(
    "changes",
    [
        {"taken_at": "0001-01-01T00:00:00+00:00"},
        {"taken_at": "9999-12-31T23:59:59+00:00"},
        {"size": 2**63},
        {"tables": {f"t{number}": {"rows": 2**53, "digest": ""} for number in range(1100)}},
        {"note": "x" * 2_000_000},
        {"duration": 1e308},
        {
            "verifications": [
                {"level": "read", "verified_at": "9999-12-31T23:59:59+00:00", "duration": 1.0, "error": ""}
            ]
        },
    ],
)
def test_pages_and_commands_work_with_hostile_manifest(
    admin_client: Client, settings: Any, changes: dict[str, Any]
) -> None:
    own = factories.backup(repository_from_settings(), taken_at=NOW - dt.timedelta(days=1))
    document = factories.manifest(name="homerack_20261123_100000.sql", kind="sql").as_json()
    path = Path(settings.BACKUP_DIR) / "homerack_20261123_100000.sql.json"
    path.write_text(json.dumps({**document, **changes}))
    call_command("rebuild_backup_index")
    call_command("list_backups")
    assert Backup.objects.filter(name=own.name).exists()
    for page in PAGES:
        assert admin_client.get(page).status_code == 200
    for backup in Backup.objects.all():
        assert admin_client.get(f"/admin/ops/backup/{backup.pk}/change/").status_code == 200


@pytest.mark.django_db
def test_unsigned_manifest_with_same_id_does_not_hide_a_backup(settings: Any) -> None:
    own = factories.backup(repository_from_settings(), taken_at=NOW)
    assert own.manifest
    for hour in ("09", "11"):
        name = f"homerack_20261123_{hour}0000.sql"
        moment = NOW.replace(hour=int(hour))
        forged = factories.manifest(id=own.manifest.id, name=name, kind="sql", taken_at=moment).as_json()
        (Path(settings.BACKUP_DIR) / f"{name}.json").write_text(json.dumps(forged))
    call_command("rebuild_backup_index")
    assert list(Backup.objects.values_list("name", "trust")) == [(own.name, "signed")]


@pytest.mark.django_db
@pytest.mark.parametrize("state", [5, None, {}, {"since": "never", "resolved_title": "x"}, {"since": NOW.isoformat()}])
def test_alert_file_is_ignored_when_it_is_malformed(settings: Any, state: Any) -> None:
    valid = {"since": NOW.isoformat(), "resolved_title": "The backup succeeded again."}
    Path(settings.BACKUP_DIR).mkdir()
    (Path(settings.BACKUP_DIR) / "alerts.json").write_text(json.dumps({"run backup": state, "age": valid}))
    assert load_state() == {"age": AlertState(since=NOW, resolved_title="The backup succeeded again.")}
