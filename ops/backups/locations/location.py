"""A storage location besides BACKUP_DIR: its settings, its storage, and the backups in it."""

import contextlib
import datetime as dt
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from django.core.files.storage import Storage
from msgspec import Meta, Struct

from ops.backups.encryption import AgeKeys
from ops.backups.locations.encrypted_storage import EncryptedStorage
from ops.backups.manifest import Manifest
from ops.backups.record import LOCAL
from ops.backups.repository import MANIFEST, BackupRepository
from ops.backups.retention import Policy
from ops.backups.signing import Keys
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import ArtifactInvalid, PreconditionFailed
from ops.utils import schema

NAME = r"\A[a-z][a-z0-9_]{0,30}\Z"
UNNAMED = "recovery"
"""The name of a location that is given by its address alone."""
DIRECTORY, S3, SFTP = "directory", "s3", "sftp"
POLICY_FIELDS = {
    "days": "retention_days",
    "daily": "keep_daily",
    "weekly": "keep_weekly",
    "monthly": "keep_monthly",
    "yearly": "keep_yearly",
}
EXAMPLES = "/mnt/disk/backups, sftp://user@host/path or s3://bucket/prefix"
KEYS = f"Each entry has a name, and as url {EXAMPLES}. docs/settings.md lists the other keys."


class LocationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of BACKUP_LOCATIONS. Fields that are None follow the general settings, or the type of the location."""

    name: Annotated[str, Meta(pattern=NAME)]
    url: Annotated[str, Meta(min_length=1)]
    """An absolute path, ``sftp://user@host:port/path`` or ``s3://bucket/prefix``; without a password."""
    encrypted: bool = True
    off_site: bool | None = None
    lock_days: Annotated[int, Meta(ge=0, le=36500)] = 0
    """S3: days for which the server refuses to delete each new object."""
    host_key: str = ""
    identity_file: str = ""
    password: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    retention_days: Annotated[int, Meta(ge=1)] | None = None
    keep_daily: Annotated[int, Meta(ge=0)] | None = None
    keep_weekly: Annotated[int, Meta(ge=0)] | None = None
    keep_monthly: Annotated[int, Meta(ge=0)] | None = None
    keep_yearly: Annotated[int, Meta(ge=0)] | None = None

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"LocationSettings(name={self.name!r}, url={self.url!r})"

    @property
    def type(self) -> str:
        scheme = urlsplit(self.url).scheme
        return scheme if scheme in {S3, SFTP} else DIRECTORY

    @property
    def is_off_site(self) -> bool:
        return self.type != DIRECTORY if self.off_site is None else self.off_site

    def policy(self, general: Policy) -> Policy:
        """The retention policy of this location: the `general` one with the changes that are set."""
        fields = {word: getattr(self, field) for word, field in POLICY_FIELDS.items()}
        return replace(general, **{word: value for word, value in fields.items() if value is not None})


class EncryptedRepository(BackupRepository):
    """The backups in an encrypted location, whose sizes are those of their age files."""

    def stored_size(self, manifest: Manifest) -> int:
        return manifest.encryption.size if manifest.encryption else 0


class Location:
    """A storage location. Its storage is connected to when it is first used."""

    def __init__(
        self,
        settings: LocationSettings,
        *,
        general_policy: Policy,
        keys: Keys,
        age_keys: Callable[[], AgeKeys],
        prefix: str,
    ) -> None:
        """`age_keys` are read when they are needed: an error in them concerns encrypted copies only."""
        self.settings, self.name, self.type = settings, settings.name, settings.type
        self.encrypted = settings.encrypted
        self.off_site = settings.is_off_site
        self.policy = settings.policy(general_policy)
        self._age_keys = age_keys
        self._keys, self._prefix = keys, prefix

    def __repr__(self) -> str:
        return f"Location({self.name!r}, {self.settings.url!r})"

    @property
    def where(self) -> str:
        """Name and address, for messages."""
        return self.settings.url if self.name == UNNAMED else f"{self.name} ({self.settings.url})"

    @functools.cached_property
    def age_keys(self) -> AgeKeys:
        return self._age_keys()

    def shares_disk(self, directory: Path) -> bool:
        """Whether it is on the file system of `directory`: one disk that fails takes both."""
        if not isinstance(self.storage, PrivateFileSystemStorage):
            return False
        return self.storage.location.stat().st_dev == directory.stat().st_dev

    @functools.cached_property
    def storage(self) -> Storage:
        """The storage as it is: ciphertext where the location is encrypted."""
        return storage_of(self.settings)

    @functools.cached_property
    def repository(self) -> BackupRepository:
        """The backups in this location, decrypted where they are read."""
        if self.encrypted:
            return EncryptedRepository(EncryptedStorage(self.storage, self.age_keys), self._keys, self._prefix)
        return BackupRepository(self.storage, self._keys, self._prefix)

    def is_locked(self, name: str, now: dt.datetime) -> bool:
        """Whether the storage refuses to delete a file of this backup, by an object lock.

        That of the manifest may end later: each change of the manifest writes a new object.
        """
        for file in (name, name + MANIFEST):
            with contextlib.suppress(FileNotFoundError):
                until: dt.datetime | None = self.repository.storage.locked_until(file)  # type: ignore[attr-defined]
                if until is not None and until > now:
                    return True
        return False

    def contents(self, manifest: Manifest) -> Iterator[None]:  # noqa: ARG002  # of locations with versions
        """Once for each content that the data file may have: from then on `repository` reads that one."""
        yield

    def is_deleted(self, name: str) -> bool:  # noqa: ARG002  # of locations with versions
        """Whether only an earlier version of a file of this backup is there."""
        return False

    def remark(self, name: str) -> str:  # noqa: ARG002  # of locations with versions
        """What happened to the files of this backup there, as a clause; '' for nothing."""
        return ""


