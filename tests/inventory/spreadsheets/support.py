"""Files to import, and what a plan says about them."""

import io
from pathlib import Path
from typing import Any

from homerack.inventory.imports.plan import Plan
from homerack.inventory.spreadsheets.exporting import csv_lines, write_xlsx
from homerack.inventory.spreadsheets.files import SpreadsheetFile
from homerack.inventory.spreadsheets.importing import import_inventory, plan_import
from homerack.inventory.spreadsheets.rows import SheetRow
from homerack.inventory.spreadsheets.tables import TABLES


def csv_file(name: str, *lines: str, encoding: str = "utf-8", newline: str = "\r\n") -> SpreadsheetFile:
    text = newline.join(lines) + newline
    return SpreadsheetFile(name=name, content=io.BytesIO(text.encode(encoding)))


def refusals(*files: SpreadsheetFile, **options: Any) -> list[str]:
    return [str(refused) for refused in plan_import(files, **options).refused]


def carry_out(*files: SpreadsheetFile, **options: Any) -> Plan[SheetRow]:
    return import_inventory(files, **options)


def changes(plan: Plan[SheetRow]) -> list[str]:
    return [f"{row.label}: {', '.join(map(str, row.changed.values()))}" for row in plan.changed]


def export_csv() -> dict[str, str]:
    return {name: "".join(csv_lines(table)) for name, table in TABLES.items()}


def export_xlsx() -> bytes:
    content = io.BytesIO()
    write_xlsx(content, TABLES.values())
    return content.getvalue()


def as_files(texts: dict[str, str]) -> list[SpreadsheetFile]:
    return [SpreadsheetFile(name=f"{name}.csv", content=io.BytesIO(text.encode())) for name, text in texts.items()]


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, newline="")
    return folder
