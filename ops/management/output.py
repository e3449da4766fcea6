"""Backups and what was done with them, in words and tables for a terminal."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.backups.engines.base import LeftOut, Undo, describe_left_out
from ops.backups.entries import BackupRecord
from ops.backups.manifest import Level, Manifest, Verification, plain_values
from ops.backups.preview import RestorePreview, TableDiff
from ops.backups.restore import Restored, Undone
from ops.backups.retention import RetentionDecision
from ops.backups.rights.changes import RightsChange, sections
from ops.backups.signing import Trust
from ops.backups.sources import RestoreSource
from ops.databases.override import migration_skew
from ops.operations import Beside
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

ENGINES = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}
TRUST = {
    Trust.UNSIGNED: "not signed",
    Trust.FOREIGN: "signed with another key",
    Trust.TAMPERED: "changed after it was made",
}


def proof_in_words(proof: Verification | None) -> str:
    if proof is None:
        return "not verified"
    return (
        f"{proof.level}, {format_age(proof.when)}"
        if proof.passed
        else f"FAILED {format_age(proof.when)}: {proof.error}"
    )


def migrations_in_words(manifest: Manifest) -> str:
    """How the backup's schema stands to the code's."""
    skew = migration_skew(manifest.migrations)
    if skew.unknown:
        return f"{len(skew.unknown)} ahead"
    return f"{len(skew.pending)} behind" if skew.pending else "the same"


def show_found(console: Console, found: Sequence[str]) -> None:
    """What an earlier run that was killed had left behind."""
    for sentence in found:
        console.print(f"[yellow]Found:[/yellow] {escape(sentence)}", soft_wrap=True)


def show_backup(console: Console, manifest: Manifest, *, where: str, location: str) -> None:
    console.print(f"\nBacked up {escape(where)} as [bold]{escape(manifest.name)}[/bold]", soft_wrap=True)
    percent = 100 * manifest.size / (manifest.plain_size or 1)
    console.print(
        f"  {pluralize(manifest.rows, 'row')} in {pluralize(len(manifest.tables), 'table')};"
        f" {format_size(manifest.size)}, {percent:.0f}% of {format_size(manifest.plain_size)}; {manifest.seconds:.1f} s"
    )
    console.print("  Proven complete: read back in full, every table's rows counted and equal to the snapshot's")
    console.print(f"  It is in {location}", soft_wrap=True, markup=False)
    console.print(f"Restore it with: manage.py restore_database {manifest.name}", soft_wrap=True, markup=False)


def show_pruned(console: Console, verdicts: Sequence[RetentionDecision]) -> None:
    """What a pruning after a backup did, in a line."""
    gone = [verdict.name for verdict in verdicts if not verdict.keep]
    if gone:
        console.print(f"Pruned {pluralize(len(gone), 'old backup')}: {', '.join(gone)}", soft_wrap=True, markup=False)


def show_entries(console: Console, entries: Iterable[BackupRecord], verdicts: dict[str, RetentionDecision]) -> None:
    """The table of `list_backups`, newest first: a line of figures for each, and one of words below it."""
    entries = list(entries)
    width = max(len(entry.name) for entry in entries)
    head = f"{'Backup':<{width}}  {f'Made ({time_zone_name()})':<16}  {'Size':>8}  {'Rows':>9}  Verified"
    console.print(f"[bold]{head}[/bold]", soft_wrap=True)
    for entry in entries:
        console.print(figures(entry, width), soft_wrap=True)
        verdict = verdicts.get(entry.name)
        words = [*about(entry), *([escape(verdict.reason)] if verdict else [])]
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
    made = format_local(manifest.when)
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
        words.append(f"verified {format_age(manifest.verification.when)}")
    skew = migrations_in_words(manifest)
    return words if skew == "the same" else [*words, f"migrations {skew}"]


def show_verdicts(console: Console, verdicts: Sequence[RetentionDecision], *, dry_run: bool) -> None:
    """Every backup's fate with its reason."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Backup", "", "Because"):
        table.add_column(name, overflow="fold")
    for verdict in verdicts:
        fate = "kept" if verdict.keep else "would go" if dry_run else "deleted"
        colour, reason = "green" if verdict.keep else "yellow", strip_kept(verdict.reason)
        table.add_row(escape(verdict.name), f"[{colour}]{fate}[/]", escape(reason))
    console.print(table)


