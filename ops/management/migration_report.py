"""The plan, findings and result of a migration, as text and as JSON."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.conf import setting_name
from ops.engine_migration.prepared import FIX_THE_VALUES, PreparedMigration
from ops.engine_migration.quarantine import quarantine_files
from ops.engine_migration.result import MigrationResult
from ops.engine_migration.target import Target
from ops.utils.formatting import pluralize
from ops.utils.schema import to_json

GROUPS_SHOWN = 12


def show_plan(console: Console, ready: PreparedMigration, target: Target) -> None:
    """The tables in the order of their foreign keys, and skipped ones with the reason."""
    snapshot = ready.snapshot
    wal = " and its -wal file" if snapshot.wal else ""
    console.print()
    say(console, f"Source  {escape(str(snapshot.source))}{wal}: {ready.plan.format}, {megabytes(snapshot.size)}")
    how = "filled through a staging database that is swapped in" if target.renamed else "filled in one transaction"
    state = "" if target.exists else ", which does not exist yet"
    say(console, f"Target  {escape(str(target.address))} (PostgreSQL {target.server}){state}: {how}\n")
    table = Table(box=None, pad_edge=False)
    table.add_column("Table", no_wrap=True)
    table.add_column("Rows", justify="right")
    table.add_column("What happens")
    for entry in ready.plan.tables:
        refused = len(ready.preflight.refused.get(entry.name, ()))
        table.add_row(
            escape(str(entry)), f"{entry.rows:,}", f"[red]{refused:,} refused[/red]" if refused else "migrated"
        )
    for skipped in ready.plan.skipped:
        table.add_row(escape(skipped.table), f"{skipped.rows:,}", f"[dim]skipped: {escape(skipped.reason)}[/dim]")
    for unknown in ready.plan.unknown:
        table.add_row(escape(unknown.table), f"{unknown.rows:,}", f"[red]{escape(unknown.reason)}[/red]")
    console.print(table)
    show_notes(console, ready.plan.notes)
    show_notes(
        console,
        (
            f"NUL characters are removed from {column} in {count:,} rows."
            for column, count in ready.preflight.stripped.items()
        ),
    )


def show_notes(console: Console, notes: Iterable[str]) -> None:
    for note in notes:
        say(console, f"[yellow]Note[/yellow] {escape(note)}")


def show_rehearsal(console: Console, ready: PreparedMigration, target: Target) -> None:
    """What the dry run does now."""
    where = "a scratch database that is dropped" if target.renamed else "one transaction that is rolled back"
    console.print()
    say(
        console,
        f"Dry run: the rows are loaded into {where}. It takes as long as the migration, and needs its space on the"
        f" server: about {megabytes(2 * ready.snapshot.size)}.",
    )


def show_findings(console: Console, ready: PreparedMigration) -> None:
    groups = ready.preflight.groups
    if not groups:
        return
    found = pluralize(ready.preflight.count, "finding")
    console.print()
    say(console, f"[red]{found}[/red]: PostgreSQL would refuse or change these values")
    for group in groups[:GROUPS_SHOWN]:
        column = f".{group.column}" if group.column else ""
        say(console, f"  {group.count:,} × {escape(group.table + column)}: {escape(group.reason)}")
        for example in group.examples:
            value = f" {example.stored_type} {example.value}" if example.value else ""
            say(console, f"      [dim]primary key {escape(example.key)}{escape(value)}[/dim]")
    if len(groups) > GROUPS_SHOWN:
        console.print(f"  … and {len(groups) - GROUPS_SHOWN} more groups")
    say(console, f"All findings: {escape(str(ready.findings_file))}")


def show_stop(console: Console, ready: PreparedMigration, *, dry_run: bool) -> None:
    """Why nothing was written, and the next step."""
    console.print()
    if ready.plan.unknown:
        names = sorted({entry.table.partition(".")[0] for entry in ready.plan.unknown if "." not in entry.table})
        if names:
            options = " ".join(f"--skip-table {name}" for name in names)
            say(console, f"To skip the unknown tables, add {escape(options)}.")
        if len(names) < len(ready.plan.unknown):
            say(
                console,
                "Unknown columns: the file was written by another version of this code, or was changed by hand.",
            )
    if ready.preflight.count:
        say(console, f"{FIX_THE_VALUES} Add --dry-run as well to count them first.")
    if ready.not_tried:
        say(console, escape(ready.not_tried))
    if dry_run and ready.acceptable:
        console.print(f"Everything can be migrated, in about {ready.estimate:,.0f} s.")
    done = "Nothing was changed: this was a dry run."
    console.print(done if dry_run else "[red]Stopped.[/red] Nothing was changed.")


def show_result(
    console: Console,
    ready: PreparedMigration,
    target: Target,
    result: MigrationResult,
    *,
    is_live: bool,
) -> None:
    """The migrated tables, and the next step. `is_live`: the site uses the target already."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Table", no_wrap=True)
    table.add_column("Rows", justify="right")
    table.add_column("Verified", no_wrap=True)
    for entry in result.tables:
        refused = f", [yellow]{entry.refused:,} in quarantine[/yellow]" if entry.refused else ""
        table.add_row(escape(entry.name), f"{entry.rows:,}", f"[green]equal[/green] {entry.sha256[:12]}{refused}")
    console.print()
    console.print(table)
    seconds = sum(result.seconds.values())
    console.print()
    show_notes(console, (*ready.load_notes, *map(str, result.not_kept)))
    say(
        console,
        f"[green]Done.[/green] {result.rows:,} rows are in {escape(str(target.address))},"
        f" compared value by value with the file; {seconds:,.1f} s.",
    )
    if result.refused:
        directory = escape(str(ready.options.quarantine))
        names = ", ".join(quarantine_files(ready.plan, ready.preflight).values())
        say(console, f"[yellow]{result.refused:,} refused rows[/yellow] are in {directory}, in full: {escape(names)}")
    users = get_user_model()._meta.db_table
    if any(table.refused for table in result.tables if table.name == users):
        say(
            console,
            f"[yellow]The refused rows include users[/yellow] ({users}). Check that an administrator can sign in.",
        )
    if ready.copy:
        say(console, f"A verified copy of the file: {escape(str(ready.copy))}")
    if not is_live:
        setting = escape(setting_name("DATABASES"))
        say(console, f"Next: set {setting} to this database, and restart the site. All users must sign in again.")


