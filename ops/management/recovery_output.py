"""What `manage.py recover` shows."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from ops.backups.locations.location import Location
from ops.backups.locations.selection import FoundBackup
from ops.management.output import figures, show_result
from ops.runs.results import RestoreResult
from ops.utils.formatting import format_age, format_datetime, pluralize
from ops.utils.schema import to_json

NEXT = "Next: start the site, make a backup (manage.py backup_database), and a new kit (manage.py create_recovery_kit)."


def show_found(console: Console, location: Location, found: Sequence[FoundBackup], *, most: int | None) -> None:
    """What a storage location has, the newest first."""
    kind = "encrypted" if location.encrypted else "not encrypted"
    console.print(f"{location.where}: {pluralize(len(found), 'backup')}, {kind}", soft_wrap=True, markup=False)
    width = max((len(backup.name) for backup in found), default=0)
    for backup in found[:most]:
        console.print(figures(backup.record, width), soft_wrap=True)
        details = [f"taken {format_age(backup.taken_at)}"] if backup.taken_at else []
        remarks = filter(None, (location.remark(backup.name), backup.objection and f"not used: {backup.objection}"))
        console.print("  " + " · ".join([*details, *remarks]), style="dim", soft_wrap=True, markup=False)
    if most is not None and len(found) > most:
        console.print(f"… and {len(found) - most} older ones (--list shows all)")


def found_as_json(location: Location, found: Sequence[FoundBackup]) -> dict[str, Any]:
    """What `recover --list --json` prints, newest first."""
    backups = [
        {
            "name": backup.name,
            "trust": backup.record.trust,
            "objection": backup.objection,
            "remark": location.remark(backup.name),
            "stored_at": to_json(backup.stored_at),
            "manifest": backup.record.manifest.as_json() if backup.record.manifest else None,
        }
        for backup in found
    ]
    return {"location": location.where, "encrypted": location.encrypted, "backups": backups}


def describe_group(backups: Sequence[FoundBackup]) -> str:
    """``12 backups, the newest 5 hours ago``."""
    newest = backups[0].taken_at
    return f"{pluralize(len(backups), 'backup')}, the newest {format_age(newest) if newest else 'without a date'}"


def show_choice(
    console: Console, location: Location, found: Sequence[FoundBackup], chosen: FoundBackup, *, where: str
) -> None:
    """The backup that will be recovered, why no newer one, and what is lost."""
    newer = [backup for backup in found[: found.index(chosen)] if backup.objection]
    console.print()
    for backup in newer[:5]:
        console.print(f"{backup.name} is newer and not used: {backup.objection}.", style="yellow", soft_wrap=True)
    console.print(f"Recovering [bold]{escape(chosen.name)}[/bold] into [bold]{escape(where)}[/bold]", soft_wrap=True)
    for note in filter(None, (location.remark(chosen.name), chosen.objection)):
        console.print(f"Note: {note}.", style="yellow", soft_wrap=True, markup=False)
    if chosen.taken_at:
        console.print(describe_loss(chosen.taken_at), style="bold", soft_wrap=True, markup=False)


def describe_loss(taken_at: dt.datetime) -> str:
    age = format_age(taken_at)
    return f"The data are from {format_datetime(taken_at)}, {age}. Everything that was entered since is lost."


def show_recovered(console: Console, result: RestoreResult, *, where: str) -> None:
    console.print(f"\n[bold]Recovered[/bold] {escape(result.backup)} into {escape(where)}", soft_wrap=True)
    show_result(console, result)
    if result.taken_at:
        words = f"Everything that was entered since then ({format_age(result.taken_at)}) is lost."
        console.print(words, style="bold", soft_wrap=True, markup=False)
    console.print("Users sign in with the passwords of that time.")
    console.print(NEXT, soft_wrap=True)