def show_kept(console: Console, undo: Undo | None, *, days: int) -> None:
    """The database that an undo would bring back."""
    if undo:
        until = format_datetime(undo.when + dt.timedelta(days=days))
        console.print(
            f"\nKept from the last restore until {until}: {undo.name}, {format_size(undo.size)}."
            " manage.py undo_restore brings it back.",
            soft_wrap=True,
            markup=False,
        )


def entries_as_json(
    entries: Iterable[BackupRecord], verdicts: dict[str, RetentionDecision], undo: Undo | None
) -> dict[str, Any]:
    """What `list_backups --json` prints, newest first."""
    backups = [
        {
            "name": entry.name,
            "trust": entry.trust,
            "fault": entry.fault,
            "kept": verdicts[entry.name].keep if entry.name in verdicts else True,
            "because": verdicts[entry.name].reason if entry.name in verdicts else "",
            "manifest": entry.manifest.as_json() if entry.manifest else None,
        }
        for entry in entries
    ]
    return {"backups": backups, "undo": plain_values(undo) if undo else None}


def show_proofs(console: Console, proofs: Sequence[tuple[str, Verification]]) -> None:
    """What a verification found, a line for each backup."""
    for name, proof in proofs:
        if proof.passed:
            how = "restores" if proof.level is Level.RESTORED else "is complete"
            what = {
                Level.RESTORED: "loaded, migrated, and every table's content equal to the snapshot's",
                Level.READ: "read back in full, and every table's rows equal to the snapshot's",
            }[proof.level]
            console.print(f"[green]✓[/green] {escape(name)} {how}: {what}; {proof.seconds:.1f} s", soft_wrap=True)
        else:
            console.print(f"[red]✗[/red] {escape(name)} failed: {escape(proof.error)}", soft_wrap=True)


