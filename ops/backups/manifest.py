"""The manifest of a backup: what it holds, where it comes from, how it was proven; signed, and readable by people."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FORMAT = 1


class Kind(StrEnum):
    """How the data file is written; the value is what its name ends in."""

    SQL_GZIP = "sql.gz"
    SQL = "sql"
    CUSTOM = "dump"
    SQLITE_GZIP = "sqlite3.gz"
    SQLITE = "sqlite3"


class Origin(StrEnum):
    """Why a backup was made."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    PRE_RESTORE = "pre-restore"
    UPLOAD = "upload"


class Level(StrEnum):
    """How far a backup was proven: read back in full and counted, or loaded and compared."""

    COMPLETE = "complete"
    RESTORED = "restored"


@dataclass(frozen=True, kw_only=True)
class TableDigest:
    """Rows of a table and a hash over the content of all of them, in no order (see the engine that made it)."""

    rows: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One verification. A failed one has its reason in `fault`. `seconds` is how long it took."""

    level: Level
    when: dt.datetime
    seconds: float
    fault: str = ""

    @property
    def passed(self) -> bool:
        return not self.fault


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One backup. Times are UTC; sizes are bytes.

    `id` is a UUID and stays; `name` is the data file's name in the storage. `tables` maps a table's name to its digest at
    the snapshot. `migrations` are ``app.name`` in the order they were applied. `size` and `sha256` are of the file as it is
    stored, `plain_size` is before compression. `untrusted` is set for files that somebody else made.
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
    proofs: tuple[Proof, ...] = ()
    note: str = ""
    keep: bool = False
    run: str = ""
    """The id of the run that made it."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else is worth knowing: encoding, collation, host."""
    untrusted: bool = False

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @property
    def proof(self) -> Proof | None:
        """The strongest proof that holds: the newest of `restored` ones, else of `complete` ones.

        A failure that is newer than every success is what holds.
        """
        raise NotImplementedError

    def with_proof(self, proof: Proof) -> "Manifest":
        return dataclasses.replace(self, proofs=(*self.proofs, proof))

    def as_json(self) -> dict[str, Any]:
        raise NotImplementedError
