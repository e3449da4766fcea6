"""Backups and what was done with them, in words and tables for a terminal."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.backups.engines.base import LeftOut, PreviousDatabase, describe_left_out
from ops.backups.manifest import Manifest, Verification
from ops.backups.preview import RestorePreview, TableDiff
from ops.backups.repository import BackupRecord
from ops.backups.retention import RetentionDecision
from ops.backups.rights.changes import RightsChange, sections
from ops.backups.signing import Trust
from ops.backups.sources import RestoreSource
from ops.databases.migration_state import migration_skew
from ops.runs.descriptions import ENGINES, describe, describe_verification
from ops.runs.results import BackupResult, PruneResult, RestoreResult, Result, UndoResult, VerificationResult
from ops.utils.formatting import (
    describe_unknown_keys,
    format_age,
    format_datetime,
    format_local,
    format_size,
    pluralize,
    strip_kept,
    time_zone_name,
)
from ops.utils.schema import to_json

TRUST = {
    Trust.UNSIGNED: "not signed",
    Trust.FOREIGN: "signed with another key",
    Trust.TAMPERED: "changed after it was made",
}


def verified_in_words(verification: Verification | None) -> str:
    if verification is None:
        return "not verified"
    when = format_age(verification.verified_at)
    return f"{verification.level}, {when}" if verification.passed else f"FAILED {when}: {verification.error}"


def migrations_in_words(manifest: Manifest) -> str:
    """How the backup's schema stands to the code's."""
    skew = migration_skew(manifest.migrations)
    if skew.unknown:
        return f"{len(skew.unknown)} ahead"
    return f"{len(skew.pending)} behind" if skew.pending else "the same"


def show_result(console: Console, result: Result) -> None:
    """What an operation did, a sentence to a line."""
    for sentence in describe(result):
        console.print(f"  {sentence}", soft_wrap=True, markup=False)


def show_backup(console: Console, result: BackupResult, *, where: str, location: str) -> None:
    console.print(f"\nBacked up {escape(where)} as [bold]{escape(result.backup)}[/bold]", soft_wrap=True)
    show_result(console, result)
    console.print(f"  Stored in {location}", soft_wrap=True, markup=False)
    console.print(f"Restore it with: manage.py restore_database {result.backup}", soft_wrap=True, markup=False)


def show_entries(console: Console, entries: Iterable[BackupRecord], decisions: dict[str, RetentionDecision]) -> None:
    """The table of `list_backups`, newest first: a line of figures for each, and one of words below it."""
    entries = list(entries)
    width = max(len(entry.name) for entry in entries)
    head = f"{'Backup':<{width}}  {f'Made ({time_zone_name()})':<16}  {'Size':>8}  {'Rows':>9}  Verified"
    console.print(f"[bold]{head}[/bold]", soft_wrap=True)
    for entry in entries:
        console.print(figures(entry, width), soft_wrap=True)
        decision = decisions.get(entry.name)
        words = [*about(entry), *([escape(decision.reason)] if decision else [])]
        console.print(f"  [dim]{' · '.join(words)}[/dim]", soft_wrap=True)


def show_unknown_keys(console: Console, entries: Iterable[BackupRecord]) -> None:
    """Whose signature nobody here can verify: said with every list, so that it is known before a restore."""
    if names := sorted(entry.name for entry in entries if entry.trust is Trust.FOREIGN):
        console.print(f"\n[yellow]{escape(describe_unknown_keys(len(names), names[-1]))}[/yellow]", soft_wrap=True)


def figures(entry: BackupRecord, width: int) -> str:
    manifest = entry.manifest
    if manifest is None:
        return f"{escape(entry.name.ljust(width))}  [red]{escape(entry.fault)}[/red]"
    colour, verified = "red", entry.fault or TRUST.get(entry.trust, "")
    if not verified:
        proof = manifest.verification
        colour = "green" if proof and proof.passed else "red"
        verified = (str(proof.level) if proof.passed else f"FAILED: {proof.error}") if proof else "no"
    made = format_local(manifest.taken_at)
    return (
        f"{escape(entry.name.ljust(width))}  {made:<16}  {format_size(manifest.size):>8}  {manifest.rows:>9,}"
        f"  [{colour}]{escape(verified)}[/{colour}]"
    )


def about(entry: BackupRecord) -> list[str]:
    """What there is to say of a backup beside its figures."""
    if not (manifest := entry.manifest):
        return []
    words = [escape(f"{manifest.origin}, {ENGINES.get(manifest.engine, manifest.engine)}")]
    if manifest.note:
        words.append(escape(f"“{manifest.note}”"))
    if manifest.verification:
        words.append(f"verified {format_age(manifest.verification.verified_at)}")
    skew = migrations_in_words(manifest)
    return words if skew == "the same" else [*words, f"migrations {skew}"]


def show_pruned(console: Console, result: PruneResult, *, dry_run: bool) -> None:
    """The decision for every backup with its reason."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Backup", "", "Reason"):
        table.add_column(name, overflow="fold")
    decisions = {**{name: (True, reason) for name, reason in result.kept.items()}}
    decisions |= {name: (False, reason) for name, reason in result.deleted.items()}
    for name, (keep, reason) in sorted(decisions.items(), reverse=True):
        fate = "kept" if keep else "would be deleted" if dry_run else "deleted"
        colour = "green" if keep else "yellow"
        table.add_row(escape(name), f"[{colour}]{fate}[/]", escape(strip_kept(reason)))
    console.print(table)


