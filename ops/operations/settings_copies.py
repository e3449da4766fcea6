"""Copies of the stored settings in other storage locations, from which a recovery brings them back.

Without them, the first pruning after a recovery would follow the default policy, which keeps seven days. A copy is
signed, as the file is. What is secret is in encrypted locations only, for the keys that open the backups there.
"""

import hashlib
from collections.abc import Iterator

import msgspec

from ops import stored_settings
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.location import Location
from ops.backups.signing import Trust, unsigned
from ops.backups.storage.atomic_files import json_bytes
from ops.errors import ArtifactInvalid, OpsError
from ops.stored_settings import FILE, StoredSettings, StoredSettingsIgnored
from ops.utils import schema

NOT_PRUNED = "Nothing is pruned until others are saved."
AGAIN = "Enter them again on the pages of the admin."


# --- Copying ----------------------------------------------------------------------------------------------------------


def is_settings_copy_due(catalog: BackupCatalog, location: Location) -> bool:
    """Whether the location lacks the settings of this moment, as far as is known here."""
    return wanted_digest(catalog, location) != catalog.states.read(location.name).settings


def copy_settings(catalog: BackupCatalog, location: Location) -> None:
    """Write the settings if they have changed, or are missing there. Raises OpsError and OSError."""
    digest = wanted_digest(catalog, location)
    is_there = not digest or FILE in location.repository.files.names()
    if is_there and digest == catalog.states.read(location.name).settings:
        return
    try:
        stored = stored_settings.read()
    except StoredSettingsIgnored:
        return  # a check reports it; backups are copied nevertheless
    document = catalog.keys.sign(schema.to_json(copy_of(stored, location)))
    location.repository.files.rewrite(FILE, json_bytes(document))
    catalog.update_state(location.name, lambda state: msgspec.structs.replace(state, settings=digest))


def wanted_digest(catalog: BackupCatalog, location: Location) -> str:
    """Of the settings and of the keys that open them there; what was written last while the settings are ignored."""
    known = catalog.states.read(location.name).settings
    try:
        stored = stored_settings.read()
        keys = location.age_keys.recipients if location.encrypted else ()
    except OpsError:
        return known
    if stored == StoredSettings() and not known:
        return ""
    return hashlib.sha256(msgspec.json.encode([stored, *keys])).hexdigest()


def copy_of(stored: StoredSettings, location: Location) -> StoredSettings:
    """With the secrets for the keys of an encrypted location, and without those that cannot be read here."""
    try:
        secrets = stored_settings.decrypted(stored) if location.encrypted else {}
    except OpsError:
        secrets = {}
    return stored_settings.with_secrets(stored, secrets, location.age_keys if secrets else None)


# --- Recovery ---------------------------------------------------------------------------------------------------------


def bring_settings(catalog: BackupCatalog, location: Location) -> Iterator[str]:
    """Write the settings that the location has here, unless an earlier attempt has.

    Yields what to log. Settings that no known key has signed are not used, nor is the default policy, which may delete
    more: nothing is pruned until others are saved. Other errors of the storage are raised.
    """
    if FILE in stored_settings.files().names():
        return
    try:
        stored = read_copy(location)
        secrets = stored_settings.decrypted(stored, location.age_keys) if stored.secrets else {}
    except FileNotFoundError:
        return
    except (ArtifactInvalid, StoredSettingsIgnored) as error:
        stored_settings.files().rewrite(FILE, json_bytes({}))  # not signed, so it is ignored
        yield f"The settings of the lost machine were not brought. {error.message} {NOT_PRUNED} {AGAIN}"
        return
    try:
        own = stored_settings.with_secrets(stored, secrets)
    except OpsError as error:
        own = msgspec.structs.replace(stored, secrets="")
        yield f"The targets of notifications were not brought. {error.message} {AGAIN}"
    with catalog.states.locked():
        stored_settings.write(own)
    yield "The settings that were made in the admin of the lost machine are in use."


def read_copy(location: Location) -> StoredSettings:
    """Raises ArtifactInvalid, also for one that no known key has signed, and FileNotFoundError."""
    document = location.repository.files.document(FILE)
    if location.repository.keys.check(document) is not Trust.SIGNED:
        raise ArtifactInvalid("No known key has signed them.")
    return schema.read_document(unsigned(document), StoredSettings, what="They")
