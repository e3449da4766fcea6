"""The manifest of a backup: what it holds, where it comes from, how it was proven; signed, and readable by people."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from ops.backups import fields
from ops.errors import ArtifactInvalid

FORMAT = 1
"""Goes up when an older version could not read a manifest, or would misunderstand it."""


class Kind(StrEnum):
    """How the data file is written; the value is what its name ends in."""

    SQL_GZIP = "sql.gz"
    SQL = "sql"
    CUSTOM = "dump"
    SQLITE_GZIP = "sqlite3.gz"
    SQLITE = "sqlite3"

    @property
    def compressed(self) -> bool:
        """Whether the file has to be unpacked with gzip before an engine reads it."""
        return self in (Kind.SQL_GZIP, Kind.SQLITE_GZIP)


class Origin(StrEnum):
    """Why a backup was made."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    PRE_RESTORE = "pre-restore"
    UPLOAD = "upload"


class Level(StrEnum):
    """How far a backup was proven: read back in full and counted, or loaded and compared."""

    READ = "complete"
    RESTORED = "restored"


@dataclass(frozen=True, kw_only=True)
class TableDigest:
    """Rows of a table and a hash over the content of all of them, in no order (see the engine that made it)."""

    rows: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class ExcludedTable:
    """A table whose rows were left out on purpose, and why."""

    table: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """One verification. A failed one has its reason in `fault`. `seconds` is how long it took."""

    level: Level
    when: dt.datetime
    seconds: float
    error: str = ""

    @property
    def passed(self) -> bool:
        return not self.error


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One backup. Times are UTC; sizes are bytes.

    `id` is a UUID and stays; `name` is the data file's name in the storage. `tables` maps a table's name to its digest
    at the snapshot. `migrations` are ``app.name`` in the order they were applied. `size` and `sha256` are of the file
    as it is stored, `plain_size` is before compression. `untrusted` is set for files that somebody else made.
    """

    id: str
    name: str
    kind: Kind
    engine: str
    """``postgresql`` or ``sqlite``."""
    database: str
    origin: Origin
    who: str
    when: dt.datetime
    """The moment of the snapshot."""
    seconds: float
    server_version: str
    tool_version: str
    software: str
    """The version of the project that made it."""
    migrations: tuple[str, ...]
    tables: Mapping[str, TableDigest]
    size: int
    plain_size: int
    sha256: str
    verifications: tuple[Verification, ...] = ()
    """In the order in which they were made."""
    note: str = ""
    keep: bool = False
    run: str = ""
    """The id of the run that made it."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else is worth knowing: encoding, collation, host."""
    untrusted: bool = False
    excluded: tuple[ExcludedTable, ...] = ()
    """Each of them is among `tables`, with no rows and the digest of none."""

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @property
    def verification(self) -> Verification | None:
        """The strongest proof that holds: the newest of `restored` ones, else of `complete` ones.

        A failure ends what was proven before it, and is what holds until a success follows.
        """
        failures = [index for index, proof in enumerate(self.verifications) if not proof.passed]
        since = self.verifications[failures[-1] :] if failures else self.verifications
        passed = [proof for proof in since if proof.passed]
        restored = [proof for proof in passed if proof.level is Level.RESTORED]
        for held in (restored, passed, since):
            if held:
                return held[-1]
        return None

    def with_verification(self, proof: Verification) -> Self:
        return dataclasses.replace(self, verifications=(*self.verifications, proof))

    def as_json(self) -> dict[str, Any]:
        """What `from_json` reads: values that JSON has, times as ISO 8601 texts."""
        return {"format": FORMAT, **plain_values(self)}

    @classmethod
    def from_json(cls, document: object) -> Self:
        """The manifest of a parsed, unsigned `document`. Raises ArtifactInvalid, which says where it is odd."""
        if isinstance(document, dict) and isinstance(newer := document.get("format"), int) and newer > FORMAT:
            raise ArtifactInvalid(
                f"The manifest has format {newer}, and this version of the software knows formats up to {FORMAT}.",
                "Use the version that made the backup, or a newer one.",
            )
        values = READ(document, "")
        if (known := values.pop("format")) != FORMAT:
            raise fields.refuse("format", f"is {known}")
        if not values["name"].endswith(f".{values['kind']}"):
            raise fields.refuse("name", f"does not end in .{values['kind']}, its kind")
        for left_out in values["excluded"]:
            if left_out.table not in values["tables"] or values["tables"][left_out.table].rows:
                raise fields.refuse("excluded", f"names {left_out.table!r:.60}, which is not among the empty tables")
        fields.whole(sum(table.rows for table in values["tables"].values()), "tables, all rows of them,")
        return cls(**values)


def plain_values(part: Any) -> Any:
    """Dataclasses, mappings, tuples and times as JSON has them."""
    if dataclasses.is_dataclass(part):
        return {field.name: plain_values(getattr(part, field.name)) for field in dataclasses.fields(part)}
    if isinstance(part, Mapping):
        return {name: plain_values(value) for name, value in part.items()}
    if isinstance(part, tuple):
        return [plain_values(value) for value in part]
    return part.astimezone(dt.UTC).isoformat() if isinstance(part, dt.datetime) else part


def table_digest(value: object, path: str) -> TableDigest:
    return TableDigest(**fields.record({"rows": fields.whole, "digest": fields.text})(value, path))


def excluded_table(value: object, path: str) -> ExcludedTable:
    return ExcludedTable(**fields.record({"table": fields.text, "reason": fields.text})(value, path))


def proof(value: object, path: str) -> Verification:
    readers = {
        "level": fields.one_of(Level),
        "when": fields.moment,
        "seconds": fields.seconds,
        "fault": fields.text,
    }
    return Verification(**fields.record(readers)(value, path))


READ = fields.record(
    {
        "format": fields.whole,
        "id": fields.identifier,
        "name": fields.matching(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9]+)+", "the name of a backup's file"),
        "kind": fields.one_of(Kind),
        "engine": fields.text,
        "database": fields.text,
        "origin": fields.one_of(Origin),
        "who": fields.text,
        "when": fields.moment,
        "seconds": fields.seconds,
        "server_version": fields.text,
        "tool_version": fields.text,
        "software": fields.text,
        "migrations": fields.each(fields.text),
        "tables": fields.named(table_digest),
        "size": fields.whole,
        "plain_size": fields.whole,
        "sha256": fields.matching("[0-9a-f]{64}", "a SHA-256 in 64 hexadecimal digits"),
        "proofs": fields.each(proof),
        "note": fields.text,
        "keep": fields.truth,
        "run": fields.text,
        "facts": fields.named(fields.text),
        "untrusted": fields.truth,
        "excluded": fields.each(excluded_table),
    },
)
"""The fields of format 1, in the order in which a person reads them."""
