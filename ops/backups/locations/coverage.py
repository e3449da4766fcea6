"""How many good copies the newest backup has, where, and what falls short. Pure functions of what is known here."""

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec import Struct

from ops.backups.locations.location import LocationSettings
from ops.backups.locations.state import LocationState
from ops.backups.record import LOCAL, MISSING, BackupRecord
from ops.utils import schema
from ops.utils.formatting import join_names, pluralize
from ops.utils.schema import Count, Line, Moment, Text

GRACE = dt.timedelta(hours=2)
"""Copies are made every hour: a location may miss one run, and a new backup has this long to be copied."""


class CopyState(StrEnum):
    """Only good copies count."""

    GOOD = "good"
    DAMAGED = "damaged"
    UNREACHABLE = "unreachable"


class KnownCopy(Struct, frozen=True, kw_only=True):
    """A copy as the row of its backup has it; see `Backup.copies`."""

    location: Line
    size: Count = 0
    """Bytes that the location stores: of the age file where it is encrypted."""
    verified_at: Moment | None = None
    """When it was last read in full; None if it never was."""
    error: Text = ""
    answers: bool = True
    """Whether the location answered the last run."""

    @property
    def state(self) -> CopyState:
        if self.error:
            return CopyState.DAMAGED
        return CopyState.GOOD if self.answers else CopyState.UNREACHABLE


@dataclass(frozen=True, kw_only=True)
class KnownLocation:
    """A storage location, and its state when it was last used."""

    name: str
    address: str
    """Without secrets."""
    type: str
    encrypted: bool = False
    off_site: bool = False
    lock_days: int = 0
    state: LocationState = field(default_factory=LocationState)

    @property
    def answers(self) -> bool:
        return self.name == LOCAL or self.state.answers

    @property
    def failing_since(self) -> dt.datetime:
        """Of a location that fails."""
        return self.state.failing_since or dt.datetime.now(dt.UTC)

    @property
    def is_with_local(self) -> bool:
        """Whether one disk that fails takes its copies and those in BACKUP_DIR."""
        return self.name == LOCAL or self.state.shares_disk


@dataclass(frozen=True, kw_only=True)
class KnownBackup:
    """A verified backup and its copies."""

    taken_at: dt.datetime
    copies: tuple[KnownCopy, ...]


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """There are too few copies of new backups `since` this time."""

    since: dt.datetime
    is_reach_only: bool
    """There are enough copies, but locations that have them do not answer."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The copies of the `newest` verified backup, of which BACKUP_MIN_COPIES requires `required`."""

    locations: tuple[KnownLocation, ...]
    """BACKUP_DIR is the first."""
    required: int
    newest: KnownBackup | None
    shortfall: Shortfall | None

    @property
    def holders(self) -> tuple[KnownLocation, ...]:
        """The locations that have a good copy of the newest backup, and answer."""
        names = reachable(self.newest, self.locations) if self.newest else set()
        return tuple(location for location in self.locations if location.name in names)

    @property
    def is_complete(self) -> bool:
        """Whether there are enough copies of the newest backup."""
        return len(self.holders) >= self.required

    @property
    def failing(self) -> tuple[KnownLocation, ...]:
        return tuple(location for location in self.locations if location.state.error)


def known_location(settings: LocationSettings, state: LocationState) -> KnownLocation:
    return KnownLocation(
        name=settings.name,
        address=settings.url,
        type=settings.type,
        encrypted=settings.encrypted,
        off_site=settings.is_off_site,
        lock_days=settings.lock_days,
        state=state,
    )


def copies_of(record: BackupRecord) -> tuple[KnownCopy, ...]:
    """The copies of a backup: the one in BACKUP_DIR, if there is one, then those in other locations."""
    manifest = record.manifest
    local = []
    if manifest and record.local_fault != MISSING:
        read = [each.verified_at for each in manifest.verifications if each.location == LOCAL]
        here = KnownCopy(
            location=LOCAL, size=manifest.size, verified_at=max(read, default=None), error=record.local_fault
        )
        local.append(here)
    others = [
        KnownCopy(
            location=name,
            size=copy.size,
            verified_at=copy.verified_at,
            error=copy.error,
            answers=name not in record.unreachable,
        )
        for name, copy in record.copies.items()
    ]
    return (*local, *others)


def known_backups(records: Iterable[BackupRecord]) -> Iterator[KnownBackup]:
    """The verified ones of `records`."""
    for record in records:
        if record.verified and record.manifest:
            yield KnownBackup(taken_at=record.manifest.taken_at, copies=copies_of(record))


def read_copies(document: object) -> tuple[KnownCopy, ...]:
    """The field `copies` of a row. Raises ArtifactInvalid."""
    return schema.read_document(document, tuple[KnownCopy, ...], what="The list of copies")


