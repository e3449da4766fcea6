"""Reads CSV and XLSX files row by row, as spreadsheet programs write them.

Encoding, separator and decimal commas are recognised, and `Sheet.facts` names them. What cannot be recognised is
refused: nothing is guessed that could change a value.
"""

import codecs
import csv
import io
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from homerack.inventory.imports.refusals import Refused, printable, quote
from homerack.inventory.spreadsheets.cells import DECIMAL_COMMA, Cell, Column, Unusable, text_in
from homerack.inventory.spreadsheets.tables import TABLES, Table

MAX_BYTES = 100_000_000
"""Of one file."""
MAX_UNPACKED = 400_000_000
"""Of the content of an XLSX file, which is a zip archive."""
MAX_SHARED = 100_000_000
"""Of the part of an XLSX file that is read at once: the texts that its cells share."""
MAX_CELL = 10_000_000
"""Characters of a cell."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""A first line that Excel reads as the separator, and not as a row."""
ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
ZIP, OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
"""How such files begin."""
READ_AT_ONCE = 1 << 20

csv.field_size_limit(MAX_CELL)


class Unreadable(Exception):
    """The file, or the rest of it, is refused."""

    def __init__(self, reason: str, *, line: int | None = None, source: str = "") -> None:
        super().__init__(reason)
        self.reason, self.line, self.source = reason, line, source


