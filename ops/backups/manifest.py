"""The manifest of a backup: its content, origin and verifications. It is signed, and stored as readable JSON."""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta, Struct

from ops.backups.suspicion import Decision, Loss, Suspicion, Verdict
from ops.databases.postgres.differences import NotKept
from ops.databases.postgres.properties import DatabaseProperties
from ops.errors import ArtifactInvalid
from ops.utils import schema
from ops.utils.schema import Count, Line, Moment, Seconds, Text

FORMAT = 1
"""Increased when older versions could not read a new manifest, or would misunderstand it."""
UUID = r"\A[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"
FILE_NAME = r"\A[A-Za-z0-9_-]+(?:\.[A-Za-z0-9]+)+\Z"
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Kind(StrEnum):
    """The format of the data file; the value is the suffix of its name."""

    SQL_GZIP = "sql.gz"
    SQL = "sql"
    CUSTOM = "dump"
    SQLITE_GZIP = "sqlite3.gz"
    SQLITE = "sqlite3"

    @property
    def compressed(self) -> bool:
        """Whether the file is a gzip file."""
        return self in (Kind.SQL_GZIP, Kind.SQLITE_GZIP)


class Origin(StrEnum):
    """Why a backup was made."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    PRE_RESTORE = "pre-restore"
    UPLOAD = "upload"


class Level(StrEnum):
    """How a backup was verified: read back and counted, or restored into a scratch database and compared."""

    READ = "read"
    RESTORED = "restored"


class TableDigest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of a table, and a hash of their content, whose definition is the engine's."""

    rows: Count
    digest: Text


class ExcludedTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table whose rows are not in the backup, and the reason."""

    table: Text
    reason: Text


class Verification(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One verification. A failed one has its reason in `error`. `duration` is in seconds."""

    level: Level
    verified_at: Moment
    duration: Seconds
    error: Text = ""
    not_kept: tuple[NotKept, ...] = ()
    """Properties of the live database that a restore could not keep."""
    location: Line = "local"
    """The storage location whose copy was read."""

    def __post_init__(self) -> None:
        schema.require_time(self.verified_at)

    @property
    def passed(self) -> bool:
        return not self.error


class Encryption(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The age file of the data file in encrypted storage locations; all of them have the same bytes.

    `recipients` are the public keys that it was encrypted to.
    """

    size: Count
    sha256: Sha256
    recipients: tuple[Line, ...]


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One backup. Times are in UTC, sizes in bytes, `duration` in seconds.

    `id` is a UUID that never changes; `name` is the data file's name in the storage. `tables` maps names of tables to
    their digests at the snapshot. `migrations` are ``app.name`` in the order they were applied. `size` and `sha256` are
    those of the stored file, `uncompressed_size` is before compression. `untrusted` is set for uploaded files.
    """

    format: Literal[1] = 1
    id: Annotated[str, Meta(pattern=UUID)]
    name: Annotated[str, Meta(pattern=FILE_NAME)]
    kind: Kind
    engine: Text
    """``postgresql`` or ``sqlite``."""
    database: Text
    origin: Origin
    created_by: Text
    taken_at: Moment
    """The time of the snapshot."""
    duration: Seconds
    server_version: Text
    tool_version: Text
    app_version: Text
    """The version of the project."""
    migrations: tuple[Text, ...]
    tables: dict[Text, TableDigest]
    size: Count
    uncompressed_size: Count
    sha256: Sha256
    verifications: tuple[Verification, ...] = ()
    """In the order in which they were made."""
    note: Text = ""
    pinned: bool = False
    run: Text = ""
    """The id of the run that created it."""
    metadata: dict[Text, Text] = {}
    """Other facts: encoding, collation, host."""
    untrusted: bool = False
    properties: DatabaseProperties | None = None
    """Of PostgreSQL: what belongs to the database besides its content, without what every new database has."""
    encryption: Encryption | None = None
    """None before it was first copied to an encrypted location."""
    excluded: tuple[ExcludedTable, ...] = ()
    """Each is in `tables` as well, without rows."""
    suspicion: Suspicion | None = None
    known_losses: tuple[Loss, ...] = ()
    """Losses of tables and of bytes up to this backup that were not wrong. They show which tables rise and fall."""
    baseline_since: Moment | None = None
    """Later backups are not compared with those before this time, when the database was replaced or decided right."""

    def __post_init__(self) -> None:
        schema.require_time(self.taken_at)
        if self.baseline_since:
            schema.require_time(self.baseline_since)
        if not self.name.endswith(f".{self.kind}"):
            raise ValueError(f"the name {self.name} does not end in .{self.kind}, its kind")
        for excluded in self.excluded:
            if excluded.table not in self.tables or self.tables[excluded.table].rows:
                raise ValueError(f"the excluded table {excluded.table!r:.60} is not among the empty tables")
        if self.rows > schema.MAX_INTEGER:
            raise ValueError("all tables together have more rows than any database")

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @property
    def verification(self) -> Verification | None:
        """The strongest valid one: the newest of level ``restored``, else the newest of level ``read``.

        A failure invalidates earlier verifications, and is the result until one passes.
        """
        failures = [index for index, done in enumerate(self.verifications) if not done.passed]
        since = self.verifications[failures[-1] :] if failures else self.verifications
        passed = [done for done in since if done.passed]
        restored = [done for done in passed if done.level is Level.RESTORED]
        for candidates in (restored, passed, since):
            if candidates:
                return candidates[-1]
        return None

    @property
    def verdict(self) -> Verdict | None:
        """None for a backup that was never suspicious."""
        return self.suspicion.verdict if self.suspicion else None

    @property
    def may_be_wrong(self) -> bool:
        """Suspicious, and nobody decided that it is right. It may be verified all the same."""
        return self.verdict in {Verdict.UNDECIDED, Verdict.WRONG}

    def with_decision(self, decision: Decision) -> Self:
        """Raises ValueError for a backup that was never suspicious."""
        if self.suspicion is None:
            raise ValueError(f"{self.name} is not suspicious")
        return msgspec.structs.replace(self, suspicion=msgspec.structs.replace(self.suspicion, decision=decision))

    def with_verification(self, verification: Verification) -> Self:
        return msgspec.structs.replace(self, verifications=(*self.verifications, verification))

    def as_json(self) -> dict[str, Any]:
        """JSON values for `from_json`; times are ISO 8601 texts."""
        document: dict[str, Any] = schema.to_json(self)
        return document

    @classmethod
    def from_json(cls, document: object) -> Self:
        """The manifest of a parsed `document` without signature. Raises ArtifactInvalid with the place of the error."""
        if isinstance(document, dict) and isinstance(newer := document.get("format"), int) and newer > FORMAT:
            raise ArtifactInvalid(
                f"The manifest has format {newer}, and this version reads formats up to {FORMAT}.",
                "Use the version that created the backup, or a newer one.",
            )
        if isinstance(document, dict) and "format" not in document:
            raise ArtifactInvalid("The manifest is not valid: it has no format.", "Nothing was read from it.")
        return schema.read_document(document, cls, what="The manifest")
