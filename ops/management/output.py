"""Backups, previews and results as sentences and tables in a terminal."""

import datetime as dt
from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.backups.engines.base import PreviousDatabase, describe_left_out
from ops.backups.locations.coverage import (
    Coverage,
    copies_of,
    describe_copies,
    describe_failure,
    describe_locations,
    describe_shortfall,
)
from ops.backups.manifest import Manifest, Verification
from ops.backups.preview import RestorePreview, TableDiff, describe_emptied, describe_pending
from ops.backups.record import BackupRecord
from ops.backups.retention import RetentionDecision
from ops.backups.rights.changes import RightsChange, sections
from ops.backups.signing import Trust
from ops.backups.sources import UNKNOWN_ORIGIN, RestoreSource
from ops.backups.suspicion import Verdict
from ops.databases.migration_state import migration_skew
from ops.runs.descriptions import (
    ENGINES,
    LEVELS,
    describe,
    describe_location,
    describe_replacement,
    describe_test,
    describe_unread,
    describe_verification,
)
from ops.runs.results import UNDO, BackupResult, CopyResult, PruneResult, RestoreResult, UndoResult, VerificationResult
from ops.utils.formatting import (
    describe_unknown_keys,
    format_age,
    format_datetime,
    format_local,
    format_size,
    strip_kept,
    time_zone_name,
)
from ops.utils.schema import to_json

TRUST = {
    Trust.UNSIGNED: "not signed",
    Trust.FOREIGN: "signed with an unknown key",
    Trust.TAMPERED: "changed after it was made",
}

SUSPICIONS = {Verdict.UNDECIDED: "SUSPICIOUS", Verdict.WRONG: "WRONG"}
SIGNED_OUT = "All users will be signed out."


def describe_verified(verification: Verification | None) -> str:
    if verification is None:
        return "not verified"
    when = format_age(verification.verified_at)
    if verification.passed:
        return f"{LEVELS[verification.level]} {when}"
    return f"verification FAILED {when}: {verification.error}"


def describe_skew(manifest: Manifest) -> str:
    """The migrations of the backup compared with those of the code."""
    skew = migration_skew(manifest.migrations)
    if skew.unknown:
        return f"{len(skew.unknown)} ahead"
    return f"{len(skew.pending)} behind" if skew.pending else "the same"


def show_result(console: Console, result: Struct) -> None:
    """The result of an operation, one sentence a line."""
    for sentence in describe(result):
        console.print(f"  {sentence}", soft_wrap=True, markup=False)


def show_backup(console: Console, result: BackupResult, *, where: str, location: str) -> None:
    console.print(f"\nBacked up {escape(where)} as [bold]{escape(result.backup)}[/bold]", soft_wrap=True)
    show_result(console, result)
    console.print(f"  Stored in {location}", soft_wrap=True, markup=False)
    if not result.suspicion:
        console.print(f"Restore it with: manage.py restore_database {result.backup}", soft_wrap=True, markup=False)


def show_records(
    console: Console,
    records: Iterable[BackupRecord],
    decisions: dict[str, RetentionDecision],
    *,
    with_locations: bool,
) -> None:
    """The list of `list_backups`, newest first: a line of figures for each backup, and one with its details."""
    records = list(records)
    width = max(len(record.name) for record in records)
    head = f"{'Backup':<{width}}  {f'Taken ({time_zone_name()})':<16}  {'Size':>8}  {'Rows':>9}  Verified"
    console.print(f"[bold]{head}[/bold]", soft_wrap=True)
    for record in records:
        console.print(figures(record, width), soft_wrap=True)
        decision = decisions.get(record.name)
        locations = [f"in {describe_locations(copies_of(record))}"] if with_locations and record.manifest else []
        details = [*details_of(record), *locations, *([escape(decision.reason)] if decision else [])]
        console.print(f"  [dim]{' · '.join(details)}[/dim]", soft_wrap=True)


def show_unknown_keys(console: Console, records: Iterable[BackupRecord]) -> None:
    """A warning about signatures with unknown keys, before someone needs those backups."""
    if names := sorted(record.name for record in records if record.trust is Trust.FOREIGN):
        console.print(f"\n[yellow]{escape(describe_unknown_keys(len(names), names[-1]))}[/yellow]", soft_wrap=True)


def show_coverage(console: Console, coverage: Coverage) -> None:
    """How many copies the newest verified backup has, and what falls short."""
    if coverage.newest is None:
        return
    if coverage.is_complete:
        console.print(f"\nThe newest verified backup has {describe_copies(coverage.holders)}.", soft_wrap=True)
    else:
        when = f"since {format_datetime(coverage.shortfall.since)}" if coverage.shortfall else "so far"
        console.print(f"\n[yellow]{escape(describe_shortfall(coverage, when=when))}[/yellow]", soft_wrap=True)
    for location in coverage.failing:
        failure = describe_failure(location, since=format_datetime(location.failing_since))
        console.print(f"[red]{escape(failure)}[/red]", soft_wrap=True)


