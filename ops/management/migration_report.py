"""The plan, findings and result of a migration, as text and as JSON."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.engine_migration.plan import TablePlan
from ops.engine_migration.prepared import PreparedMigration
from ops.engine_migration.quarantine import quarantine_files
from ops.engine_migration.result import MigratedTable, MigrationResult
from ops.management.routes import Route
from ops.utils.formatting import pluralize
from ops.utils.schema import to_json

GROUPS_SHOWN = 12


def show_plan(console: Console, ready: PreparedMigration, route: Route) -> None:
    """The tables in the order of their foreign keys, and skipped ones with the reason."""
    console.print()
    say(console, f"Source  {escape(route.source)}")
    say(console, f"Target  {escape(route.target)}\n")
    table = Table(box=None, pad_edge=False)
    table.add_column("Table", no_wrap=True)
    table.add_column("Rows", justify="right")
    table.add_column("What happens")
    for entry in filter(has_rows, ready.plan.tables):
        refused = len(ready.preflight.refused.get(entry.name, ()))
        table.add_row(
            escape(str(entry)), f"{entry.rows:,}", f"[red]{refused:,} refused[/red]" if refused else "migrated"
        )
    add_empty(table, ready.plan.tables)
    for skipped in ready.plan.skipped:
        table.add_row(escape(skipped.table), f"{skipped.rows:,}", f"[dim]skipped: {escape(skipped.reason)}[/dim]")
    for unknown in ready.plan.unknown:
        table.add_row(escape(unknown.table), f"{unknown.rows:,}", f"[red]{escape(unknown.reason)}[/red]")
    console.print(table)
    show_notes(console, (*ready.plan.notes, *ready.file_notes))
    show_notes(
        console,
        (
            f"NUL characters are removed from {column} in {count:,} rows."
            for column, count in ready.preflight.stripped.items()
        ),
    )


def has_rows(table: TablePlan | MigratedTable) -> bool:
    return bool(table.rows or (isinstance(table, MigratedTable) and table.refused))


def add_empty(table: Table, tables: Sequence[TablePlan | MigratedTable]) -> None:
    """One row for all tables without rows."""
    if empty := len(tables) - len(list(filter(has_rows, tables))):
        table.add_row(f"[dim]{pluralize(empty, 'empty table')}[/dim]", "[dim]0[/dim]", "")


def show_notes(console: Console, notes: Iterable[str]) -> None:
    for note in notes:
        say(console, f"[yellow]Note[/yellow] {escape(note)}")


def show_rehearsal(console: Console, route: Route) -> None:
    """What the dry run does now."""
    console.print()
    say(console, f"Dry run: {escape(route.rehearsal)}")


def show_findings(console: Console, ready: PreparedMigration, route: Route) -> None:
    groups = ready.preflight.groups
    if not groups:
        return
    found = pluralize(ready.preflight.count, "finding")
    console.print()
    say(console, f"[red]{found}[/red]: {route.reader} would refuse or change these values")
    for group in groups[:GROUPS_SHOWN]:
        column = f".{group.column}" if group.column else ""
        say(console, f"  {group.count:,} × {escape(group.table + column)}: {escape(group.reason)}")
        for example in group.examples:
            value = f" {example.stored_type} {example.value}" if example.value else ""
            say(console, f"      [dim]primary key {escape(example.key)}{escape(value)}[/dim]")
    if len(groups) > GROUPS_SHOWN:
        console.print(f"  … and {len(groups) - GROUPS_SHOWN} more groups")
    say(console, f"All findings: {escape(str(ready.findings_file))}")


def show_stop(console: Console, ready: PreparedMigration, route: Route, *, dry_run: bool) -> None:
    """Why nothing was written, and the next step."""
    console.print()
    if ready.plan.unknown:
        names = sorted({entry.table.partition(".")[0] for entry in ready.plan.unknown if "." not in entry.table})
        if names:
            options = " ".join(f"--skip-table {name}" for name in names)
            say(console, f"To skip the unknown tables, add {escape(options)}.")
        if len(names) < len(ready.plan.unknown):
            say(console, f"Unknown columns: {route.unknown_columns}")
    if ready.preflight.count:
        say(console, f"{route.fix} Add --dry-run as well to count them first.")
    if ready.not_tried:
        say(console, escape(ready.not_tried))
    if dry_run and ready.acceptable:
        console.print(f"Everything can be migrated, in about {ready.estimate:,.0f} s.")
    done = "Nothing was changed: this was a dry run."
    console.print(done if dry_run else "[red]Stopped.[/red] Nothing was changed.")


def show_result(console: Console, ready: PreparedMigration, route: Route, result: MigrationResult) -> None:
    """The migrated tables, and the next step."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Table", no_wrap=True)
    table.add_column("Rows", justify="right")
    table.add_column("Verified", no_wrap=True)
    for entry in filter(has_rows, result.tables):
        refused = f", [yellow]{entry.refused:,} in quarantine[/yellow]" if entry.refused else ""
        table.add_row(escape(entry.name), f"{entry.rows:,}", f"[green]equal[/green] {entry.sha256[:12]}{refused}")
    add_empty(table, result.tables)
    console.print()
    console.print(table)
    seconds = sum(result.seconds.values())
    console.print()
    show_notes(console, (*ready.load_notes, *map(str, result.not_kept)))
    say(
        console,
        f"[green]Done.[/green] {result.rows:,} rows are in {escape(route.done)}; {seconds:,.1f} s.",
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
    if route.copy:
        say(console, f"A verified copy of the file: {escape(route.copy)}")
    if route.next_step:
        say(console, f"Next: {escape(route.next_step)}")


def say(console: Console, sentence: str) -> None:
    """A sentence on one line, however narrow the log is."""
    console.print(sentence, soft_wrap=True)


# --- For scripts ----------------------------------------------------------------------------------------------
def plan_as_json(ready: PreparedMigration, route: Route) -> dict[str, Any]:
    preflight = ready.preflight
    return {
        "status": "plan" if ready.acceptable else "findings",
        "source": route.source_as_json,
        "target": route.target_as_json,
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
        "missing_files": {
            "count": ready.missing.count,
            "file": str(ready.missing.path) if ready.missing.count else None,
            "groups": [
                {
                    "table": group.table,
                    "column": group.column,
                    "reason": group.reason,
                    "count": group.count,
                    "files": [example.value for example in group.examples],
                }
                for group in ready.missing.groups
            ],
        },
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


def result_as_json(ready: PreparedMigration, route: Route, result: MigrationResult) -> dict[str, Any]:
    return plan_as_json(ready, route) | {
        "copy": route.copy or None,
        "quarantine": str(ready.options.quarantine) if result.refused else None,
        "quarantine_files": dict(quarantine_files(ready.plan, ready.preflight)) if result.refused else {},
        "status": "quarantined" if result.refused else "migrated",
        "tables": to_json(result.tables),
        "rows": result.rows,
        "refused": result.refused,
        "not_kept": to_json(result.not_kept),
        "seconds": {stage: round(seconds, 3) for stage, seconds in result.seconds.items()},
    }
