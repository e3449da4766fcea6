"""Every setting that ops reads, with its default. docs/settings.md says what each is for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from django.conf import settings

Value = TypeVar("Value")


class Setting(Generic[Value]):
    """A setting of the project, or its `default`, after `convert`. It is read at each access."""

    def __init__(self, default: Value, convert: Callable[[Any], Value] | None = None) -> None:
        self.default, self.convert = default, convert

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name

    def __get__(self, _instance: object, _owner: type) -> Value:
        value = getattr(settings, self.name, self.default)
        return self.convert(value) if self.convert else cast("Value", value)


def words(value: str | Sequence[str]) -> Sequence[str]:
    """A list, or the parts of a text between white space."""
    return tuple(value.split() if isinstance(value, str) else value)


class Conf:
    """The settings of this project as ops reads them."""

    BACKUP_AGE_IDENTITY = Setting[Sequence[str]]((), words)
    BACKUP_AGE_RECIPIENTS = Setting[Sequence[str]]((), words)
    BACKUP_DIR = Setting(Path("backups"), Path)
    BACKUP_KEEP_DAILY = Setting(0)
    BACKUP_KEEP_WEEKLY = Setting(0)
    BACKUP_KEEP_MONTHLY = Setting(0)
    BACKUP_KEEP_YEARLY = Setting(0)
    BACKUP_LOCATIONS = Setting[Sequence[Mapping[str, Any]]](())
    """The other storage locations; `ops.backups.locations.location.LocationSettings` has the keys of each."""
    BACKUP_MAX_AGE_HOURS = Setting(26)
    BACKUP_MIN_COPIES = Setting(0)
    """0: one in each location."""
    BACKUP_RETENTION_DAYS = Setting(7)
    BACKUP_SIGNING_KEY = Setting("")
    BACKUP_SIGNING_KEY_FALLBACKS = Setting[Sequence[str]](())
    HEARTBEAT_URL = Setting("")
    NOTIFY_URLS = Setting[Sequence[str]](())
    OPS_ALERT_SOURCES = Setting[Sequence[str]](())
    """Dotted paths of functions that take an alias and return the project's own alerts."""
    OPS_BACKUP_EXCLUDED_TABLES = Setting[Sequence[str]](())
    OPS_BACKUP_PREFIX = Setting("database")
    OPS_CELERY_APP = Setting("")
    OPS_DASHBOARD_CARDS = Setting[Sequence[str]](())
    OPS_DIRECT_DATABASE = Setting[Mapping[str, Any]]({})
    OPS_LEGACY_FORMAT = Setting("")
    OPS_POSTGRES_BIN = Setting("")
    OPS_PREVIEW_EXCLUDED_TABLES = Setting[Sequence[str]](())
    OPS_RIGHTS_FIELDS = Setting[Sequence[str]](())
    OPS_SETTING_NAMES = Setting[Mapping[str, str]]({})
    """What messages call a setting that operators know by another name, such as that of an environment variable."""
    OPS_SETTING_SOURCES = Setting[Mapping[str, str] | None](None)
    """Where the project takes settings from, by name; those that it leaves out have their default.

    None: what the settings module sets is set there.
    """
    OPS_SITE_NAME = Setting("")
    """What notifications and printed recovery kits call the site."""
    OPS_STALLED_AFTER = Setting(60)
    OPS_UNTRUSTED_EXCLUDED_TABLES = Setting[Sequence[str]](())
    OPS_UPLOAD_LIMIT = Setting(10_000_000_000, int)
    OPS_VERSION = Setting("")
    POSTGRES_URL = Setting("")
    REDIS_URL = Setting("")
    UNDO_KEEP_DAYS = Setting(3)


conf = Conf()


def setting_name(name: str) -> str:
    """What messages call the setting `name`."""
    return conf.OPS_SETTING_NAMES.get(name, 'DATABASES["default"]' if name == "DATABASES" else name)
