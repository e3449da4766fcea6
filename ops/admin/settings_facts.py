"""What the page of settings shows and cannot change: storage locations, keys, notifications, schedules, and the rest.

Nothing here is secret: of a secret it is shown whether it is set, and where.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from ops import stored_settings
from ops.admin.dashboard.locations import LocationCard, card_of, describe
from ops.admin.kept import stored_sizes
from ops.admin.notifications import labels
from ops.backups.locations.coverage import KnownLocation
from ops.backups.locations.location import POLICY_FIELDS, LocationSettings, read_settings
from ops.backups.record import LOCAL
from ops.backups.retention import PERIODS, Policy, expected_number, recommend
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf, setting_name
from ops.errors import OpsError
from ops.health.copies import read_locations
from ops.health.recovery import read_kits
from ops.schedules import timetable
from ops.schedules.builtin import BUILT_IN
from ops.schedules.builtin import describe as describe_timing
from ops.stored_settings import Effective, StoredSettings
from ops.utils import clock
from ops.utils.formatting import format_size, join_names, pluralize, time_zone_name

UNITS = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A setting as users read it. `where` it comes from; '' if it is not a setting."""

    name: str
    value: str
    where: str = ""
    note: str = ""


def source(name: str) -> str:
    """Where a setting comes from that is not changed here."""
    return Effective(name=name, value=None, source=stored_settings.source_of(name) or "default", is_fixed=True).where


# --- The retention policy ---------------------------------------------------------------------------------------------


def long_run(policy: Policy) -> list[str]:
    """How many backups `policy` keeps in the end, how much that is, and what is recommended besides."""
    used, newest = stored_sizes()
    now = clock.now()
    number = expected_number(policy, now=now)
    size = f" They take about {format_size(number * newest)}, if each is as large as the newest." if newest else ""
    kept = f"With one backup a day, {pluralize(number, 'backup')} are kept in the long run.{size}"
    return list(filter(None, (kept, recommend(policy, now=now, used=used, newest=newest))))


def describe_policy(policy: Policy) -> str:
    """``all for 7 days, then 4 weekly and 6 monthly``."""
    periods = [f"{getattr(policy, word)} {word}" for word in PERIODS if getattr(policy, word)]
    return f"all for {pluralize(policy.days, 'day')}" + (f", then {join_names(periods)}" if periods else "")


# --- Storage locations ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LocationFacts:
    name: str
    address: str
    where: str
    problem: str
    commands: tuple[str, ...]
    facts: tuple[Fact, ...]


def location_facts(policy: Policy) -> list[LocationFacts]:
    """BACKUP_DIR, whose backups `policy` keeps, and the others as the last run that copied backups found them."""
    try:
        here, *others = read_locations()
        configured = {each.name: each for each in read_settings(conf.BACKUP_LOCATIONS)}
    except OpsError as error:
        here, others, configured = KnownLocation(name=LOCAL, address=str(conf.BACKUP_DIR), type="directory"), [], {}
        return [local_facts(here, problem=error.message)]
    return [local_facts(here), *(other_facts(each, configured[each.name], policy) for each in others)]


def local_facts(here: KnownLocation, *, problem: str = "") -> LocationFacts:
    try:
        free = PrivateFileSystemStorage(conf.BACKUP_DIR).free_bytes()
    except OSError as error:
        free, problem = None, problem or f"It does not answer: {error.strerror}."
    found = (Fact(name="Kind", value=describe(here)), Fact(name="Free", value=format_size(free) if free else "unknown"))
    return LocationFacts(
        name=here.name, address=here.address, where=source("BACKUP_DIR"), problem=problem, commands=(), facts=found
    )


def other_facts(known: KnownLocation, configured: LocationSettings, policy: Policy) -> LocationFacts:
    card = card_of(known, clock.now(), with_commands=True)
    return LocationFacts(
        name=card.name,
        address=card.address,
        where=source("BACKUP_LOCATIONS"),
        problem=card.problem,
        commands=card.commands,
        facts=tuple(facts_of(card, configured, policy)),
    )


