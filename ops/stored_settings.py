"""Settings that administrators change in the admin: retention, times of schedules, targets of notifications.

They are in ``settings.json`` next to the backups, where no restore replaces them. What the project itself sets takes
precedence: OPS_SETTING_SOURCES says which settings those are.
"""

import base64
import binascii
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from django.conf import settings
from msgspec import Struct

from ops.backups.encryption import AgeKeys
from ops.backups.retention import Policy
from ops.backups.signing import Trust, unsigned
from ops.backups.storage.atomic_files import AtomicFiles, json_bytes
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf, setting_name
from ops.errors import ArtifactInvalid, OpsError, PreconditionFailed
from ops.keys import keys_from_settings
from ops.schedules.builtin import Timing
from ops.utils import schema
from ops.utils.schema import Count, Line, Text

logger = logging.getLogger(__name__)

FILE = "settings.json"
SECRETS = ("NOTIFY_URLS", "HEARTBEAT_URL")
"""They hold passwords and tokens, so they are encrypted in the file."""
RETENTION = (
    "BACKUP_RETENTION_DAYS",
    "BACKUP_KEEP_DAILY",
    "BACKUP_KEEP_WEEKLY",
    "BACKUP_KEEP_MONTHLY",
    "BACKUP_KEEP_YEARLY",
)
NUMBERS: Mapping[str, tuple[int, int]] = {
    "BACKUP_RETENTION_DAYS": (1, 36_500),
    **dict.fromkeys(RETENTION[1:], (0, 1_000)),
    "UNDO_KEEP_DAYS": (1, 3_650),
    "BACKUP_MAX_AGE_HOURS": (1, 24 * 366),
}
"""The least and the largest value of each number that can be changed."""
WHERE = {"default": "default", "admin": "set here"}
PLACES = {"settings": "settings module"}
"""What pages say of sources."""


class StoredSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the file. A setting that is not in it has the value of the project's settings, or its default."""

    numbers: dict[Line, Count] = {}
    secrets: Text = ""
    """An age file in Base64, for BACKUP_AGE_IDENTITY: a JSON object with those of `SECRETS` that were set."""
    schedules: dict[Line, Timing] = {}
    """By the name of the task."""


class StoredSettingsIgnored(ArtifactInvalid):
    """The file cannot be read, or was not written by this installation."""


@dataclass(frozen=True, kw_only=True)
class Effective:
    """The value of a setting and its `source`: ``default``, ``admin``, or where the project sets it.

    `is_fixed`: the project sets it, so the admin cannot change it.
    """

    name: str
    value: Any
    source: str
    is_fixed: bool

    @property
    def where(self) -> str:
        """``default``, ``set here``, or ``environment: UNDO_KEEP_DAYS``, for pages of the admin."""
        return WHERE.get(self.source) or f"{PLACES.get(self.source, self.source)}: {setting_name(self.name)}"


# --- The file -------------------------------------------------------------------------------------------------------


def files() -> AtomicFiles:
    """BACKUP_DIR."""
    return AtomicFiles(PrivateFileSystemStorage(conf.BACKUP_DIR))


def read() -> StoredSettings:
    """Raises StoredSettingsIgnored for a file that is damaged, or that others have written."""
    try:
        document = files().document(FILE)
        if keys_from_settings().check(document) is not Trust.SIGNED:
            raise ArtifactInvalid("It is not signed by this installation.")
        stored = schema.read_document(unsigned(document), StoredSettings, what="It")
    except FileNotFoundError:
        return StoredSettings()
    except (OpsError, OSError) as error:
        reason = error.message if isinstance(error, OpsError) else f"{type(error).__name__}."
        raise StoredSettingsIgnored(
            f"The settings in {FILE}, next to the backups, are ignored. {reason}",
            "Nothing is pruned until they are saved again on the page of settings.",
        ) from error
    return stored


def read_or_default() -> StoredSettings:
    """As `read`, but a file that is ignored is logged."""
    return read_with_fault()[0]


def read_with_fault() -> tuple[StoredSettings, StoredSettingsIgnored | None]:
    """As `read_or_default`, and why the file is ignored."""
    try:
        return read(), None
    except StoredSettingsIgnored as error:
        logger.warning("%s", error.message)
        return StoredSettings(), error


def write(stored: StoredSettings) -> None:
    """Replace the file, atomically. The caller holds the lock of the catalog's states."""
    files().rewrite(FILE, json_bytes(keys_from_settings().sign(schema.to_json(stored))))


# --- Values -----------------------------------------------------------------------------------------------------------


def source_of(name: str) -> str:
    """Where the project sets it, such as ``environment``; '' where it does not."""
    sources = conf.OPS_SETTING_SOURCES
    if sources is not None:
        return str(sources.get(name, ""))
    return "settings" if settings.is_overridden(name) else ""


