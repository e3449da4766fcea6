"""Which backup of a storage location to restore, decided by what the location itself has."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ops.backups.event_files import EVENTS, REPORTS
from ops.backups.locations.location import Location
from ops.backups.manifest import Origin
from ops.backups.record import BackupRecord, newest_first
from ops.backups.repository import KINDS, UNCHANGEABLE
from ops.backups.signing import Trust
from ops.backups.storage.entries import Entry
from ops.errors import PreconditionFailed
from ops.utils.formatting import format_datetime

TOLERANCE = dt.timedelta(days=1)
"""How much later than its file a backup may be dated: clocks are wrong, often by their time zone."""
ANY_BACKUP = re.compile(rf"([A-Za-z0-9_-]+)_\d{{8}}_\d{{6}}(?:_\d+)?\.(?:{KINDS})\.json\Z", re.ASCII)
"""The name of a manifest, of any project."""


@dataclass(frozen=True, kw_only=True)
class FoundBackup:
    """A backup in a location. `objection` is a clause: why it is restored only if a user names it; '' for a good one.

    `stored_at` is when its data file was written, by the location's clock; None without a data file.
    """

    record: BackupRecord
    stored_at: dt.datetime | None
    objection: str

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def taken_at(self) -> dt.datetime | None:
        return self.record.manifest.taken_at if self.record.manifest else None

    @property
    def database(self) -> tuple[str, str]:
        """The kind of database that was backed up, and its name."""
        manifest = self.record.manifest
        return (manifest.engine, manifest.database) if manifest else ("", "")


def find_backups(location: Location) -> list[FoundBackup]:
    """All backups in the location, the newest first; those without a readable manifest last.

    Nothing else is asked but the location, so that a machine that knows nothing finds the same. Raises errors of the
    storage.
    """
    repository = location.repository
    files = repository.files.entries()
    records = repository.read_records(repository.names(files), files)
    return [judge(record, files) for record in sorted(records, key=newest_first)]


def judge(record: BackupRecord, files: Mapping[str, Entry]) -> FoundBackup:
    entry = files.get(record.name)
    stored_at = entry.modified if entry else None
    return FoundBackup(record=record, stored_at=stored_at, objection=objection_to(record, stored_at))


def objection_to(record: BackupRecord, stored_at: dt.datetime | None) -> str:
    """Why the backup is not good, as a clause; '' if it is.

    Anyone who has the machine can sign a backup with any date. The location's clock shows when it came.
    """
    manifest = record.manifest
    if manifest is None or stored_at is None:
        return sentence_to_clause(record.fault)
    if record.trust is not Trust.SIGNED:
        return UNCHANGEABLE[record.trust]
    if manifest.untrusted or manifest.origin is Origin.UPLOAD:
        return "it was uploaded, so its origin is unknown"
    if record.fault:
        return sentence_to_clause(record.fault)
    if manifest.taken_at > stored_at + TOLERANCE:
        return f"it is dated in the future: the location got it on {format_datetime(stored_at)}"
    if not record.verified:
        return "its verification failed" if manifest.verification else "it is not verified"
    if manifest.may_be_wrong:
        return "it is suspicious: the database had lost much of what it contained before"
    return ""


def sentence_to_clause(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def good(found: Iterable[FoundBackup]) -> list[FoundBackup]:
    """Those that may be restored without a user's decision, in their order."""
    return [backup for backup in found if not backup.objection]


def require_good(found: Sequence[FoundBackup], location: Location) -> list[FoundBackup]:
    """As `good`. Raises PreconditionFailed if there is none, which says why for the newest."""
    if chosen := good(found):
        return chosen
    if not found:
        raise PreconditionFailed(
            f"There is no backup in {location.where}. Nothing was changed.", look_elsewhere(location)
        )
    newest = found[0]
    raise PreconditionFailed(
        f"{location.where} has no backup that can be trusted and is verified. The newest is {newest.name}:"
        f" {newest.objection}. Nothing was changed.",
        "Look at all of them and their faults with --list. One that is named (--backup NAME) is restored nevertheless.",
    )


def look_elsewhere(location: Location) -> str:
    """What else is at this address: folders, and backups of other projects."""
    folders = [name for name in location.storage.listdir("")[0] if name not in {EVENTS, REPORTS}]
    others = sorted({match[1] for name in location.repository.files.names() if (match := ANY_BACKUP.match(name))})
    hints = []
    if others:
        hints.append(f"It has backups whose names begin with {', '.join(others)}: another project made them.")
    if folders:
        hints.append(f"It has the folders {', '.join(folders[:10])}: add one to the address.")
    return (
        " ".join(hints)
        or f"Is the address right, and is it mounted? Its backups are named {location.repository.prefix}_…"
    )
