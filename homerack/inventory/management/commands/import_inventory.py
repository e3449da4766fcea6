"""``manage.py import_inventory``: adds and changes rows of the inventory from CSV and XLSX files."""

import json
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from homerack.inventory.imports.plan import ImportRefused, Plan, PlanChanged
from homerack.inventory.spreadsheets.files import SpreadsheetFile, files_in
from homerack.inventory.spreadsheets.importing import import_inventory, plan_import
from homerack.inventory.spreadsheets.planning import Progress, no_progress
from homerack.inventory.spreadsheets.rows import SheetRow

NOT_CONFIRMED = 5
MAX_LISTED = 1000
"""New rows, and changed rows, that are printed; ``--json`` has all."""
EXAMPLES = """\
examples:
  import_inventory lab --dry-run
  import_inventory lab.xlsx
  import_inventory racks.csv devices.csv --yes
"""


class Command(BaseCommand):
    help = "Add and change rows of the inventory from CSV and XLSX files: all of them, or none."

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, epilog=EXAMPLES, **options)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a directory, or a CSV or XLSX file")
        parser.add_argument("--dry-run", action="store_true", help="show what would be imported, and import nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--json", action="store_true", help="print the plan as one JSON object")

    def handle(self, *_args: Any, paths: list[Path], dry_run: bool, yes: bool, **options: Any) -> None:
        progress = self.show_progress if options["verbosity"] > 1 else no_progress
        try:
            files = files_in(paths)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}. Nothing was imported.") from error
        if not files:
            raise CommandError("There is no CSV or XLSX file. Nothing was imported.")
        try:
            self.run(files, progress, dry_run=dry_run, yes=yes, as_json=options["json"])
        finally:
            for file in files:
                file.content.close()

    def run(self, files: list[SpreadsheetFile], progress: Progress, *, dry_run: bool, yes: bool, as_json: bool) -> None:
        plan = plan_import(files, progress=progress)
        if not as_json:
            self.show(plan)
        if not plan.refused and not dry_run and plan.describe():
            if not yes:
                self.confirm()
            try:
                plan = import_inventory(files, seen=plan.digest, progress=progress)
            except PlanChanged as error:
                message = "The inventory has changed since the plan was shown. Nothing was imported. Start it again."
                raise CommandError(message) from error
            except ImportRefused as error:
                raise CommandError(f"Nothing was imported.\n{error}") from error
        self.finish(plan, dry_run=dry_run, as_json=as_json)

    def show_progress(self, stage: str, done: int, total: int) -> None:
        self.stderr.write(f"{stage}: {done:,} of {total:,}" if total else f"{stage}: {done:,}")

    def show(self, plan: Plan[SheetRow]) -> None:
        for line in report(plan):
            self.stdout.write(line)

    def confirm(self) -> None:
        try:
            answer = input("To import this, type yes: ")
        except EOFError:
            answer = ""
        if answer.strip() != "yes":
            raise CommandError(
                "Not confirmed. Nothing was imported. To skip the question: --yes", returncode=NOT_CONFIRMED
            )

    def finish(self, plan: Plan[SheetRow], *, dry_run: bool, as_json: bool) -> None:
        done = plan.describe() or "nothing"
        if as_json:
            self.stdout.write(json.dumps(describe(plan, imported=not dry_run and not plan.refused), ensure_ascii=False))
        elif not plan.refused:
            self.stdout.write(f"Would import {done}." if dry_run else f"Imported {done}.")
        if plan.refused:
            number = f"{len(plan.refused)} fault{'s' if len(plan.refused) > 1 else ''}"
            raise CommandError(f"{number} in the files, named above. Nothing was imported.")


def report(plan: Plan[SheetRow]) -> Iterator[str]:
    yield from plan.sources
    new = [row for row in plan.rows if row.is_new]
    for row in new[:MAX_LISTED]:
        yield f"+ {name_of(row)}"
    if len(new) > MAX_LISTED:
        yield f"+ {len(new) - MAX_LISTED:,} more new rows (--json lists all)"
    changed = plan.changed
    for row in changed[:MAX_LISTED]:
        yield f"~ {name_of(row)}: {', '.join(str(change) for change in row.changed.values())}"
    if len(changed) > MAX_LISTED:
        yield f"~ {len(changed) - MAX_LISTED:,} more changed rows (--json lists all)"
    for refused in plan.refused:
        yield f"✗ {refused}"
    if plan.unchanged:
        yield f"In the inventory already: {len(plan.unchanged):,}."


def name_of(row: SheetRow) -> str:
    return f"{row.model._meta.verbose_name} {row.label}"


def describe(plan: Plan[SheetRow], *, imported: bool) -> dict[str, Any]:
    rows = [
        {
            "table": row.table.name,
            "row": row.label,
            "source": row.source,
            "line": row.line,
            "new": row.is_new,
            "changes": [asdict(change) for change in row.changed.values()],
        }
        for row in plan.rows
        if row.is_new or row.touched
    ]
    return {
        "imported": imported,
        "files": list(plan.sources),
        "rows": rows,
        "unchanged": len(plan.unchanged),
        "refused": [asdict(refused) for refused in plan.refused],
    }
