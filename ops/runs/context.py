"""The database of this project, its backups and the retention policy, from the settings."""

import contextlib
import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ops import stored_settings
from ops.backups.encryption import SUFFIX, AgeKeys
from ops.backups.engines.base import Engine
from ops.backups.engines.configured import engine_of
from ops.backups.locations.catalog import BackupCatalog
from ops.backups.locations.location import S3, Location, LocationSettings, read_settings
from ops.backups.locations.versions import VersionedLocation
from ops.backups.manifest import Kind
from ops.backups.retention import Policy
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
from ops.errors import PreconditionFailed
from ops.keys import age_keys_from_settings, keys_from_settings


@dataclass(frozen=True, kw_only=True)
class OpsContext:
    """What operations work on. `previous_days`: how long the previous database is kept after a restore.

    `read_policy` reads `policy` again.
    """

    engine: Engine
    repository: BackupCatalog
    policy: Policy
    previous_days: int
    app_version: str
    read_policy: Callable[[], Policy] | None = None

    def with_policy(self, policy: Policy) -> "OpsContext":
        """The same with another general policy, from which those of other locations follow."""
        catalog = copy.copy(self.repository)
        catalog.others = {}
        for name, location in self.repository.others.items():
            catalog.others[name] = copy.copy(location)
            catalog.others[name].policy = location.settings.policy(policy)
        return replace(self, policy=policy, repository=catalog)

    def with_current_policy(self) -> "OpsContext":
        """With the policy of this moment: an administrator may have changed it since the run began, hours ago."""
        return self.with_policy(self.read_policy()) if self.read_policy else self

    def kind(self, *, compress: bool = True, custom: bool = False) -> Kind:
        """The format of a new backup. Raises PreconditionFailed if the database does not support it."""
        if custom:
            kind = Kind.CUSTOM
        elif self.engine.kind == "postgresql":
            kind = Kind.SQL_GZIP if compress else Kind.SQL
        else:
            kind = Kind.SQLITE_GZIP if compress else Kind.SQLITE
        if kind not in self.engine.kinds:
            raise PreconditionFailed("The custom format is PostgreSQL's, and the database is SQLite. Nothing was done.")
        return kind


def get_context(
    *, directory: Path | None = None, retention_days: int | None = None, alias: str = "default"
) -> OpsContext:
    """From the settings; `directory` and `retention_days` replace those if they are given.

    Raises PreconditionFailed for a database that is neither PostgreSQL nor SQLite.
    """
    retained = stored_settings.retained(days=retention_days)
    return OpsContext(
        engine=engine_of(alias),
        repository=repository_from_settings(directory, retained.policy if retention_days is None else None),
        policy=retained.policy,
        previous_days=retained.undo_keep_days,
        app_version=conf.OPS_VERSION,
        read_policy=partial(policy_from_settings, retention_days),
    )


def repository_from_settings(directory: Path | None = None, policy: Policy | None = None) -> BackupCatalog:
    """The backups in `directory`; without one those in BACKUP_DIR and in the locations of BACKUP_LOCATIONS.

    `policy` is the general one of the settings, where it has been read already.
    """
    storage = PrivateFileSystemStorage(directory or conf.BACKUP_DIR)
    locations = [] if directory else locations_from_settings(policy)
    return BackupCatalog(storage, keys_from_settings(), conf.OPS_BACKUP_PREFIX, locations)


def locations_from_settings(policy: Policy | None = None) -> list[Location]:
    """The other storage locations; `policy` as in `repository_from_settings`.

    Raises PreconditionFailed for invalid settings.
    """
    found = read_settings(conf.BACKUP_LOCATIONS)
    if not found:
        return []
    keys, policy = keys_from_settings(), policy or policy_from_settings()
    return [
        Location(
            settings,
            general_policy=policy,
            keys=keys,
            age_keys=age_keys_from_settings,
            prefix=conf.OPS_BACKUP_PREFIX,
        )
        for settings in found
    ]


def location_to_recover_from(
    settings: LocationSettings, *, secret_keys: Sequence[str] = (), signing_keys: Sequence[str] = ()
) -> Location:
    """The location, opened with these keys besides those of this machine, encrypted or not: its files show that.

    In a versioned bucket, what was deleted or overwritten is read as well. Raises errors of the storage.
    """
    options: dict[str, Any] = {
        "general_policy": policy_from_settings(),
        "keys": keys_from_settings(others=signing_keys),
        "age_keys": lambda: AgeKeys.of_machine([*secret_keys, *conf.BACKUP_AGE_IDENTITY], ()),
        "prefix": conf.OPS_BACKUP_PREFIX,
    }
    plain = Location(msgspec.structs.replace(settings, encrypted=False), **options)
    if plain.type == S3:
        with contextlib.suppress(PreconditionFailed):
            # The key may not have the right to list versions.
            names = list(VersionedLocation(plain.settings, **options).storage.entries())
            location = VersionedLocation(with_encryption(settings, names), **options)
            location.choose_versions()
            return location
    return Location(with_encryption(settings, plain.storage.entries()), **options)  # type: ignore[attr-defined]


def with_encryption(settings: LocationSettings, names: Iterable[str]) -> LocationSettings:
    return msgspec.structs.replace(settings, encrypted=any(name.endswith(SUFFIX) for name in names))


def policy_from_settings(days: int | None = None) -> Policy:
    """`days` or BACKUP_RETENTION_DAYS, and BACKUP_KEEP_DAILY to BACKUP_KEEP_YEARLY."""
    return stored_settings.policy(days=days)