def say(console: Console, sentence: str) -> None:
    """A sentence on one line, however narrow the log is."""
    console.print(sentence, soft_wrap=True)


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


# --- For scripts ----------------------------------------------------------------------------------------------
def plan_as_json(ready: PreparedMigration, target: Target) -> dict[str, Any]:
    preflight = ready.preflight
    return {
        "status": "plan" if ready.acceptable else "findings",
        "source": {
            "path": str(ready.snapshot.source),
            "format": ready.plan.format,
            "bytes": ready.snapshot.size,
            "sha256": ready.snapshot.sha256,
            "wal": ready.snapshot.wal,
        },
        "target": {
            "database": target.address.database,
            "host": target.address.host,
            "port": target.address.port,
            "exists": target.exists,
            "staging_database": target.renamed,
        },
        "tables": [
            {
                "name": table.name,
                "source": table.source,
                "rows": table.rows,
                "refused": table.rows - preflight.rows_of(table),
            }
            for table in ready.plan.tables
        ],
        "skipped": to_json(ready.plan.skipped),
        "unknown": to_json(ready.plan.unknown),
        "notes": list(ready.notes),
        "not_tried": ready.not_tried,
        "stripped": dict(preflight.stripped),
        "findings": {
            "count": preflight.count,
            "file": str(ready.findings_file) if ready.findings_file else None,
            "groups": [
                {"table": group.table, "column": group.column, "reason": group.reason, "count": group.count}
                for group in preflight.groups
            ],
        },
        "estimate_seconds": round(ready.estimate, 1),
    }


def result_as_json(ready: PreparedMigration, target: Target, result: MigrationResult) -> dict[str, Any]:
    return plan_as_json(ready, target) | {
        "copy": str(ready.copy) if ready.copy else None,
        "quarantine": str(ready.options.quarantine) if result.refused else None,
        "quarantine_files": dict(quarantine_files(ready.plan, ready.preflight)) if result.refused else {},
        "status": "quarantined" if result.refused else "migrated",
        "tables": to_json(result.tables),
        "rows": result.rows,
        "refused": result.refused,
        "not_kept": to_json(result.not_kept),
        "seconds": {stage: round(seconds, 3) for stage, seconds in result.seconds.items()},
    }
