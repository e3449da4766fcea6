"""The plan of an import of spreadsheets: which rows are new, which change, and what is refused.

All rows of a table are compared with the stored ones at once: no row needs a query of its own.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.text import slugify

from homerack.accounts.models import User
from homerack.accounts.rights import may_manage
from homerack.inventory.imports.plan import Plan
from homerack.inventory.imports.refusals import Refused, quote
from homerack.inventory.models import RackPosition
from homerack.inventory.models.catalogue import require_later_end
from homerack.inventory.spreadsheets.cells import Unusable
from homerack.inventory.spreadsheets.faults import Faults
from homerack.inventory.spreadsheets.files import Sheet, SpreadsheetFile, Unreadable, sheets_of
from homerack.inventory.spreadsheets.rows import MISSING, SheetInfo, SheetRow
from homerack.inventory.spreadsheets.rules import check_cables, check_places
from homerack.inventory.spreadsheets.tables import (
    BRANDS,
    CABLES,
    DEVICES,
    MODELS,
    RACKS,
    TABLES,
    TYPES,
    USERS,
    Reference,
    Stored,
    Table,
    cable_key,
)

FEW_NAMES = 5_000
"""So many rows are looked up by their names; for more, the whole table is read."""
NAME_PATHS = {"racks": "name", "devices": "custom_name", "cables": "from_device__custom_name"}
"""How rows of large tables are looked up."""
EVERY = 1000
"""Rows between two reports of progress."""

Progress = Callable[[str, int, int], None]
"""Called with the stage, the rows that are done, and their number; 0 where it is not known yet."""


def no_progress(_stage: str, _done: int, _total: int) -> None:
    pass


class TableRows:
    """The rows of a table: those of the files, and the stored ones, by their keys."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.rows: list[SheetRow] = []
        self.stored: dict[Hashable, list[Stored]] = defaultdict(list)
        self.new: dict[Hashable, dict[int, SheetRow]] = defaultdict(dict)
        self.is_loaded = False

    def load(self, names: set[str]) -> None:
        """Read the stored rows, or those with `names`, if there are few."""
        found = self.table.queryset().order_by("pk")
        path = NAME_PATHS.get(self.table.name)
        chunks: list[Any] = [found]
        if path and len(names) <= FEW_NAMES:
            listed = sorted(names)
            chunks = [
                found.filter(**{f"{path}__in": listed[start : start + 500]}) for start in range(0, len(listed), 500)
            ]
        for chunk in chunks:
            for stored in self.table.read(chunk):
                self.stored[stored_key(self.table, stored)].append(stored)
        self.is_loaded = True

    def find(self, key: Hashable, number: int | None) -> "int | SheetRow | str":
        """The row that a key names, or why there is none."""
        stored, new = self.stored.get(key, ()), self.new.get(key, {})
        total = len(stored) + len(new)
        if number is None and total > 1:
            return "several"
        if number is None:
            return stored[0].pk if stored else next(iter(new.values()), "none")
        return stored[number - 1].pk if 0 < number <= len(stored) else new.get(number, "none")


def stored_key(table: Table, stored: Stored) -> Hashable:
    """The key of a stored row. Cables refer to devices by their keys, which names need not tell apart."""
    if table is CABLES:
        return cable_row_key(stored.ids, stored.values[2], stored.values[5])
    return table.key(stored.values)


def cable_row_key(ends: Sequence[Any], from_port: str | None, to_port: str | None) -> Hashable:
    return cable_key(ends[0], from_port, ends[1], to_port)