def show_previous(console: Console, previous: PreviousDatabase | None, *, days: int) -> None:
    """The database that an undo would bring back."""
    if previous:
        until = format_datetime(previous.replaced_at + dt.timedelta(days=days))
        console.print(
            f"\nPrevious database, kept until {until}: {previous.name}, {format_size(previous.size)}."
            " Undo the last restore with: manage.py undo_restore",
            soft_wrap=True,
            markup=False,
        )


def entries_as_json(
    entries: Iterable[BackupRecord], decisions: dict[str, RetentionDecision], previous: PreviousDatabase | None
) -> dict[str, Any]:
    """What `list_backups --json` prints, newest first."""
    backups = [
        {
            "name": entry.name,
            "trust": entry.trust,
            "error": entry.fault,
            "kept": decisions[entry.name].keep if entry.name in decisions else True,
            "reason": decisions[entry.name].reason if entry.name in decisions else "",
            "manifest": entry.manifest.as_json() if entry.manifest else None,
        }
        for entry in entries
    ]
    return {"backups": backups, "previous": to_json(previous)}


def show_verifications(console: Console, result: VerificationResult) -> None:
    """What a verification found, a line for each backup."""
    for name, verification in result.verifications.items():
        mark = "[green]✓[/green]" if verification.passed else "[red]✗[/red]"
        console.print(f"{mark} {escape(describe_verification(name, verification))}", soft_wrap=True)


def show_source(console: Console, source: RestoreSource, *, where: str) -> None:
    """What is about to be restored, and where to."""
    console.print(f"Restoring [bold]{escape(source.name)}[/bold] into [bold]{escape(where)}[/bold]", soft_wrap=True)
    if manifest := source.manifest:
        console.print(
            f"Made {format_datetime(manifest.taken_at)} ({format_age(manifest.taken_at)}) by {manifest.created_by},"
            f" {format_size(manifest.size)}; {verified_in_words(manifest.verification)}",
            soft_wrap=True,
            markup=False,
        )
    else:
        console.print(
            "[yellow]The origin of this file is unknown. Only rows of the project's own tables are taken; nothing of it"
            " is executed.[/yellow]",
            soft_wrap=True,
        )
    console.print()


def show_loaded(console: Console, result: RestoreResult) -> None:
    console.print(f"\n[bold]Loaded[/bold] {escape(result.backup)} into {escape(result.database)}", soft_wrap=True)
    show_result(console, result)


