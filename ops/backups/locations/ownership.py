"""Whether a backup in a storage location is of this installation: others may use the same place, and the same names."""

from ops.backups.encryption import NoKeyOpens
from ops.backups.locations.location import Location
from ops.backups.manifest import Manifest
from ops.backups.repository import MANIFEST
from ops.backups.signing import Trust
from ops.errors import ArtifactInvalid


def is_of_another(location: Location, name: str, id_: str = "") -> bool:
    """Whether the manifest there is another installation's, or that of another backup than the one with this `id_`.

    False without a manifest, and for a damaged one: both may be left of this installation's own backup.
    """
    repository = location.repository
    try:
        document = repository.files.document(name + MANIFEST)
    except NoKeyOpens:
        return True
    except (ArtifactInvalid, FileNotFoundError):
        return False
    if id_:
        return document.get("id") not in {id_, None}
    return repository.keys.check(document) is Trust.FOREIGN


def require_own(location: Location, manifest: Manifest) -> None:
    """Raises ArtifactInvalid where the copy would replace another backup."""
    if is_of_another(location, manifest.name, manifest.id):
        raise ArtifactInvalid(
            f"{manifest.name} was not copied to {location.where}: another installation has a backup of this name"
            " there.",
            "Give each installation a directory or a prefix of its own.",
        )