class Planner:
    """Reads sheets, compares them with the database, and applies the rules."""

    def __init__(self, user: User | None, progress: Progress) -> None:
        self.user, self.progress = user, progress
        self.faults = Faults()
        self.tables = {name: TableRows(table) for name, table in TABLES.items()}
        self.sources: list[str] = []

    def plan(self, files: Iterable[SpreadsheetFile]) -> Plan[SheetRow]:
        for file in files:
            for sheet in sheets_of(file):
                if isinstance(sheet, Refused):
                    self.faults.add(sheet)
                else:
                    self.read(sheet)
        for found in self.tables.values():
            self.compare(found)
        models, racks, devices = (self.tables[name].rows for name in ("models", "racks", "devices"))
        check_places(models, racks, devices, self.faults)
        check_cables(self.tables["cables"].rows, self.faults)
        rows = [row for found in self.tables.values() for row in found.rows]
        return Plan(rows=rows, refused=self.faults.all(), sources=tuple(self.sources))

    # --- reading -----------------------------------------------------------------------------------------------
    def read(self, sheet: Sheet) -> None:
        present = [sheet.table.index(column.name) for column in sheet.columns]
        info = SheetInfo(sheet.source, sheet.table, present)
        rows = self.tables[sheet.table.name].rows
        before = len(rows)
        if self.user is not None and (reason := self.missing_right(sheet.table)):
            self.faults.add(Refused(source=sheet.source, reason=reason))
            return
        try:
            for line, cells in sheet.rows:
                if isinstance(cells, Unreadable):
                    self.faults.add(Refused(source=sheet.source, line=line, reason=cells.reason))
                else:
                    rows.append(self.parse(info, line, cells, decimal_comma=sheet.decimal_comma))
                if len(rows) % EVERY == 0:
                    self.progress("reading", len(rows), 0)
        except Unreadable as error:
            self.faults.add(Refused(source=sheet.source, line=error.line, reason=error.reason))
        number = len(rows) - before
        self.sources.append(
            f"{sheet.source}: {sheet.table.name}, {number:,} row{'' if number == 1 else 's'} ({sheet.facts})"
        )

    def missing_right(self, table: Table) -> str:
        assert self.user is not None  # noqa: S101
        needed: list[type[models.Model]] = [table.model, *([RackPosition] if table is DEVICES else [])]
        rights = [
            f"{model._meta.app_label}.{verb}_{model._meta.model_name}"
            for model in needed
            for verb in ("add", "change", *(["delete"] if model is RackPosition else []))
        ]
        return "" if self.user.has_perms(rights) else f"You may not add and change {table.title}."

    def parse(self, info: SheetInfo, line: int, cells: Sequence[Any], *, decimal_comma: bool) -> SheetRow:
        columns = info.table.columns
        row = SheetRow(info, line, [MISSING] * len(columns))
        for index, cell in zip(info.present, cells, strict=True):
            column = columns[index]
            row.values[index] = None
            if isinstance(cell, Unusable):
                self.faults.at(row, column.name, str(cell))
                continue
            try:
                value = column.parse(cell, decimal_comma=decimal_comma)
            except ValidationError as error:
                self.faults.at(row, column.name, *error.messages)
                continue
            if column.name.endswith("number") and isinstance(value, int) and value < 1:
                self.faults.at(row, column.name, "Enter a whole number from 1.")
                continue
            row.values[index] = value
        return row

    # --- comparing ---------------------------------------------------------------------------------------------
    def compare(self, found: TableRows) -> None:
        table = found.table
        if not found.rows:
            return
        for reference in table.references:
            self.prepare(reference, found.rows)
        if table is CABLES:
            for row in found.rows:
                self.refer(row)
        self.ensure_loaded(table, {value for row in found.rows if isinstance(value := row.values[0], str)})
        self.match(found)
        slugs = (
            {stored.values[1] for group in found.stored.values() for stored in group}
            if table in {TYPES, BRANDS}
            else set()
        )
        total = len(found.rows)
        for number, row in enumerate(found.rows, start=1):
            if table is not CABLES:
                self.refer(row)
            self.settle(row, slugs)
            self.check(row)
            if number % EVERY == 0:
                self.progress("checking", number, total)
        if table in {TYPES, BRANDS}:
            self.check_slugs(found)

    def prepare(self, reference: Reference, rows: Sequence[SheetRow]) -> None:
        """Load the rows that `rows` refer to."""
        table = TABLES[reference.table]
        index = rows[0].table.index(reference.columns[0])
        self.ensure_loaded(table, {value for row in rows if isinstance(value := row.values[index], str)})

    def ensure_loaded(self, table: Table, names: set[str]) -> None:
        found = self.tables[table.name]
        if not found.is_loaded:
            wanted = names | {value for row in found.rows if isinstance(value := row.values[0], str)}
            if table is DEVICES:  # cables name others
                for index in (0, 3):
                    wanted |= {
                        value for row in self.tables["cables"].rows if isinstance(value := row.values[index], str)
                    }
            if table is RACKS:
                index = DEVICES.index("rack")
                wanted |= {value for row in self.tables["devices"].rows if isinstance(value := row.values[index], str)}
            found.load(wanted)

    def match(self, found: TableRows) -> None:
        """Find the stored row of each row, by its key and number."""
        groups: dict[Hashable, list[SheetRow]] = defaultdict(list)
        for row in found.rows:
            groups[self.key_of(row)].append(row)
        unclear: set[SheetRow] = set()
        for key, rows in groups.items():
            unclear |= self.match_group(found, key, rows, found.stored.get(key, []))
        found.rows = [row for row in found.rows if row not in unclear]

    def key_of(self, row: SheetRow) -> Hashable:
        values = [None if value is MISSING else value for value in row.values]
        if row.table is CABLES:
            ends = [
                values[index] if target in (None, UNKNOWN) else target
                for target, index in zip(row.targets, (0, 3), strict=True)
            ]
            return cable_row_key(ends, values[2], values[5])
        return row.table.key(values)

    def match_group(
        self, found: TableRows, key: Hashable, rows: Sequence[SheetRow], stored: Sequence[Stored]
    ) -> set[SheetRow]:
        """Returns those that cannot be told from others; the other rules say nothing about them."""
        table = found.table
        taken: dict[Any, SheetRow] = {}
        unclear = set()
        for row in rows:
            number = None
            if table.numbered:
                value = row.values[table.index(table.numbered)]
                number = None if value is MISSING else value
            chosen = by_serial(row, stored) if table is DEVICES else None
            if chosen is None and number is None and len(stored) > 1:
                self.faults.at(row, table.numbered, ambiguous(table, stored))
                unclear.add(row)
                continue
            place = chosen or number or 1
            if place in taken:
                self.faults.at(row, table.numbered or table.columns[0].name, same_row(table, taken[place]))
                unclear.add(row)
                continue
            taken[place] = row
            if place <= len(stored):
                row.stored = stored[place - 1]
                row.pk = row.stored.pk
            else:
                found.new[key][place] = row
        return unclear

    def refer(self, row: SheetRow) -> None:
        """Set the targets of `row`, and say which are not found."""
        names = row.sheet.names
        stored = row.stored.ids if row.stored else (None,) * len(row.table.references)
        row.targets = []
        for number, reference in enumerate(row.table.references):
            if reference.columns[0] in names:
                row.targets.append(self.resolve(row, reference))
            else:
                row.targets.append(stored[number])

    def resolve(self, row: SheetRow, reference: Reference) -> Any:
        table, parts = row.table, []
        for name in reference.columns:
            value = row.values[table.index(name)]
            parts.append(None if value is MISSING else value)
        if parts[0] is None:
            return None
        number = None
        if reference.table == "models":
            key: Hashable = (parts[1], parts[0], parts[2])
        else:
            key = parts[0]
            number = parts[1] if len(parts) > 1 else None
        target = self.tables[reference.table].find(key, number)
        if not isinstance(target, str):
            return target
        self.faults.at(row, reference.columns[0], not_found(reference, parts, target))
        return UNKNOWN

    def settle(self, row: SheetRow, slugs: set[Any]) -> None:
        """Set the values that will be stored, and which of them change."""
        table, stored = row.table, row.stored
        for index, column in enumerate(table.columns):
            if row.values[index] is MISSING:
                row.values[index] = stored.values[index] if stored else column.default
        if table in {TYPES, BRANDS} and stored is None and row.values[1] is None and row.values[0]:
            row.values[1] = free_slug(row.values[0], slugs)
        if table in {TYPES, BRANDS}:
            slugs.add(row.values[1])
        if table is DEVICES:
            settle_place(row)
        if stored is None:
            return
        in_references = {
            table.index(name): number for number, each in enumerate(table.references) for name in each.columns
        }
        touched = []
        for index in range(len(table.columns)):
            if table.columns[index].name == table.numbered or (
                index in in_references and row.targets[in_references[index]] == stored.ids[in_references[index]]
            ):
                row.values[index] = stored.values[index]
            elif row.values[index] != stored.values[index]:
                touched.append(index)
        row.touched = tuple(touched)

    def check(self, row: SheetRow) -> None:
        """The rules of each new value, and of the row alone."""
        table = row.table
        in_references = {name for reference in table.references for name in reference.columns}
        for index in range(len(table.columns)) if row.is_new else row.touched:
            column = table.columns[index]
            if column.name in in_references or column.name in {table.numbered, "start_u", "locked"}:
                continue
            has_default = row.is_new and column.name not in row.sheet.names and not column.is_key
            if not has_default and (reasons := column.faults(row.values[index])):
                self.faults.once(row, column.name, *reasons)
        self.check_references(row)
        if table is MODELS and (row.is_new or row.touched):
            released, end = (row.values[table.index(name)] for name in ("release_date", "end_of_life"))
            try:
                require_later_end(released, end)
            except ValidationError as error:
                self.faults.at(row, "end_of_life", *error.messages)
        if table is USERS and self.user is not None and row.touched and row.stored:
            user = User.objects.get(pk=row.stored.pk)
            if not may_manage(self.user, user):
                self.faults.at(row, "email", "This user has more rights than you. You may not change them.")

    def check_references(self, row: SheetRow) -> None:
        for reference, target in zip(row.table.references, row.targets, strict=True):
            field = (
                row.model._meta.get_field(reference.attribute.removesuffix("_id"))
                if reference.table != "racks"
                else None
            )
            if target is None and field is not None:
                self.faults.once(row, reference.columns[0], str(field.error_messages["null"]))  # type: ignore[union-attr]

    def check_slugs(self, found: TableRows) -> None:
        """Two rows of one short name, in the words of the model."""
        planned = {row.stored.pk for row in found.rows if row.stored}
        taken = {stored.values[1] for group in found.stored.values() for stored in group if stored.pk not in planned}
        for row in found.rows:
            if row.values[1] in taken:
                error = found.table.model().unique_error_message(found.table.model, ("slug",))
                self.faults.at(row, "slug", *error.messages)
            taken.add(row.values[1])