def find_coverage(
    locations: Sequence[KnownLocation],
    backups: Iterable[KnownBackup],
    *,
    min_copies: int,
    now: dt.datetime,
    max_age: dt.timedelta,
) -> Coverage:
    """`backups` are the verified ones, the newest first; no more of them are read than are needed.

    `min_copies` and `max_age` are BACKUP_MIN_COPIES and BACKUP_MAX_AGE_HOURS.
    """
    rest = iter(backups)
    newest = next(rest, None)
    required = min_copies or len(locations)
    shortfall = find_shortfall(newest, rest, locations, required=required, now=now, max_age=max_age) if newest else None
    return Coverage(locations=tuple(locations), required=required, newest=newest, shortfall=shortfall)


def find_shortfall(
    newest: KnownBackup,
    others: Iterable[KnownBackup],
    locations: Sequence[KnownLocation],
    *,
    required: int,
    now: dt.datetime,
    max_age: dt.timedelta,
) -> Shortfall | None:
    """What falls short: the newest backup with enough copies is older than `max_age`, and there are newer ones.

    It falls short since the first newer one was taken; or, where only reach is lost, since the location failed that
    makes the difference. None during `GRACE`.
    """
    held: KnownBackup | None = None
    first_without: dt.datetime | None = None
    later: dt.datetime | None = None  # the time of the backup after the one at hand
    for backup in itertools.chain([newest], others):
        is_recent = now - backup.taken_at <= max_age
        if held is None and len(good(backup, locations)) >= required:
            held, first_without = backup, later
        if len(reachable(backup, locations)) >= required and (is_recent or later is None):
            return None
        if held and not is_recent:
            break
        later = backup.taken_at
    if held and (first_without is None or now - held.taken_at <= max_age):
        found = Shortfall(since=reach_lost(held, locations, required), is_reach_only=True)
    else:
        found = Shortfall(since=first_without or later or newest.taken_at, is_reach_only=False)
    return found if now - found.since > GRACE else None


def good(backup: KnownBackup, locations: Iterable[KnownLocation]) -> set[str]:
    """The locations that had a good copy when it was last read."""
    return {location.name for location in locations} & {copy.location for copy in backup.copies if not copy.error}


def reachable(backup: KnownBackup, locations: Sequence[KnownLocation]) -> set[str]:
    """The locations whose copies count: good ones, in locations that answered the last run."""
    silent = {copy.location for copy in backup.copies if not copy.answers}
    silent |= {location.name for location in locations if not location.answers}
    return good(backup, locations) - silent


def reach_lost(backup: KnownBackup, locations: Sequence[KnownLocation], required: int) -> dt.datetime:
    """When so many locations had failed that fewer than `required` good copies were left within reach."""
    held = good(backup, locations)
    lost = held - reachable(backup, locations)
    times = sorted(location.state.failing_since or backup.taken_at for location in locations if location.name in lost)
    return times[len(held) - required]


# --- Sentences --------------------------------------------------------------------------------------------------------


def describe_copies(locations: Sequence[KnownLocation]) -> str:
    """``3 copies in 3 locations, 1 off-site``, of `locations` that have a good copy. One disk is one location."""
    off_site = sum(location.off_site for location in locations)
    apart = sum(not location.is_with_local for location in locations)
    number = apart + (len(locations) > apart)
    copies, where = pluralize(len(locations), "copy", "copies"), pluralize(number, "location")
    return f"{copies} in {where}, {off_site or 'none'} off-site"


def describe_locations(copies: Iterable[KnownCopy]) -> str:
    """``local, nas, usb (damaged)``: where a backup is."""
    marks = (("" if copy.state is CopyState.GOOD else f" ({copy.state})", copy.location) for copy in copies)
    return ", ".join(f"{name}{mark}" for mark, name in marks) or "none"


def describe_gap(coverage: Coverage) -> str:
    """``no copy in nas, usb; unreachable in far``: the locations without a good copy of the newest backup in reach."""
    if coverage.newest is None:
        return ""
    holders = {location.name for location in coverage.holders}
    damaged = {copy.location for copy in coverage.newest.copies if copy.error}
    held = good(coverage.newest, coverage.locations)
    reasons: dict[str, list[str]] = {}
    for name in (location.name for location in coverage.locations if location.name not in holders):
        reason = "damaged" if name in damaged else "unreachable" if name in held else "no copy"
        reasons.setdefault(reason, []).append(name)
    return "; ".join(f"{reason} in {join_names(names)}" for reason, names in reasons.items())


def describe_shortfall(coverage: Coverage, *, when: str = "so far") -> str:
    """``The newest backup has 1 good copy instead of 3 since Sunday: no copy in nas, usb.``"""
    has = pluralize(len(coverage.holders), "good copy", "good copies")
    gap = describe_gap(coverage)
    reason = f": {gap}" if gap else f", and there are only {pluralize(len(coverage.locations), 'storage location')}"
    return f"The newest backup has {has} instead of {coverage.required} {when}{reason}."


def describe_failure(location: KnownLocation, *, since: str) -> str:
    """``nas has failed since Sunday: It does not answer.``"""
    return f"{location.name} has failed since {since}: {location.state.error.rstrip('.')}."
