"""``manage.py import_device_types``: adds models of the public library of device types to the catalogue."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from homerack.inventory.imports.device_types.planning import (
    find_type,
    import_device_types,
    plan_device_types,
    summarize,
)
from homerack.inventory.imports.device_types.reading import read_device_types
from homerack.inventory.imports.device_types.sources import files_in
from homerack.inventory.imports.plan import ImportRefused, Plan, PlannedRow
from homerack.inventory.models import DeviceModel, DeviceType

EXAMPLES = """\
examples:
  import_device_types devicetype-library/device-types/Dell --dry-run
  import_device_types devicetype-library.zip
  import_device_types AP8653.yaml --type PDU
"""


class Command(BaseCommand):
    help = "Add models to the catalogue from the YAML files of NetBox's public library of device types."

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, epilog=EXAMPLES, **options)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "paths", nargs="+", type=Path, metavar="PATH", help="a folder, a zip archive or a YAML file"
        )
        parser.add_argument("--dry-run", action="store_true", help="show what would be imported, and import nothing")
        parser.add_argument("--type", metavar="NAME", help="the device type of new models, instead of a guess for each")
        parser.add_argument("--overwrite", action="store_true", help="also replace values of models that differ")

    def handle(self, *_args: Any, paths: list[Path], dry_run: bool, overwrite: bool, **options: Any) -> None:
        """What cannot be read is refused and named; the rest is imported, and the exit code is 1."""
        chosen = require_type(options["type"]) if options["type"] else None
        results = read_device_types(chain.from_iterable(files_in(path) for path in paths))
        if dry_run:
            plan = plan_device_types(results, device_type=chosen)
        else:
            try:
                plan = import_device_types(results, device_type=chosen, overwrite=overwrite)
            except ImportRefused as error:
                raise CommandError(f"Nothing was imported.\n{error}") from error
        for line in report(plan, dry_run=dry_run, overwrite=overwrite):
            self.stdout.write(line)
        if plan.refused:
            number = f"{len(plan.refused)} fault{'s' if len(plan.refused) > 1 else ''}"
            raise CommandError(f"{number} in the files, named above. The device types with faults were not imported.")


def require_type(name: str) -> DeviceType:
    if found := find_type(name):
        return found
    known = ", ".join(DeviceType.objects.values_list("name", flat=True)) or "none yet"
    raise CommandError(f"There is no device type {name!r}. Nothing was imported. The device types are: {known}.")


def report(plan: Plan[PlannedRow], *, dry_run: bool, overwrite: bool) -> Iterator[str]:
    if dry_run:
        for row in plan.new(DeviceModel):
            yield f"+ {row.label} ({summarize(row)})"
    for row in plan.changed:
        yield f"~ {row.label}: {', '.join(str(change) for change in row.changed.values())}"
    for refused in plan.refused:
        yield f"✗ {refused}"
    if plan.unchanged:
        yield f"In the catalogue already: {len(plan.unchanged)}."
    if plan.changed and not overwrite:
        yield f"With other values in the catalogue, which are kept: {len(plan.changed)} (--overwrite replaces them)."
    done = plan.describe(changed=overwrite) or "nothing"
    yield f"Would import {done}." if dry_run else f"Imported {done}."
