"""``manage.py export_inventory``: writes the inventory into CSV files or one XLSX file."""

from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from homerack.inventory.spreadsheets.exporting import CannotExport, export_inventory
from homerack.inventory.spreadsheets.tables import TABLES

EXAMPLES = """\
examples:
  export_inventory lab
  export_inventory lab.xlsx
  export_inventory lab --table racks --table devices
"""


class Command(BaseCommand):
    help = "Write the inventory into a directory, with a CSV file for each table, or into one XLSX file."

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, epilog=EXAMPLES, **options)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "path", type=Path, metavar="DIRECTORY|FILE.xlsx", help="where to write; it replaces no file"
        )
        parser.add_argument(
            "--table", action="append", choices=TABLES, dest="tables", help="only this table; may be repeated"
        )

    def handle(self, *_args: Any, path: Path, tables: list[str] | None, **_options: Any) -> None:
        chosen = [table for name, table in TABLES.items() if not tables or name in tables]
        try:
            exported = export_inventory(path, chosen)
        except CannotExport as error:
            raise CommandError(str(error)) from error
        for left_out in exported.left_out:
            self.stderr.write(f"Not exported: {left_out}")
        rows = ", ".join(f"{name} {number:,}" for name, number in exported.rows.items())
        self.stdout.write(f"Exported to {path}: {rows}.")
