"""The keys of this installation, from the settings and the recovery kits: of signatures and of encryption."""

from collections.abc import Iterable

from django.conf import settings
from django.utils.encoding import force_str

from ops.backups.encryption import AgeKeys
from ops.backups.recovery_kit import RecoveryKits
from ops.backups.signing import Keys
from ops.backups.storage.atomic_files import AtomicFiles
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf


def keys_from_settings(*, others: Iterable[str] = ()) -> Keys:
    """BACKUP_SIGNING_KEY signs, or SECRET_KEY where it is empty.

    Those two, BACKUP_SIGNING_KEY_FALLBACKS, SECRET_KEY_FALLBACKS and `others` verify.
    """
    secrets = [
        conf.BACKUP_SIGNING_KEY,
        settings.SECRET_KEY,
        *conf.BACKUP_SIGNING_KEY_FALLBACKS,
        *settings.SECRET_KEY_FALLBACKS,
        *others,
    ]
    return Keys(force_str(secret) for secret in secrets)


def recovery_kits_from_settings() -> RecoveryKits:
    """The kits in BACKUP_DIR."""
    return RecoveryKits(AtomicFiles(PrivateFileSystemStorage(conf.BACKUP_DIR)), keys_from_settings())


def age_keys_from_settings() -> AgeKeys:
    """The machine's BACKUP_AGE_IDENTITY; and as recipients also current recovery kits and BACKUP_AGE_RECIPIENTS.

    Raises PreconditionFailed for invalid keys, and ArtifactInvalid if the list of kits is not trusted.
    """
    kits = (kit.recipient for kit in recovery_kits_from_settings().current())
    return AgeKeys.of_machine(conf.BACKUP_AGE_IDENTITY, [*kits, *conf.BACKUP_AGE_RECIPIENTS])
