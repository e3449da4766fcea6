"""A location is not blamed for what fails elsewhere: in another location, in the database, or by a deletion."""

import datetime as dt
from pathlib import Path

import pytest

from ops import operations
from ops.backups.engines.sqlite.engine import SqliteEngine
from ops.backups.locations import copying
from ops.backups.manifest import Origin
from ops.errors import PreconditionFailed
from ops.models import Run
from ops.runs import event_log
from tests.locations.support import DAY, NOW, Installation

pytestmark = pytest.mark.django_db(transaction=True)
PLAIN = {"name": "disk", "encrypted": False}


def unplug(folder: Path, name: str) -> None:
    (folder / name).rename(folder / f"{name}-unplugged")


def test_new_location_is_not_stopped_by_the_one_that_has_the_age_files(tmp_path):
    lab = Installation(tmp_path, {"name": "away"})
    old = lab.back_up(NOW - DAY)
    lab.copy()
    unplug(tmp_path, "away")
    lab = Installation(tmp_path, {"name": "away"}, {"name": "fresh"})
    new = lab.back_up()
    lab.copy()
    result = lab.copy().locations["fresh"]
    assert result.error == (
        f"{old}.age waits for away: all encrypted locations have the same file, and that location does not answer."
    )
    assert lab.state("fresh").answers
    assert lab.catalog.get(new).reachable == ("local", "fresh")
    (tmp_path / "away-unplugged").rename(tmp_path / "away")
    lab.copy()
    assert lab.copy().locations["fresh"].error == ""
    assert (tmp_path / "away" / f"{old}.age").read_bytes() == (tmp_path / "fresh" / f"{old}.age").read_bytes()


def test_source_that_fails_while_it_is_read_is_not_an_error_of_the_target(tmp_path):
    lab = Installation(tmp_path, PLAIN, {"name": "second", "encrypted": False})
    name = lab.back_up()
    lab.copy("disk")
    (tmp_path / "backups" / name).unlink()
    (tmp_path / "disk" / name).unlink()
    other = lab.back_up(NOW - DAY)
    result = lab.copy("second").locations["second"]
    assert result.error == f"{name} was not copied: its file is missing where it was read."
    assert (result.copied, lab.state("second").answers) == ((other,), True)


def test_backup_that_is_deleted_while_it_is_copied_is_not_missing(tmp_path, monkeypatch):
    lab = Installation(tmp_path, PLAIN)
    deleted, kept = lab.back_up(), lab.back_up(NOW - DAY)
    send = copying.send

    def delete_and_send(location, stored, *arguments):
        send(location, stored, *arguments)
        if stored.name == deleted:
            lab.catalog.delete(deleted)

    monkeypatch.setattr(copying, "send", delete_and_send)
    result = lab.copy().locations["disk"]
    assert (result.error, result.copied) == ("", (kept,))
    assert set(lab.files("disk")) == {kept, f"{kept}.json"}
    assert lab.copy().locations["disk"].error == ""
    assert lab.state("disk").deletions == ()


def test_copies_are_made_and_pre_restore_backups_stay_while_the_database_does_not_answer(tmp_path, monkeypatch):
    lab = Installation(tmp_path, PLAIN)
    undo, expired = (lab.back_up(NOW - days * DAY, origin=origin) for days, origin in ORIGINS.items())
    lab.back_up(NOW - dt.timedelta(hours=1))
    lab.copy()

    def refuse(_self: object) -> None:
        raise PreconditionFailed("No connection to the database.")

    monkeypatch.setattr(SqliteEngine, "swap_strategy", refuse)
    new = lab.back_up()
    assert operations.is_due(lab.context)
    assert lab.copy().locations["disk"].copied[0] == new
    assert lab.state("disk").answers
    assert lab.prune() == [expired]
    assert lab.catalog.get(undo).locations


ORIGINS = {20: Origin.PRE_RESTORE, 21: Origin.MANUAL}


def test_last_backup_run_is_found_without_reading_what_is_older(tmp_path, monkeypatch):
    lab = Installation(tmp_path, PLAIN)
    for hours, status in ((3, "succeeded"), (2, "failed"), (1, "succeeded")):
        ended = NOW - dt.timedelta(hours=hours)
        kind = Run.Kind.BACKUP if hours > 1 else Run.Kind.COPY
        run = Run(kind=kind, requested_by="ada", status=status, started_at=ended, finished_at=ended)
        monkeypatch.setattr(event_log.clock, "now", lambda ended=ended: ended)
        event_log.record(lab.catalog, event_log.ENDED, run)
    read: list[str] = []
    catalog = lab.catalog
    read_events = catalog.read_events
    monkeypatch.setattr(catalog, "read_events", lambda names: read_events(read.extend(names) or names))
    last = event_log.last_ended(catalog, Run.Kind.BACKUP)
    assert last is not None
    assert (last.status, len(read)) == ("failed", 2)