def number(name: str, stored: StoredSettings) -> Effective:
    """One of `NUMBERS`."""
    return effective(name, stored.numbers)


@dataclass(frozen=True, kw_only=True)
class Retained:
    """How long backups are kept, and the days for which the previous database is."""

    policy: Policy
    undo_keep_days: int


def retained(*, days: int | None = None) -> Retained:
    """Of one reading of the file. `days` replaces BACKUP_RETENTION_DAYS.

    While the file is ignored, all backups are kept, and the previous database for as long as possible.
    """
    stored, fault = read_with_fault()
    found = replace(policy_of(stored), unknown=fault is not None)
    undo_days = NUMBERS["UNDO_KEEP_DAYS"][1] if fault else int(number("UNDO_KEEP_DAYS", stored).value)
    return Retained(policy=found if days is None else replace(found, days=days), undo_keep_days=undo_days)


def policy(*, days: int | None = None) -> Policy:
    """The retention policy, as `retained` reads it."""
    return retained(days=days).policy


def policy_of(stored: StoredSettings) -> Policy:
    """The retention policy while these settings are stored."""
    days, daily, weekly, monthly, yearly = (int(number(name, stored).value) for name in RETENTION)
    return Policy(days=days, daily=daily, weekly=weekly, monthly=monthly, yearly=yearly)


def undo_keep_days() -> int:
    """Days for which the previous database is kept, as `retained` reads them."""
    return retained().undo_keep_days


def max_age_hours() -> int:
    return int(number("BACKUP_MAX_AGE_HOURS", read_or_default()).value)


def notify_urls() -> Sequence[str]:
    """The targets of notifications."""
    return tuple(secret("NOTIFY_URLS").value)


def heartbeat_url() -> str:
    return str(secret("HEARTBEAT_URL").value)


def secret(name: str) -> Effective:
    """One of `SECRETS`; the project's value, or the default, while the file cannot be read."""
    return effective(name, {}) if source_of(name) else secrets_with_fault()[0][name]


def secrets_with_fault(stored: StoredSettings | None = None) -> tuple[dict[str, Effective], OpsError | None]:
    """All `SECRETS`, of `stored` or of the file, and why those that were stored are not used. They are decrypted once.

    While they cannot be read, which is logged, each has the project's value or the default.
    """
    found, fault = {}, None
    try:
        found = decrypted(read() if stored is None else stored)
    except OpsError as error:
        logger.warning("The secrets in %s cannot be read: %s", FILE, error.message)
        fault = error
    return {name: effective(name, found) for name in SECRETS}, fault


def effective(name: str, stored: Mapping[str, Any]) -> Effective:
    source = source_of(name)
    if not source and name in stored:
        return Effective(name=name, value=stored[name], source="admin", is_fixed=False)
    return Effective(name=name, value=getattr(conf, name), source=source or "default", is_fixed=bool(source))


# --- Secrets ----------------------------------------------------------------------------------------------------------


def age_keys() -> AgeKeys:
    """The keys of this machine. Raises PreconditionFailed where there is none."""
    keys = AgeKeys.of_machine(conf.BACKUP_AGE_IDENTITY, ())
    if not keys.recipients:
        raise PreconditionFailed(
            "Targets hold passwords, so they are kept encrypted, and this machine has no key. Nothing was changed.",
            "Set BACKUP_AGE_IDENTITY, or set the targets in NOTIFY_URLS and HEARTBEAT_URL.",
        )
    return keys


def decrypted(stored: StoredSettings, keys: AgeKeys | None = None) -> dict[str, Any]:
    """Raises OpsError where none of `keys` opens them, which are those of this machine unless they are given."""
    if not stored.secrets:
        return {}
    try:
        data = base64.b64decode(stored.secrets, validate=True)
        found = msgspec.json.decode((keys or age_keys()).decrypt(data, FILE), type=dict[str, Any])
    except (binascii.Error, msgspec.MsgspecError) as error:
        raise ArtifactInvalid(f"The encrypted part of {FILE} is damaged.") from error
    return {name: value for name, value in found.items() if name in SECRETS}


def with_secrets(stored: StoredSettings, secrets: Mapping[str, Any], keys: AgeKeys | None = None) -> StoredSettings:
    """With those that are not empty, encrypted to `keys` or to this machine's.

    Raises PreconditionFailed if there are some, and no key.
    """
    kept = {name: value for name, value in secrets.items() if value}
    if not kept:
        return msgspec.structs.replace(stored, secrets="")
    data = (keys or age_keys()).encrypt(json.dumps(kept).encode())
    return msgspec.structs.replace(stored, secrets=base64.b64encode(data).decode())