def figures(record: BackupRecord, width: int) -> str:
    manifest = record.manifest
    if manifest is None:
        return f"{escape(record.name.ljust(width))}  [red]{escape(record.fault)}[/red]"
    colour, verified = "red", record.fault or TRUST.get(record.trust, "")
    if not verified:
        last = manifest.verification
        colour = "green" if last and last.passed else "red"
        verified = (LEVELS[last.level] if last.passed else f"FAILED: {last.error}") if last else "no"
        if suspicion := manifest.verdict and SUSPICIONS.get(manifest.verdict):
            colour, verified = "red", f"{verified}, {suspicion}"
    taken = format_local(manifest.taken_at)
    return (
        f"{escape(record.name.ljust(width))}  {taken:<16}  {format_size(manifest.size):>8}  {manifest.rows:>9,}"
        f"  [{colour}]{escape(verified)}[/{colour}]"
    )


def details_of(record: BackupRecord) -> list[str]:
    """Origin, note, verification and migrations."""
    if not (manifest := record.manifest):
        return []
    details = [escape(f"{manifest.origin}, {ENGINES.get(manifest.engine, manifest.engine)}")]
    if manifest.note:
        details.append(escape(f"“{manifest.note}”"))
    if manifest.verification:
        details.append(f"verified {format_age(manifest.verification.verified_at)}")
    skew = describe_skew(manifest)
    return details if skew == "the same" else [*details, f"migrations {skew}"]