class Unknown:
    """The target of a reference that has a fault."""


UNKNOWN: Any = Unknown()


def by_serial(row: SheetRow, stored: Sequence[Stored]) -> int | None:
    """The number of the stored device with the serial number of `row`, if several share its name."""
    index = DEVICES.index("serial_number")
    serial = row.values[index]
    if len(stored) < 2 or serial is MISSING or not serial:
        return None
    found = [number for number, each in enumerate(stored, start=1) if each.values[index] == serial]
    return found[0] if len(found) == 1 else None


def ambiguous(table: Table, stored: Sequence[Stored]) -> str:
    name = str(table.model._meta.verbose_name_plural)
    if not table.numbered:
        return f"The inventory has {len(stored)} {name} with this key. Rename one of them first."
    which = f"The inventory has {len(stored)} {name} of this name. Say in the column “number” which one"
    if table is not DEVICES:
        return f"{which}: 1 to {len(stored)}."
    rack, unit = DEVICES.index("rack"), DEVICES.index("start_u")
    places = [
        f"{number} ({f'{each.values[rack]}, U{each.values[unit]}' if each.values[rack] else 'not in a rack'})"
        for number, each in enumerate(stored[:5], start=1)
    ]
    return f"{which}: {', '.join(places)}{' …' if len(stored) > len(places) else ''}."


