"""Restore tests, and their reports: signed documents next to the backups, where no restore replaces them."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

from msgspec import Struct

from ops.backups.event_files import REPORTS
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.manifest import Manifest, Sha256
from ops.backups.repository import MANIFEST
from ops.backups.signing import SIGNATURE, Trust, unsigned
from ops.backups.storage.atomic_files import json_bytes
from ops.databases.postgres.differences import NotKept
from ops.errors import ArtifactInvalid
from ops.utils import schema
from ops.utils.schema import Count, Line, Moment, Seconds, Text

REPORT_NAME = re.compile(r"[0-9A-Za-z_-]+\.json", re.ASCII)
SHA256, ROWS, CONTENTS, MIGRATIONS = "SHA-256 of the file", "row counts", "content hashes", "migrations"


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was compared with the manifest: `number` of `unit`, a word in the singular."""

    name: Line
    number: Count
    unit: Line
    passed: bool


class RestoreTest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A restore test of one copy of a backup. Times are in UTC.

    `seconds` are those of each stage of a restore: ``list``, ``load``, ``compare``, ``migrate``. Reading the copy
    takes place while it is loaded; `reading` is how long it took, with download and decryption.
    """

    backup: Line
    began_at: Moment
    seconds: dict[Line, Seconds]
    recovery_time: Seconds
    """The sum of `seconds`: how long it takes until the data are back."""
    reading: Seconds = 0
    checks: tuple[Check, ...] = ()
    """Those that were reached; with an `error` the last one did not pass."""
    error: Text = ""
    not_kept: tuple[NotKept, ...] = ()
    """Properties of the live database that a restore could not keep."""
    location: Line = ""
    where: Line = ""
    """Name and address of the location."""
    key: Line = ""
    """The public key of the identity that opened the copy; '' for a copy that is not encrypted."""
    recovery_point: Moment | None = None
    """When the newest good backup in this location was taken; None if there is none."""
    recovery_point_age: Seconds | None = None
    """Its age at `began_at`: what would be lost if only this location were left."""
    note: Text = ""
    """Why locations that are farther away were not tested."""
    report: Line = ""
    """The name of its report in the folder `REPORTS`; '' without one."""

    def __post_init__(self) -> None:
        for moment in (self.began_at, self.recovery_point):
            if moment:
                schema.require_time(moment)

    @property
    def passed(self) -> bool:
        return not self.error


class Report(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The document of a restore test, for people who were not there: also which installation and which file it was."""

    test: RestoreTest
    installation: Line
    """The name of the database."""
    requested_by: Line
    run: Line
    app_version: Line
    backup_id: Line = ""
    taken_at: Moment | None = None
    sha256: Sha256 | None = None
    size: Count = 0
    rows: Count = 0
    tables: Count = 0

    def __post_init__(self) -> None:
        if self.taken_at:
            schema.require_time(self.taken_at)


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """A report as it is stored: its content, whether its signature is valid, and the id of the key."""

    report: Report
    trust: Trust
    key: str
    document: dict[str, Any]


def facts_of(manifest: Manifest) -> dict[str, Any]:
    """The fields of a report that describe the backup."""
    return {
        "backup_id": manifest.id,
        "taken_at": manifest.taken_at,
        "sha256": manifest.sha256,
        "size": manifest.size,
        "rows": manifest.rows,
        "tables": len(manifest.tables),
    }


def report_name(backup: str, location: str, began_at: dt.datetime) -> str:
    """It sorts by time, and two tests of a run have different ones."""
    return f"{began_at.astimezone(dt.UTC):%Y%m%d_%H%M%S_%f}_{backup.partition('.')[0]}_{location}{MANIFEST}"


def write_report(catalog: BackupCatalog, report: Report) -> None:
    """Sign it and store it for good, under the name in its test. Raises errors of the storage."""
    document = catalog.keys.sign(schema.to_json(report))
    catalog.files.create(f"{REPORTS}/{report.test.report}", iter([json_bytes(document)]))


def read_report(catalog: BackupCatalog, name: str) -> ReadReport:
    """Raises FileNotFoundError, and ArtifactInvalid for a document that is no report, or for another file."""
    if not REPORT_NAME.fullmatch(name):
        raise ArtifactInvalid("It does not have the name of a report.")
    document = catalog.files.document(f"{REPORTS}/{name}")
    report = schema.read_document(unsigned(document), Report, what="The report")
    signature = document.get(SIGNATURE)
    key = signature.get("key", "") if isinstance(signature, dict) else ""
    return ReadReport(report=report, trust=catalog.keys.check(document), key=str(key), document=document)