def show_undo(console: Console, previous: PreviousDatabase, *, where: str) -> None:
    """What an undo brings back."""
    console.print(
        f"Rolling back [bold]{escape(where)}[/bold] to [bold]{escape(previous.name)}[/bold]"
        f" ({format_size(previous.size)}): the database as of {format_datetime(previous.replaced_at)}"
        f" ({format_age(previous.replaced_at)}), when {escape(previous.backup)} replaced it.",
        soft_wrap=True,
    )
    console.print("Changes made since then are kept; undo_restore brings them back in turn.")
    console.print("All users are signed out.")


def show_preview(console: Console, preview: RestorePreview) -> None:
    """What a restore changes: a table of models, then sentences about users, sessions and migrations."""
    if preview.unreadable:
        sentence = f"The live database is unreachable ({preview.unreadable}); its contents are unknown."
        console.print(sentence, style="yellow", markup=False)
    changed = [change for change in preview.changes if change.gained or change.lost or change.now != change.then]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("Now", "Backup", "Restored", "Removed"):
        table.add_column(name, justify="right")
    for change in changed:
        table.add_row(*preview_cells(change))
    if changed:
        console.print(table)
    same = len(preview.changes) - len(changed)
    if same:
        words = "has" if same == 1 else "have"
        console.print(
            f"{pluralize(same, 'model')} {words} the same rows now and in the backup; individual values may differ."
        )
    if preview.rights:
        show_rights(console, preview.rights)
    for label, rows in preview.emptied:
        sentence = f"Backups hold no {label}: their table is empty afterwards ({pluralize(rows, 'row')} now)."
        console.print(sentence, markup=False)
    show_left_out(console, preview.not_taken)
    console.print("All users are signed out.")
    if preview.pending:
        console.print(
            f"The backup is older than the code: {pluralize(len(preview.pending), 'migration')} will be applied."
        )


def show_left_out(console: Console, left_out: Sequence[LeftOut]) -> None:
    """What is not taken from an untrusted file, by table."""
    for sentence in describe_left_out(left_out):
        console.print(sentence, soft_wrap=True, markup=False)


def show_rights(console: Console, change: RightsChange) -> None:
    """Who may do more than today, and what else becomes of accounts, all by name."""
    if change.unknown:
        console.print(change.unknown, style="yellow", soft_wrap=True, markup=False)
        console.print("Passwords, groups and permissions revert to the backup.")
        return
    for section in sections(change):
        words = f"{section.heading}:" if section.grave else f"{section.heading}: {', '.join(section.lines)}"
        console.print(words, style="yellow" if section.grave else None, soft_wrap=True, markup=False)
        for line in section.lines if section.grave else ():
            console.print(f"  {line}", soft_wrap=True, markup=False)
    if not change.needs_administrator:
        console.print("No user gets more permissions than today.")


def preview_cells(change: TableDiff) -> tuple[str, str, str, str, str]:
    about = "" if change.exact else "~"
    return (
        escape(change.label[:1].upper() + change.label[1:]),
        "?" if change.now is None else f"{change.now:,}",
        f"{change.then:,}",
        f"[green]{about}{change.gained:,}[/green]" if change.gained else "",
        f"[red]{about}{change.lost:,}[/red]" if change.lost else "",
    )


def show_restored(console: Console, result: RestoreResult, *, where: str) -> None:
    console.print(f"\n[bold]Restored[/bold] {escape(result.backup)} into {escape(where)}", soft_wrap=True)
    show_result(console, result)
    if result.previous:
        console.print("To undo the restore: manage.py undo_restore")
        console.print("To drop the previous database: manage.py drop_previous_database")


def show_undone(console: Console, result: UndoResult, *, where: str) -> None:
    console.print(f"\n[bold]Undone[/bold] in {escape(where)}", soft_wrap=True)
    show_result(console, result)
    if result.previous:
        console.print("To undo that as well: manage.py undo_restore")
