"""The export: one CSV file for each table, or one XLSX file with a sheet for each."""

import csv
import datetime as dt
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from django.db import connection, models, transaction

from homerack.inventory.imports.refusals import quote
from homerack.inventory.models import RackPosition
from homerack.inventory.spreadsheets.cells import Cell, Column, escape, needs_apostrophe
from homerack.inventory.spreadsheets.tables import DEVICES, Stored, Table

BOM = "\ufeff"
"""With it, spreadsheet programs read a file as UTF-8."""
MAX_XLSX_TEXT = 32_767
MAX_XLSX_ROWS = 1_048_576
FIRST_XLSX_DATE = dt.date(1900, 3, 1)
"""Programs disagree about earlier dates, which are exported as text."""
NOT_IN_XML = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")
LINES = 500
"""Lines of CSV that are yielded at once."""


class CannotExport(Exception):
    """Nothing was exported."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """`rows` by the names of tables. `left_out` names what no cell holds."""

    rows: Mapping[str, int]
    left_out: tuple[str, ...]


class EchoFile:
    """A file whose `write` returns the text, for csv.writer."""

    def write(self, text: str) -> str:
        return text


def csv_lines(
    table: Table, rows: "models.QuerySet[Any] | None" = None, *, written: Counter[str] | None = None
) -> Iterator[str]:
    """The text of a CSV file, in parts: the rows of `rows`, or all. `written` counts them, by the name of the table."""
    writer: Any = csv.writer(EchoFile())
    part = [BOM, writer.writerow([column.header for column in table.columns])]
    for stored in table.read(rows):
        part.append(writer.writerow(texts_of(table, stored)))
        if written is not None:
            written[table.name] += 1
        if len(part) >= LINES:
            yield "".join(part)
            part = []
    yield "".join(part)


def texts_of(table: Table, stored: Stored) -> list[str]:
    """The cells of a row. Numbers stay numbers: ``-5`` is no formula."""
    texts = [column.text_of(value) for column, value in zip(table.columns, stored.values, strict=True)]
    return [text if column.is_number else escape(text) for column, text in zip(table.columns, texts, strict=True)]


def write_xlsx(
    target: BinaryIO, tables: Iterable[Table], *, rows: "Mapping[str, models.QuerySet[Any]] | None" = None
) -> dict[str, int]:
    """A sheet for each table; `rows` are those of a table, by its name. Returns the numbers of rows.

    Raises CannotExport for a value that XLSX cannot hold.
    """
    from openpyxl import Workbook  # noqa: PLC0415  # it takes 20 MB, and most commands need none

    workbook = Workbook(write_only=True)
    written = {}
    try:
        for table in tables:
            sheet = workbook.create_sheet(table.name)
            sheet.freeze_panes = "A2"
            sheet.append([column.header for column in table.columns])
            written[table.name] = fill_sheet(sheet, table, (rows or {}).get(table.name))
        workbook.save(target)
    finally:
        for sheet in workbook.worksheets:
            if not sheet.closed:
                sheet.close()
    return written


def fill_sheet(sheet: Any, table: Table, rows: "models.QuerySet[Any] | None") -> int:
    number = 0
    for number, stored in enumerate(table.read(rows), start=1):
        if number >= MAX_XLSX_ROWS:
            raise CannotExport(f"A sheet of XLSX has at most {MAX_XLSX_ROWS:,} rows. Nothing was exported: use CSV.")
        sheet.append(
            [xlsx_cell(sheet, table, column, stored) for column in zip(table.columns, stored.values, strict=True)]
        )
    return number


def xlsx_cell(sheet: Any, table: Table, pair: tuple[Column, Any], stored: Stored) -> Any:
    """A number, a date, or a cell of the type text, which is never a formula."""
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415  # as above

    column, value = pair
    cell: Cell = column.cell_of(value)
    if not isinstance(cell, str):
        return cell if not isinstance(cell, dt.date) or cell >= FIRST_XLSX_DATE else cell.isoformat()
    if needs_apostrophe(cell):
        cell = f"'{cell}"
    text = NOT_IN_XML.sub(lambda found: f"_x{ord(found[0]):04X}_", cell)
    if len(text) > MAX_XLSX_TEXT:
        place = f"{table.title}, {quote(table.label(stored.values))}, {column.header}"
        raise CannotExport(f"{place}: a cell of XLSX has at most {MAX_XLSX_TEXT:,} characters. Use CSV.")
    if not text.startswith(("=", "#")):
        return text
    made = WriteOnlyCell(sheet)
    made._value, made.data_type = text, "s"  # noqa: SLF001  # `value` would make it a formula
    return made


@contextmanager
def one_snapshot() -> Iterator[None]:
    """All tables as they were at one time, where a transaction can begin here."""
    begins = not connection.in_atomic_block
    with transaction.atomic():
        if begins and connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def write_csv_archive(target: BinaryIO, tables: Iterable[Table]) -> None:
    """A zip archive with the CSV files of `tables`."""
    with one_snapshot(), zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in tables:
            with archive.open(f"{table.name}.csv", "w") as member:
                for part in csv_lines(table):
                    member.write(part.encode())


def export_inventory(path: Path, tables: Sequence[Table]) -> Exported:
    """Write `tables` into the directory `path`, or into the file `path`, if it ends with ``.xlsx``.

    Existing files are not replaced: raises CannotExport, also if a file cannot be written. The files are complete, or
    there are none.
    """
    is_xlsx = path.suffix.lower() == ".xlsx"
    targets = [path] if is_xlsx else [path / f"{table.name}.csv" for table in tables]
    if existing := next((target for target in targets if target.exists()), None):
        raise CannotExport(f"{existing} exists already. Nothing was exported: name another path, or remove it.")
    written: list[Path] = []
    try:
        if not is_xlsx:
            path.mkdir(parents=True, exist_ok=True)
        with one_snapshot():
            rows = write_files(targets, tables, written, is_xlsx=is_xlsx)
            left_out = tuple(places_left_out()) if DEVICES in tables else ()
        for temporary in written:
            temporary.rename(temporary.with_suffix(""))
    except OSError as error:
        raise CannotExport(f"{error.filename or path}: {error.strerror}. Nothing was exported.") from error
    finally:
        for temporary in written:
            temporary.unlink(missing_ok=True)
    return Exported(rows=rows, left_out=left_out)


def write_files(
    targets: Sequence[Path], tables: Sequence[Table], written: list[Path], *, is_xlsx: bool
) -> Counter[str]:
    rows: Counter[str] = Counter({table.name: 0 for table in tables})
    for target, of_file in zip(targets, [tables] if is_xlsx else [[table] for table in tables], strict=True):
        temporary = target.with_name(f"{target.name}.part")
        written.append(temporary)
        with open_private(temporary) as file:
            if is_xlsx:
                rows.update(write_xlsx(file, of_file))
            else:
                file.writelines(part.encode() for part in csv_lines(of_file[0], written=rows))
    return rows


def open_private(path: Path) -> BinaryIO:
    """A new file for its owner alone: it may hold addresses of users."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb")


def places_left_out() -> Iterator[str]:
    """Devices of a legacy file that are in several places: a row has one."""
    several = RackPosition.objects.order_by().values("device").annotate(places=models.Count("pk")).filter(places__gt=1)
    shown: set[int] = set()
    positions = RackPosition.objects.filter(device__in=several.values("device")).select_related("device", "rack")
    for position in positions.order_by("device", "pk"):
        if position.device_id in shown:
            yield f"{position}: the device is in another place, too, and its row has one place."
        shown.add(position.device_id)