def facts_of(card: LocationCard, configured: LocationSettings, policy: Policy) -> Iterator[Fact]:
    yield Fact(name="Kind", value=card.kind)
    yield Fact(name="Copies", value=card.copies)
    is_own = any(getattr(configured, field) is not None for field in POLICY_FIELDS.values())
    kept = describe_policy(configured.policy(policy)) if is_own else "as BACKUP_DIR does"
    yield Fact(name="Keeps", value=kept)
    if configured.lock_days:
        yield Fact(name="Locked", value=f"nobody can delete a new copy for {pluralize(configured.lock_days, 'day')}")
    yield Fact(name="Last run", value=", ".join(filter(None, (card.answered, card.free))))


# --- Notifications and schedules --------------------------------------------------------------------------------------


def notification_facts(stored: StoredSettings) -> list[Fact]:
    secrets, _ = stored_settings.secrets_with_fault(stored)
    targets, heartbeat = secrets["NOTIFY_URLS"], secrets["HEARTBEAT_URL"]
    beat = labels([heartbeat.value]) if heartbeat.value else []
    return [
        Fact(name="Targets", value=join_names(labels(targets.value)) or "none: nothing is sent", where=targets.where),
        Fact(name="Heartbeat monitor", value=join_names(beat) or "none", where=heartbeat.where),
    ]


def schedule_facts(stored: StoredSettings) -> list[Fact]:
    """When each schedule starts; nothing where there is no worker that takes its runs."""
    if not timetable.is_installed() or not conf.OPS_CELERY_APP:
        return []
    return [
        Fact(
            name=each.name,
            value=describe_timing(stored.schedules.get(each.task, each.default)),
            where="set here" if each.task in stored.schedules else "default",
        )
        for each in BUILT_IN
        if each.default
    ]


# --- The rest ---------------------------------------------------------------------------------------------------------


def facts() -> list[Fact]:
    return [*key_facts(), *other_settings()]


def key_facts() -> Iterator[Fact]:
    keys, persons = len(conf.BACKUP_AGE_IDENTITY), len(conf.BACKUP_AGE_RECIPIENTS)
    machine = f"set, {pluralize(keys, 'key')}" if keys else "not set: nothing can be encrypted"
    yield Fact(name="Encryption key of this machine", value=machine, where=source("BACKUP_AGE_IDENTITY"))
    if persons:
        yield Fact(name="Public keys of persons", value=f"{persons}", where=source("BACKUP_AGE_RECIPIENTS"))
    yield Fact(name="Recovery kits", value=count_kits())
    is_signing = bool(conf.BACKUP_SIGNING_KEY)
    signing = "set" if is_signing else "not set: SECRET_KEY signs backups"
    yield Fact(name="Signing key", value=signing, where=source("BACKUP_SIGNING_KEY"))


def count_kits() -> str:
    try:
        return f"{sum(kit.is_current for kit in read_kits())} in use"
    except OpsError as error:
        return error.message


def other_settings() -> Iterator[Fact]:
    copies = str(conf.BACKUP_MIN_COPIES) if conf.BACKUP_MIN_COPIES else "one in each storage location"
    yield Fact(name="Copies of a backup, at least", value=copies, where=source("BACKUP_MIN_COPIES"))
    yield Fact(name="Largest upload", value=format_size(conf.OPS_UPLOAD_LIMIT), where=source("OPS_UPLOAD_LIMIT"))
    yield Fact(name="Time zone", value=time_zone_name(), where=source("TIME_ZONE"))
    worker = "in use" if conf.OPS_CELERY_APP else f"none: set {setting_name('OPS_CELERY_APP')}"
    yield Fact(name="Worker", value=worker, where=source("OPS_CELERY_APP"))
    engine = "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"
    yield Fact(name="Database", value=f"{settings.DATABASES['default']['NAME']} ({engine})")
    yield Fact(name="Version", value=conf.OPS_VERSION or "unknown")
