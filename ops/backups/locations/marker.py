"""The marker of a storage location shows that it is the one that was used before, and who uses it."""

import uuid
from typing import Annotated

import msgspec
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from msgspec import Meta, Struct

from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.location import Location
from ops.backups.locations.state import LOST
from ops.backups.manifest import UUID
from ops.backups.record import LOCAL
from ops.backups.storage.atomic_files import AtomicFiles, json_bytes
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils import schema
from ops.utils.schema import Line

FILE = "location.json"
"""Not encrypted; it contains random numbers and the prefixes of names."""
Uuid = Annotated[str, Meta(pattern=UUID)]


class Marker(Struct, frozen=True, kw_only=True):
    """`id` is that of the place; `owners` are installations by the prefix of their backups."""

    id: Uuid
    owners: dict[Line, Uuid] = {}


def require_marker(catalog: BackupCatalog, location: Location) -> None:
    """Write the marker at the first use of a location, and require it later.

    Without its file system a mount point is an empty directory, and copies would fill the local disk. Raises
    PreconditionFailed; then nothing was written.
    """
    known = catalog.states.read(location.name).id
    found = id_at(location.storage, location.where)
    is_right = bool(found) if known == LOST else found == known
    if known and not is_right:
        what = "another location's" if found else "no"
        raise PreconditionFailed(
            f"{location.where} has {what} marker ({FILE}), and it had one before. Nothing was written there.",
            "Is it mounted, and is the address right? If the location is new, delete"
            f" {catalog.location}/locations/{location.name}.json; then all backups are copied again.",
        )
    id_ = found or write_marker(location)
    require_own_place(catalog, location, id_)
    if known != id_:
        catalog.update_state(location.name, lambda state: msgspec.structs.replace(state, id=id_))


def require_own_place(catalog: BackupCatalog, location: Location, id_: str) -> None:
    """Two locations at one place would count each copy twice, and pruning one would delete the files of the other.

    Another address of the same place, such as one with a symbolic link, has the same marker.
    """
    ids = {LOCAL: id_at(catalog.storage, catalog.location)}
    ids |= {other: catalog.states.read(other).id for other in catalog.others if other != location.name}
    for other in (other for other, known in ids.items() if known == id_):
        raise PreconditionFailed(
            f"{location.where} is the same place as {other}. No backup was copied or deleted there.",
            "Give each storage location an address of its own. If its files were copied from another one, delete"
            f" {FILE} in one of them.",
        )


def require_owner(catalog: BackupCatalog, location: Location, *, take_over: bool) -> None:
    """Enter this installation into the marker at its first use of the location, and require it later.

    A copy of an installation, such as a test system, has its keys and addresses. It would prune and replace what the
    original has there. Raises PreconditionFailed, unless this one shall `take_over`; then nothing was written.
    """
    marker = read_marker(location.storage, location.where)
    owner = marker.owners.get(catalog.prefix) if marker else None
    own = catalog.installation_id()
    if marker is None or owner == own:
        return
    if owner and not take_over:
        raise PreconditionFailed(
            f"{location.where} is used by another installation, which has another BACKUP_DIR. Nothing was written"
            " there.",
            "If this one continues that one: manage.py copy_backups --take-over. Otherwise give this one a directory"
            " or a prefix of its own there.",
        )
    changed = Marker(id=marker.id, owners={**marker.owners, catalog.prefix: own})
    AtomicFiles(location.storage).rewrite(FILE, json_bytes(schema.to_json(changed)))


def continue_installation(catalog: BackupCatalog, location: Location) -> None:
    """Become the installation that the location belongs to: its machine is lost, and this one was recovered from it.

    A damaged marker is ignored: what was recovered is there, and copying asks for `--take-over`.
    """
    try:
        marker = read_marker(location.storage, location.where)
    except ArtifactInvalid:
        return
    if marker and (owner := marker.owners.get(catalog.prefix)):
        catalog.update_state(LOCAL, lambda state: msgspec.structs.replace(state, id=owner))


def id_at(storage: Storage, where: str) -> str:
    """The id in the marker; '' without a marker."""
    marker = read_marker(storage, where)
    return marker.id if marker else ""


def read_marker(storage: Storage, where: str) -> Marker | None:
    """None without a marker. `where` is for messages."""
    try:
        document = AtomicFiles(storage).document(FILE)
    except FileNotFoundError:
        return None
    return schema.read_document(document, Marker, what=f"The marker of {where}")


def write_marker(location: Location) -> str:
    marker = Marker(id=str(uuid.uuid4()))
    location.storage.save(FILE, ContentFile(json_bytes(schema.to_json(marker))))
    return marker.id