def read_settings(documents: object) -> tuple[LocationSettings, ...]:
    """The setting BACKUP_LOCATIONS. Raises PreconditionFailed naming the entry and the field that are wrong."""
    try:
        entries = msgspec.convert(documents, tuple[dict[str, Any], ...])
    except msgspec.ValidationError as error:
        raise PreconditionFailed("BACKUP_LOCATIONS is not a list of dictionaries.", KEYS) from error
    found: dict[str, LocationSettings] = {}
    for number, document in enumerate(entries, start=1):
        settings = read_entry(document, f"Entry {number} of BACKUP_LOCATIONS")
        if settings.name == LOCAL or settings.name in found:
            raise PreconditionFailed(
                f"Two storage locations are named {settings.name!r}.",
                f"{LOCAL!r} is BACKUP_DIR. Give each location in BACKUP_LOCATIONS a name of its own.",
            )
        found[settings.name] = settings
    return tuple(found.values())


def read_entry(document: Mapping[str, Any], what: str) -> LocationSettings:
    """Raises PreconditionFailed, also for an address that is none."""
    try:
        settings = schema.read_document(dict(document), LocationSettings, what=what)
    except ArtifactInvalid as error:
        raise PreconditionFailed(error.message, KEYS) from error
    require_address(settings)
    return settings


def require_address(settings: LocationSettings) -> None:
    """An address that cannot be read is not shown, because it may contain a password."""
    hint = f"An address is {EXAMPLES}."
    try:
        parts = urlsplit(settings.url)
        port = parts.port
    except ValueError as error:
        raise PreconditionFailed(
            f"The address of the storage location {settings.name!r} is not valid.", hint
        ) from error
    if parts.password:
        raise PreconditionFailed(
            f"The address of the storage location {settings.name!r} contains a password.",
            f"Remove it from the address, and set BACKUP_LOCATION_{settings.name.upper()}_PASSWORD.",
        )
    is_right = {
        DIRECTORY: settings.url.startswith("/") and settings.url.strip("/"),
        S3: parts.netloc and port is None,
        SFTP: parts.hostname and parts.username and parts.path.strip("/") and port != 0,
    }[settings.type]
    if not is_right:
        message = f"The address of the storage location {settings.name!r} is {settings.url!r}, which is not valid."
        raise PreconditionFailed(message, hint)
    if settings.endpoint and not settings.endpoint.startswith(("https://", "http://")):
        raise PreconditionFailed(
            f"The endpoint of the storage location {settings.name!r} is {settings.endpoint!r}, which is no URL.",
            "Begin it with https:// or http://, for example https://s3.example.net",
        )


def storage_of(settings: LocationSettings) -> Storage:
    """The storage of a location. S3 and SFTP import large libraries, so they are imported where they are used."""
    parts = urlsplit(settings.url)
    if settings.type == SFTP:
        from ops.backups.storage.sftp import SftpBackupStorage  # noqa: PLC0415

        return SftpBackupStorage(
            name=settings.name,
            host=parts.hostname or "",
            port=parts.port or 22,
            user=unquote(parts.username or ""),
            path=unquote(parts.path),
            host_key=settings.host_key,
            identity_file=settings.identity_file,
            password=settings.password,
        )
    if settings.type == S3:
        from ops.backups.storage.s3 import S3BackupStorage  # noqa: PLC0415

        bucket: Storage = S3BackupStorage(**s3_options(settings))
        return bucket
    return PrivateFileSystemStorage(settings.url)


def s3_options(settings: LocationSettings) -> dict[str, Any]:
    """The options of S3BackupStorage. Without keys, boto3 uses those of the machine."""
    parts = urlsplit(settings.url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    options = {
        "name": settings.name,
        "bucket_name": parts.netloc,
        "location": unquote(parts.path).strip("/"),
        "endpoint_url": settings.endpoint or query.get("endpoint", ""),
        "region_name": settings.region or query.get("region", ""),
        "access_key": settings.access_key,
        "secret_key": settings.secret_key,
        "lock_days": settings.lock_days,
    }
    return {name: value for name, value in options.items() if value}