@dataclass(frozen=True, kw_only=True)
class SpreadsheetFile:
    """A file to import. `content` is read from its beginning, more than once.

    `table` is the name of the table that a CSV file holds; where it is empty, the name of the file or its header says.
    """

    name: str
    content: BinaryIO
    table: str = ""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The rows of one table. `columns` are those of the header. Rows are read once."""

    source: str
    table: Table
    columns: tuple[Column, ...]
    facts: str
    decimal_comma: bool
    rows: "Iterator[tuple[int, Sequence[Cell] | Unreadable]]"
    """The number of a row as spreadsheet programs show it, and its cells, or why it has none. May raise Unreadable."""


def files_in(paths: Iterable[Path]) -> list[SpreadsheetFile]:
    """The files at `paths`, and the CSV and XLSX files of directories. Raises OSError."""
    found: list[SpreadsheetFile] = []
    for path in paths:
        inside = (
            sorted(each for each in path.iterdir() if each.suffix.lower() in {".csv", ".xlsx"})
            if path.is_dir()
            else [path]
        )
        found += [SpreadsheetFile(name=printable(str(each), 200), content=each.open("rb")) for each in inside]
    return found


def sheets_of(file: SpreadsheetFile) -> Iterator[Sheet | Refused]:
    """The sheets of a file, in their order, each before the next is read."""
    content = file.content
    size = content.seek(0, io.SEEK_END)
    try:
        content.seek(0)
        start = content.read(4)
        if size > MAX_BYTES:
            yield Refused(source=file.name, reason=f"The file has {size:,} bytes; at most {MAX_BYTES:,} are read.")
        elif start == ZIP:
            yield from xlsx_sheets(file)
        elif start == OLD_EXCEL:
            reason = "This is a file of an old Excel, or is encrypted. Save it as XLSX or CSV."
            yield Refused(source=file.name, reason=reason)
        else:
            yield csv_sheet(file)
    except Unreadable as error:
        yield Refused(source=error.source or file.name, line=error.line, reason=error.reason)


# --- CSV ------------------------------------------------------------------------------------------------------------
def csv_sheet(file: SpreadsheetFile) -> Sheet:
    encoding, name = find_encoding(file.content)
    skipped, separator = find_separator(file, encoding)
    line, header = first_record(file, encoding, separator, skipped)
    table, columns = match_header(Path(file.name).stem, header, line=line, chosen=file.table)
    comma = separator != "," and has_decimal_commas(file, encoding, separator, columns, line)
    facts = [
        name,
        f"separated by {SEPARATORS.get(separator, quote(separator))}",
        *(["decimal commas"] if comma else []),
    ]
    records = islice(enumerate(records_of(file, encoding, separator), start=1), line, None)
    return Sheet(
        source=file.name,
        table=table,
        columns=columns,
        facts=", ".join(facts),
        decimal_comma=comma,
        rows=full_rows(records, len(columns)),
    )


def find_encoding(content: BinaryIO) -> tuple[str, str]:
    """The codec, and its name for users."""
    content.seek(0)
    start = content.read(8)
    if start.startswith(codecs.BOM_UTF8):
        return require(content, "utf-8-sig"), "UTF-8"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return require(content, "utf-16"), "UTF-16"
    if len(start) == 8 and not any(start[1::2]) and all(start[::2]):  # a header of ASCII letters
        return require(content, "utf-16-le"), "UTF-16"
    if len(start) == 8 and not any(start[::2]) and all(start[1::2]):
        return require(content, "utf-16-be"), "UTF-16"
    if decodes(content, "utf-8"):
        return "utf-8", "UTF-8"
    if decodes(content, "cp1252"):
        return "cp1252", "Windows-1252"
    raise Unreadable("The text is neither UTF-8, UTF-16 nor Windows-1252. Save the file as CSV in UTF-8.")


def require(content: BinaryIO, codec: str) -> str:
    if not decodes(content, codec):
        raise Unreadable(f"The text begins as {codec.upper()}, but is damaged. Save the file again as CSV in UTF-8.")
    return codec


def decodes(content: BinaryIO, codec: str) -> bool:
    content.seek(0)
    decoder = codecs.getincrementaldecoder(codec)()
    try:
        while part := content.read(READ_AT_ONCE):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def records_of(file: SpreadsheetFile, encoding: str, separator: str) -> Iterator[list[str]]:
    """The records of the file. The content stays open."""
    file.content.seek(0)
    text = io.TextIOWrapper(file.content, encoding, newline="")
    number = 0
    try:
        for number, record in enumerate(csv.reader(text, delimiter=separator, strict=True), start=1):  # noqa: B007
            yield record
    except csv.Error as error:
        raise Unreadable(f"This is no row of CSV: {error}.", line=number + 1) from error
    finally:
        text.detach()


def find_separator(file: SpreadsheetFile, encoding: str) -> tuple[int, str]:
    """How many records are before the header, and the separator with which the header has most known columns."""
    file.content.seek(0)
    text = io.TextIOWrapper(file.content, encoding, newline="")
    first = text.readline(READ_AT_ONCE)
    text.detach()
    if declared := DECLARED.fullmatch(first.strip("\r\n\ufeff")):
        return 1, declared[1]
    known = {key_of(name) for table in TABLES.values() for column in table.columns for name in names_of(column)}
    found = {}
    for separator in SEPARATORS:
        try:
            header = next((record for record in records_of(file, encoding, separator) if any(record)), [])
        except Unreadable:
            header = []
        found[separator] = sum(key_of(cell) in known for cell in header)
    return 0, max(found, key=lambda separator: found[separator])


def first_record(file: SpreadsheetFile, encoding: str, separator: str, skipped: int) -> tuple[int, list[str]]:
    """The header, and its line."""
    for line, cells in enumerate(records_of(file, encoding, separator), start=1):
        if line > skipped and any(cells):
            return line, cells
    raise Unreadable("The file is empty.")


def has_decimal_commas(
    file: SpreadsheetFile, encoding: str, separator: str, columns: Sequence[Column], header: int
) -> bool:
    numbers = [index for index, column in enumerate(columns) if column.is_number]
    if not numbers:
        return False
    try:
        return any(
            DECIMAL_COMMA.fullmatch(record[index].strip())
            for record in islice(records_of(file, encoding, separator), header, None)
            for index in numbers
            if index < len(record)
        )
    except Unreadable:
        return False  # the rows say so again


def full_rows(
    records: Iterable[tuple[int, list[str]]], width: int
) -> Iterator[tuple[int, Sequence[Cell] | Unreadable]]:
    for line, cells in records:
        if (len(cells) < width and any(cells)) or any(cells[width:]):
            yield line, wrong_width(len(cells), width)
        elif any(cells):
            yield line, cells[:width]


def wrong_width(cells: int, width: int) -> Unreadable:
    return Unreadable(f"The row has {cells} cell{'s' if cells > 1 else ''}, and the header has {width}.")


# --- XLSX -----------------------------------------------------------------------------------------------------------
def xlsx_sheets(file: SpreadsheetFile) -> Iterator[Sheet | Refused]:
    workbook = open_workbook(file)
    try:
        for worksheet in workbook.worksheets:
            source = f"{file.name}, sheet {printable(worksheet.title)}"
            worksheet.reset_dimensions()
            rows = ((line, [*cells]) for line, cells in enumerate(read_rows(worksheet, source), start=1))
            try:
                first = next(((line, cells) for line, cells in rows if has_text(cells)), None)
                if first is None:
                    continue  # an empty sheet
                line, cells = first
                header = [text_in(value_of(cell)) for cell in cells]
                table, columns = match_header(worksheet.title, header, line=line)
                values = cells_of(rows, len(columns))
                yield Sheet(source=source, table=table, columns=columns, facts="XLSX", decimal_comma=False, rows=values)
            except Unreadable as error:
                yield Refused(source=source, line=error.line, reason=error.reason)
    finally:
        workbook.close()


def open_workbook(file: SpreadsheetFile) -> Any:
    from openpyxl import load_workbook  # noqa: PLC0415  # it takes 20 MB, and most commands need none

    try:
        with zipfile.ZipFile(file.content) as archive:
            sizes = {each.filename: each.file_size for each in archive.infolist()}
        require_small(sizes)
        file.content.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions, which are not read
            return load_workbook(file.content, read_only=True, keep_links=False)
    except Unreadable:
        raise
    except Exception as error:  # openpyxl raises whatever a damaged part leads to
        raise Unreadable("This is no XLSX file that can be read. Save it again as XLSX, or as CSV.") from error


def require_small(sizes: Mapping[str, int]) -> None:
    total = sum(sizes.values())
    read_at_once = max((size for name, size in sizes.items() if not name.startswith("xl/worksheets/")), default=0)
    if total > MAX_UNPACKED or read_at_once > MAX_SHARED:
        raise Unreadable(f"The file unpacks to {total:,} bytes, which is too much. Save it as CSV.")


def read_rows(worksheet: Any, source: str) -> Iterator[Sequence[Any]]:
    try:
        yield from worksheet.rows
    except Exception as error:
        raise Unreadable("The sheet is damaged. Save the file again as XLSX, or as CSV.", source=source) from error


def has_text(cells: Iterable[Any]) -> bool:
    return any(cell.value not in {None, ""} for cell in cells)


def cells_of(rows: Iterable[tuple[int, list[Any]]], width: int) -> Iterator[tuple[int, Sequence[Cell] | Unreadable]]:
    for line, cells in rows:
        if has_text(cells[width:]):
            yield line, wrong_width(len(cells), width)
        elif has_text(cells):
            values = [value_of(cell) for cell in cells[:width]]
            yield line, values + [None] * (width - len(values))


def value_of(cell: Any) -> Cell:
    value: Any = cell.value
    if cell.data_type in {"f", "e"} and value is not None:
        kind = "a formula" if cell.data_type == "f" else f"the error {printable(str(value))}"
        return Unusable(f"The cell holds {kind}. Paste its value instead.")
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), value) if isinstance(value, str) else value


# --- the header -----------------------------------------------------------------------------------------------------
def key_of(header: str) -> str:
    return " ".join(header.replace("_", " ").casefold().split())


def names_of(column: Column) -> tuple[str, str]:
    return column.header, column.name


def find_table(name: str, header: Sequence[str]) -> Table | None:
    """By the name of the file or sheet, which may go on after that of the table; otherwise by the header."""
    for table in TABLES.values():
        if re.match(rf"{table.name}(?![a-z])", name.strip().casefold()):
            return table
    named = {key_of(cell) for cell in header if cell.strip()}
    fitting = [
        table
        for table in TABLES.values()
        if named
        and named <= {key_of(each) for column in table.columns for each in names_of(column)}
        and {key_of(table.columns[0].header), key_of(table.columns[0].name)} & named
    ]
    return fitting[0] if len(fitting) == 1 else None


def match_header(name: str, header: Sequence[str], *, line: int, chosen: str = "") -> tuple[Table, tuple[Column, ...]]:
    """The table, and its column for each cell of the header."""
    table = TABLES.get(chosen) or find_table(name, header)
    if table is None:
        listed = ", ".join(TABLES)
        raise Unreadable(f"Neither its name nor its header says which table this is. Name it after one of: {listed}.")
    cells = [*header]
    while cells and not cells[-1].strip():
        cells.pop()
    by_name = {key_of(each): column for column in table.columns for each in names_of(column)}
    known = ", ".join(column.header for column in table.columns)
    if unknown := [quote(cell) for cell in cells if key_of(cell) not in by_name]:
        raise Unreadable(f"Unknown column: {', '.join(unknown)}. The columns of {table.name} are: {known}.", line=line)
    columns = tuple(by_name[key_of(cell)] for cell in cells)
    if twice := next((column for number, column in enumerate(columns) if column in columns[:number]), None):
        raise Unreadable(f"There are two columns {quote(twice.header)}.", line=line)
    present = {column.name for column in columns}
    needed = [table.columns[0].name, *needed_by(table, present)]
    if missing := [column.header for column in table.columns if column.name in needed and column.name not in present]:
        raise Unreadable(f"Missing column: {', '.join(missing)}.", line=line)
    return table, columns


def needed_by(table: Table, present: set[str]) -> Iterator[str]:
    """The first column of a reference, if another one of it is there; and the whole key where names do not suffice."""
    if table.name == "models":
        yield "name"
    for reference in table.references:
        if present & set(reference.columns):
            yield reference.columns[0]
    if table.name == "cables":
        yield "to_device"
    if table.name == "devices" and present & {"model", "variant"}:
        yield "brand"
