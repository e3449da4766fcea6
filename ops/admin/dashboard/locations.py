"""The dashboard's card about storage locations: a pure function of what was read."""

import datetime as dt
from dataclasses import dataclass

from ops.admin.copies import describe_kind
from ops.admin.dashboard.status import DashboardData
from ops.backups.locations.coverage import KnownLocation
from ops.backups.record import LOCAL
from ops.utils.formatting import format_age, format_local, format_size, pluralize


@dataclass(frozen=True, kw_only=True)
class LocationCard:
    """What is shown of a storage location. `problem` is a sentence, and `commands` are what to type then."""

    name: str
    address: str
    kind: str
    copies: str
    free: str
    answered: str
    problem: str = ""
    is_damaged: bool = False
    """It has damaged copies."""
    commands: tuple[str, ...] = ()


def location_cards(data: DashboardData, *, with_commands: bool) -> list[LocationCard]:
    """One for each storage location; none where BACKUP_DIR is the only one."""
    coverage = data.status.coverage
    if coverage is None or len(coverage.locations) == 1:
        return []
    here, *others = coverage.locations
    damaged = sum(bool(copy.error) for copy in here.state.copies.values())
    local = LocationCard(
        name=LOCAL,
        address=here.address,
        kind=describe(here),
        copies=describe_number(data.local.number - damaged, data.local.size, damaged),
        free="" if data.free is None else f"{format_size(data.free)} free",
        answered="" if data.storage_answers else "It does not answer",
        is_damaged=damaged > 0,
    )
    return [local, *(card_of(location, data.status.now, with_commands=with_commands) for location in others)]


def card_of(location: KnownLocation, now: dt.datetime, *, with_commands: bool) -> LocationCard:
    state = location.state
    good = [copy for copy in state.copies.values() if copy.is_good]
    damaged = len(state.copies) - len(good)
    problem = f"Fails since {format_local(location.failing_since)}: {state.error}" if state.error else ""
    return LocationCard(
        name=location.name,
        address=location.address,
        kind=describe(location),
        copies=describe_number(len(good), sum(copy.size for copy in good), damaged),
        free="" if state.free is None else f"{format_size(state.free)} free",
        answered=f"Answered {format_age(state.answered_at, now)}" if state.answered_at else "Never used so far",
        problem=problem,
        is_damaged=damaged > 0,
        commands=commands_for(location, damaged) if with_commands else (),
    )


def describe(location: KnownLocation) -> str:
    kind = describe_kind(location.type, encrypted=location.encrypted, off_site=location.off_site)
    return f"{kind}, on the disk of BACKUP_DIR" if location.state.shares_disk else kind


def describe_number(good: int, size: int, damaged: int) -> str:
    copies = f"{pluralize(good, 'good copy', 'good copies')}, {format_size(size)}"
    return f"{copies}, {damaged} damaged" if damaged else copies


def commands_for(location: KnownLocation, damaged: int) -> tuple[str, ...]:
    """What repairs it."""
    check = [f"manage.py verify_backup --all --location {location.name}"] if damaged else []
    copy = [f"manage.py copy_backups --location {location.name}"] if damaged or location.state.error else []
    return (*check, *copy)
