"""Which run has replaced a database last: one small file for each name of a database, next to the backups.

It says what the event log says, for a check that must not read a long history. No copy of it is made in other storage
locations: it is about the server that this installation uses.
"""

import contextlib
import hashlib
from uuid import UUID

import msgspec
from msgspec import Struct

from ops.backups.storage.atomic_files import AtomicFiles
from ops.errors import ArtifactInvalid
from ops.utils import schema
from ops.utils.schema import Line, Moment

FOLDER = "replacements"
MAX_DOCUMENT = 2**16
"""Bytes."""
MOST_SERVERS = 20
"""On which databases of one name are remembered."""


class Replacement(Struct, frozen=True, kw_only=True):
    """A run that replaces the live database, or fills an empty one."""

    run: UUID
    kind: Line
    backup: Line
    requested_at: Moment
    started_at: Moment


class LastReplacement(Struct, frozen=True, kw_only=True):
    """The last run that has replaced a database, and one after it of which that is not known."""

    done: Replacement | None = None
    is_lost: bool = False
    """Whether it is recorded that the live database does not have what `done` did."""
    unsure: Replacement | None = None

    @property
    def began(self) -> float:
        """When the last of them began, in seconds since 1970; 0 without one."""
        return max((one.started_at.timestamp() for one in (self.done, self.unsure) if one), default=0.0)


class Replacements(Struct, frozen=True, kw_only=True):
    """By the id of the server (`ops.databases.postgres.server_id`), or '' where the role might not ask for it."""

    servers: dict[Line, LastReplacement] = {}


def read(files: AtomicFiles, *, server: str, database: str) -> LastReplacement:
    """The last one of `database` on `server`. If either id is not known, the name of the database decides."""
    known = [last for other, last in read_all(files, database).servers.items() if not server or other in ("", server)]
    return max(known, key=lambda last: last.began, default=LastReplacement())


def write(files: AtomicFiles, last: LastReplacement, *, server: str, database: str) -> None:
    """Record the `last` replacement of `database` on `server`, in place of what `read` has found.

    Raises OpsError or OSError.
    """
    servers = {name: known for name, known in read_all(files, database).servers.items() if server and name}
    servers[server] = last
    newest = sorted(servers, key=lambda name: servers[name].began, reverse=True)[:MOST_SERVERS]
    document = Replacements(servers={name: servers[name] for name in newest})
    files.rewrite(path_of(database), msgspec.json.encode(document))


def read_all(files: AtomicFiles, database: str) -> Replacements:
    """Nothing where there is no such file, or it cannot be read as one."""
    with contextlib.suppress(FileNotFoundError, ArtifactInvalid):
        document = files.document(path_of(database), largest=MAX_DOCUMENT)
        return schema.read_document(document, Replacements, what="The record of the last restore")
    return Replacements()


def path_of(database: str) -> str:
    """Names of databases may have any characters."""
    return f"{FOLDER}/{hashlib.sha256(database.encode()).hexdigest()[:32]}.json"