def same_row(table: Table, other: SheetRow) -> str:
    where = f"line {other.line} of {other.source}"
    if not table.numbered:
        return f"The same row is in {where}."
    name = table.model._meta.verbose_name
    return f"The same {name} is in {where}. If this is another one, number both in the column “number”: 1 and 2."


def not_found(reference: Reference, parts: Sequence[Any], problem: str) -> str:
    model = TABLES[reference.table].model._meta
    if reference.table == "models":
        name = " ".join(str(parts[index]) for index in (1, 0, 2) if parts[index] is not None)
    else:
        name = str(parts[0]) + (f" ({parts[1]})" if len(parts) > 1 and parts[1] is not None else "")
    if problem == "none":
        return f"There is no {model.verbose_name} {quote(name)}, neither in the inventory nor in the files."
    if len(parts) > 1 and reference.table != "models":
        return (
            f"There are several {model.verbose_name_plural} {quote(name)}. Give the number of one in the next column."
        )
    return f"There are several {model.verbose_name_plural} {quote(name)}. Rename one of them first."


def free_slug(name: str, taken: set[Any]) -> str:
    base = slugify(name)[:90] or "name"
    candidate, number = base, 2
    while candidate in taken:
        candidate, number = f"{base}-{number}", number + 1
    return candidate


def settle_place(row: SheetRow) -> None:
    """A device that is taken out of its rack loses unit and lock with it, unless the file says otherwise."""
    if row.targets[1] is not None:
        return
    for name in ("rack_number", "start_u", "locked"):
        if name not in row.sheet.names or (name == "locked" and row.values[DEVICES.index(name)] is False):
            row.values[DEVICES.index(name)] = None
