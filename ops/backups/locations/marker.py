"""The marker of a storage location: a file that shows that it is the one that was used before."""

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
from ops.errors import PreconditionFailed
from ops.utils import schema

FILE = "location.json"
"""Not encrypted; it contains nothing but a random number."""


class Marker(Struct, frozen=True, kw_only=True):
    id: Annotated[str, Meta(pattern=UUID)]


def require_marker(catalog: BackupCatalog, location: Location) -> None:
    """Write the marker at the first use of a location, and require it later.

    Without its file system a mount point is an empty directory, and copies would fill the local disk. Raises
    PreconditionFailed; then nothing was written.
    """
    known = catalog.states.read(location.name).id
    found = read_marker(location.storage, location.where)
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
    ids = {LOCAL: read_marker(catalog.storage, catalog.location)}
    ids |= {other: catalog.states.read(other).id for other in catalog.others if other != location.name}
    for other in (other for other, known in ids.items() if known == id_):
        raise PreconditionFailed(
            f"{location.where} is the same place as {other}. No backup was copied or deleted there.",
            "Give each storage location an address of its own. If its files were copied from another one, delete"
            f" {FILE} in one of them.",
        )


def read_marker(storage: Storage, where: str) -> str:
    """The id in the marker; '' without a marker. `where` is for messages."""
    try:
        document = AtomicFiles(storage).document(FILE)
    except FileNotFoundError:
        return ""
    return schema.read_document(document, Marker, what=f"The marker of {where}").id


def write_marker(location: Location) -> str:
    marker = Marker(id=str(uuid.uuid4()))
    location.storage.save(FILE, ContentFile(json_bytes(schema.to_json(marker))))
    return marker.id
