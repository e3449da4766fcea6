"""What the settings say about backups, for those who start operations; the core takes it as arguments."""

from pathlib import Path

from django.conf import settings
from django.core.files.storage import InvalidStorageError, storages
from django.utils.encoding import force_str

from ops.backups.repository import BackupRepository
from ops.backups.retention import Policy
from ops.backups.signing import Keys
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.errors import PreconditionFailed


def keys_from_settings() -> Keys:
    """BACKUP_SIGNING_KEY signs, or SECRET_KEY where it is empty.

    Those two, BACKUP_SIGNING_KEY_FALLBACKS and SECRET_KEY_FALLBACKS verify.
    """
    secrets = [
        getattr(settings, "BACKUP_SIGNING_KEY", ""),
        settings.SECRET_KEY,
        *getattr(settings, "BACKUP_SIGNING_KEY_FALLBACKS", ()),
        *settings.SECRET_KEY_FALLBACKS,
    ]
    return Keys(force_str(secret) for secret in secrets)


def catalogue_from_settings(directory: Path | None = None) -> BackupRepository:
    """The backups in `directory`, or in the storage ``STORAGES["backups"]``."""
    try:
        storage = PrivateFileSystemStorage(directory) if directory else storages["backups"]
    except InvalidStorageError as error:
        raise PreconditionFailed(
            f"Where backups go is not set up: {error}",
            'Set STORAGES["backups"], for example to ops.backups.storage.local.PrivateFileSystemStorage'
            " with a location.",
        ) from error
    return BackupRepository(storage, keys_from_settings(), getattr(settings, "OPS_BACKUP_PREFIX", "database"))


def policy_from_settings(days: int | None = None) -> Policy:
    """BACKUP_RETENTION_DAYS, where `days` does not replace it, and BACKUP_KEEP_DAILY, …_YEARLY."""
    return Policy(
        days=getattr(settings, "BACKUP_RETENTION_DAYS", Policy.days) if days is None else days,
        daily=getattr(settings, "BACKUP_KEEP_DAILY", 0),
        weekly=getattr(settings, "BACKUP_KEEP_WEEKLY", 0),
        monthly=getattr(settings, "BACKUP_KEEP_MONTHLY", 0),
        yearly=getattr(settings, "BACKUP_KEEP_YEARLY", 0),
    )