def show_pruned(console: Console, result: PruneResult, *, dry_run: bool) -> None:
    """Every backup, whether it is kept, and the reason."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Backup", "", "Reason"):
        table.add_column(name, overflow="fold")
    decisions = {name: (True, reason) for name, reason in result.kept.items()}
    decisions |= {name: (False, reason) for name, reason in result.deleted.items()}
    for name, (keep, reason) in sorted(decisions.items(), reverse=True):
        decision = "kept" if keep else "would be deleted" if dry_run else "deleted"
        colour = "green" if keep else "yellow"
        table.add_row(escape(name), f"[{colour}]{decision}[/]", escape(strip_kept(reason)))
    console.print(table)


def show_previous(console: Console, previous: PreviousDatabase | None, *, days: int) -> None:
    """The database that an undo returns to."""
    if previous:
        until = format_datetime(previous.replaced_at + dt.timedelta(days=days))
        console.print(
            f"\nPrevious database, kept until {until}: {previous.name}, {format_size(previous.size)}."
            " Undo the last restore with: manage.py undo_restore",
            soft_wrap=True,
            markup=False,
        )
        if previous.backup_due:
            sentence = "It has no verified backup yet. Make one: manage.py backup_database"
            console.print(sentence, style="yellow", soft_wrap=True)


def records_as_json(
    records: Iterable[BackupRecord], decisions: dict[str, RetentionDecision], previous: PreviousDatabase | None
) -> dict[str, Any]:
    """What `list_backups --json` prints, newest first."""
    backups = [
        {
            "name": record.name,
            "trust": record.trust,
            "error": record.fault,
            "copies": to_json(copies_of(record)),
            "kept": decisions[record.name].keep if record.name in decisions else True,
            "reason": decisions[record.name].reason if record.name in decisions else "",
            "manifest": record.manifest.as_json() if record.manifest else None,
        }
        for record in records
    ]
    return {"backups": backups, "previous": to_json(previous)}


def show_verifications(console: Console, result: VerificationResult) -> None:
    """The outcome for each backup, and what restore tests have measured."""
    tests = {test.backup: test for test in result.tests}
    for name, verification in result.verifications.items():
        mark = "[green]✓[/green]" if verification.passed else "[red]✗[/red]"
        console.print(f"{mark} {escape(describe_verification(name, verification))}", soft_wrap=True)
        for sentence in describe_test(tests[name]) if name in tests else ():
            console.print(f"  {sentence}", soft_wrap=True, markup=False)
        for left in verification.not_kept:
            console.print(str(left), style="yellow", soft_wrap=True, markup=False)
    for sentence in describe_unread(result):
        console.print(f"[red]✗[/red] {escape(sentence)}", soft_wrap=True)


def show_copies(console: Console, result: CopyResult) -> None:
    """What was copied to each storage location, or why it was not."""
    for name, location in result.locations.items():
        mark = "[red]✗[/red]" if location.error else "[green]✓[/green]"
        for sentence in describe_location(name, location):
            console.print(f"{mark} {escape(sentence)}", soft_wrap=True)


def show_source(console: Console, source: RestoreSource, *, where: str) -> None:
    """The backup that will be restored, and the target."""
    console.print(f"Restoring [bold]{escape(source.name)}[/bold] into [bold]{escape(where)}[/bold]", soft_wrap=True)
    if manifest := source.manifest:
        console.print(
            f"Taken {format_datetime(manifest.taken_at)} ({format_age(manifest.taken_at)}) by {manifest.created_by},"
            f" {format_size(manifest.size)}; {describe_verified(manifest.verification)}",
            soft_wrap=True,
            markup=False,
        )
    else:
        console.print(
            f"[yellow]This file is not signed here. {UNKNOWN_ORIGIN}[/yellow]",
            soft_wrap=True,
        )
    if source.where:
        console.print(f"Read from {source.where}", soft_wrap=True, markup=False)
    console.print()


def show_loaded(console: Console, result: RestoreResult) -> None:
    console.print(f"\n[bold]Loaded[/bold] {escape(result.backup)} into {escape(result.database)}", soft_wrap=True)
    show_result(console, result)


def show_undo(console: Console, previous: PreviousDatabase, *, where: str) -> None:
    """The database that an undo returns to, and what becomes of the live one."""
    undone = "the undo" if previous.backup == UNDO else "the restore"
    console.print(
        f"Undoing {undone}: [bold]{escape(previous.name)}[/bold] ({format_size(previous.size)}) will become the live"
        f" database again, [bold]{escape(where)}[/bold].",
        soft_wrap=True,
    )
    console.print(
        f"This is the database as it was before {describe_replacement(previous)} at"
        f" {format_datetime(previous.replaced_at)} ({format_age(previous.replaced_at)}).",
        soft_wrap=True,
        markup=False,
    )
    console.print(
        "The database as it is now becomes the previous database, with all changes since then."
        " A second undo brings it back, and replaces what was changed in between.",
        soft_wrap=True,
    )
    console.print(SIGNED_OUT)


def show_preview(console: Console, preview: RestorePreview) -> None:
    """The changes of a restore: a table of models, then sentences about users, sessions and migrations."""
    if preview.unreadable:
        sentence = f"The live database is unreachable ({preview.unreadable}); its contents are unknown."
        console.print(sentence, style="yellow", markup=False)
    changed = preview.changed
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("Now", "Backup", "Restored", "Removed"):
        table.add_column(name, justify="right")
    for change in changed:
        table.add_row(*preview_cells(change))
    if changed:
        console.print(table)
    for sentence in preview.describe_unchanged():
        console.print(sentence, markup=False)
    if preview.rights:
        show_rights(console, preview.rights)
    for label, rows in preview.emptied:
        console.print(describe_emptied(label, rows), soft_wrap=True, markup=False)
    for sentence in describe_left_out(preview.not_taken, is_done=False):
        console.print(sentence, soft_wrap=True, markup=False)
    console.print(SIGNED_OUT)
    if preview.pending:
        console.print(describe_pending(len(preview.pending)), soft_wrap=True)


def show_steps(console: Console, steps: Iterable[str]) -> None:
    """What a restore will do, in this order."""
    for number, step in enumerate(steps, start=1):
        console.print(f"{number}. {step}", soft_wrap=True, markup=False)


def show_rights(console: Console, change: RightsChange) -> None:
    """Users whose accounts change, by name; those with more permissions than today first."""
    if change.unknown:
        console.print(change.unknown, style="yellow", soft_wrap=True, markup=False)
        console.print("Passwords, groups and permissions will be those of the database that replaces this one.")
        return
    for section in sections(change):
        text = f"{section.heading}:" if section.grave else f"{section.heading}: {', '.join(section.lines)}"
        console.print(text, style="yellow" if section.grave else None, soft_wrap=True, markup=False)
        for line in section.lines if section.grave else ():
            console.print(f"  {line}", soft_wrap=True, markup=False)
    if not change.needs_administrator:
        console.print("No user will get more permissions.")


def preview_cells(change: TableDiff) -> tuple[str, str, str, str, str]:
    approximately = "" if change.exact else "~"
    return (
        escape(change.label[:1].upper() + change.label[1:]),
        "?" if change.now is None else f"{change.now:,}",
        f"{change.then:,}",
        f"[green]{approximately}{change.gained:,}[/green]" if change.gained else "",
        f"[red]{approximately}{change.lost:,}[/red]" if change.lost else "",
    )


def show_restored(console: Console, result: RestoreResult, *, where: str) -> None:
    console.print(f"\n[bold]Restored[/bold] {escape(result.backup)} into {escape(where)}", soft_wrap=True)
    show_result(console, result)
    if result.previous:
        console.print("To undo the restore: manage.py undo_restore")
        console.print("To drop the previous database: manage.py drop_previous_database")


def show_undone(console: Console, result: UndoResult, *, where: str) -> None:
    replaced = escape(describe_replacement(result.restored))
    console.print(f"\n[bold]Undid[/bold] {replaced} in {escape(where)}", soft_wrap=True)
    show_result(console, result)
    if result.previous:
        console.print("To undo this undo: manage.py undo_restore")