def show_source(console: Console, source: RestoreSource, *, where: str) -> None:
    """What is about to be restored, and where to."""
    console.print(f"Restoring [bold]{escape(source.name)}[/bold] into [bold]{escape(where)}[/bold]", soft_wrap=True)
    if manifest := source.manifest:
        console.print(
            f"Made {format_datetime(manifest.when)} ({format_age(manifest.when)}) by {manifest.who},"
            f" {format_size(manifest.size)}; {proof_in_words(manifest.verification)}",
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


def show_beside(console: Console, result: Beside) -> None:
    compared = ", equal to the snapshot's by content" if result.compared else ""
    console.print(
        f"\nLoaded {result.backup} into {result.database}: {pluralize(result.rows, 'row')} in"
        f" {pluralize(result.tables, 'table')}{compared}. The live database was not touched.",
        soft_wrap=True,
        markup=False,
    )
    show_left_out(console, result.left_out)


def show_undo(console: Console, undo: Undo, *, where: str) -> None:
    """What an undo brings back."""
    console.print(
        f"Bringing back [bold]{escape(undo.name)}[/bold] ({format_size(undo.size)}) as [bold]{escape(where)}[/bold]:"
        f" what it was until {format_datetime(undo.when)} ({format_age(undo.when)}),"
        f" when {escape(undo.backup)} took its place.",
        soft_wrap=True,
    )
    console.print("What has changed since then will be kept aside; undo_restore brings that back in turn.")
    console.print("Everybody has to sign in again.")


def show_impact(console: Console, impact: RestorePreview) -> None:
    """What a restore changes: a table of models, then sentences about people, sessions and migrations."""
    if impact.unreadable:
        sentence = f"The live database does not answer ({impact.unreadable}); what it holds is unknown."
        console.print(sentence, style="yellow", markup=False)
    changed = [change for change in impact.changes if change.gained or change.lost or change.now != change.then]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("Now", "Then", "Come back", "Disappear"):
        table.add_column(name, justify="right")
    for change in changed:
        table.add_row(*impact_cells(change))
    if changed:
        console.print(table)
    same = len(impact.changes) - len(changed)
    if same:
        words = "has" if same == 1 else "have"
        console.print(f"{pluralize(same, 'model')} {words} the same rows now and then; single values may differ.")
    if impact.rights:
        show_rights(console, impact.rights)
    for label, rows in impact.emptied:
        sentence = f"Backups hold no {label}: their table is empty afterwards ({pluralize(rows, 'row')} now)."
        console.print(sentence, markup=False)
    show_left_out(console, impact.not_taken)
    console.print("Everybody has to sign in again.")
    if impact.pending:
        console.print(
            f"The backup is older than the code: {pluralize(len(impact.pending), 'migration')} will be applied."
        )


def show_left_out(console: Console, left_out: Sequence[LeftOut]) -> None:
    """What is not taken from an untrusted file, by table."""
    for sentence in describe_left_out(left_out):
        console.print(sentence, soft_wrap=True, markup=False)


def show_rights(console: Console, change: RightsChange) -> None:
    """Who may do more than today, and what else becomes of accounts, all by name."""
    if change.unknown:
        console.print(change.unknown, style="yellow", soft_wrap=True, markup=False)
        console.print("Passwords, groups and rights become those of then.")
        return
    for section in sections(change):
        words = f"{section.heading}:" if section.grave else f"{section.heading}: {', '.join(section.lines)}"
        console.print(words, style="yellow" if section.grave else None, soft_wrap=True, markup=False)
        for line in section.lines if section.grave else ():
            console.print(f"  {line}", soft_wrap=True, markup=False)
    if not change.needs_administrator:
        console.print("Nobody gets more rights than today.")


def impact_cells(change: TableDiff) -> tuple[str, str, str, str, str]:
    about = "" if change.exact else "~"
    return (
        escape(change.label[:1].upper() + change.label[1:]),
        "?" if change.now is None else f"{change.now:,}",
        f"{change.then:,}",
        f"[green]{about}{change.gained:,}[/green]" if change.gained else "",
        f"[red]{about}{change.lost:,}[/red]" if change.lost else "",
    )


def show_restored(console: Console, result: Restored, *, where: str) -> None:
    console.print(f"\n[bold]Restored[/bold] {escape(result.backup)} into {escape(where)}", soft_wrap=True)
    compared = (
        ", compared with the manifest by content" if result.compared else ", which nothing is known of to compare with"
    )
    console.print(f"  {pluralize(result.rows, 'row')} in {pluralize(result.tables, 'table')}{compared}")
    show_left_out(console, result.left_out)
    if result.migrations:
        console.print(f"  {pluralize(len(result.migrations), 'migration')} applied on top")
    console.print(
        f"  The database was away for {result.cut_over:.2f} s; changes were held off for {result.writes_closed:.1f} s"
    )
    before = f"the backup {result.pre_backup}" if result.pre_backup else "no backup (you went without one)"
    console.print(f"  What was there before: {before}", soft_wrap=True, markup=False)
    if result.undo:
        console.print(
            f"  and the database itself, kept as {result.undo.name} ({format_size(result.undo.size)})",
            soft_wrap=True,
            markup=False,
        )
        console.print("To take the restore back: manage.py undo_restore")
        console.print("To let the kept database go: manage.py drop_undo")


def show_undone(console: Console, result: Undone, *, where: str) -> None:
    console.print(
        f"\n[bold]Undone.[/bold] {escape(where)} is again what it was at {format_datetime(result.brought_back.when)}.",
        soft_wrap=True,
    )
    console.print(
        f"  The database was away for {result.cut_over:.2f} s; changes were held off for {result.writes_closed:.1f} s"
    )
    if result.migrations:
        console.print(f"  {pluralize(len(result.migrations), 'migration')} applied on top")
    if result.undo:
        console.print(
            f"  What was live until now is kept as {result.undo.name}; undo_restore brings it back.",
            soft_wrap=True,
            markup=False,
        )
