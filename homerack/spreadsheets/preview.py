"""What the page of an import shows of its plan: numbers, changed cells, and everything that is refused."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from homerack.inventory.imports.plan import Change, Plan
from homerack.inventory.imports.refusals import Refused
from homerack.inventory.spreadsheets.cells import escape
from homerack.inventory.spreadsheets.tables import TABLES

MAX_PROBLEMS = 100
MAX_CHANGED = 200
MAX_NEW = 50
"""Rows of each table."""
REPORT_HEADER = ("File", "Line", "Column", "Reason")


class ShownRow(TypedDict):
    """`changes` has a cell each: the name of the column, and the old and the new text."""

    table: str
    label: str
    source: str
    line: int
    changes: list[tuple[str, str, str]]


class Numbers(TypedDict):
    """Of a table: `title` is its plural."""

    title: str
    new: int
    changed: int
    unchanged: int
    refused: int


KINDS: tuple[Literal["new", "changed", "unchanged", "refused"], ...] = ("new", "changed", "unchanged", "refused")


class Problem(TypedDict):
    source: str
    line: int | None
    column: str
    reason: str


class Preview(TypedDict):
    """As JSON. The lists have the first rows; `changed`, `refused` and the numbers count all."""

    description: str
    sources: list[str]
    tables: list[Numbers]
    new: list[ShownRow]
    changes: list[ShownRow]
    changed: int
    problems: list[Problem]
    refused: int


def preview_of(plan: Plan[Any]) -> Preview:
    """The rows are looked at once: there may be 200,000."""
    numbers = {
        table.model: Numbers(title=table.title, new=0, changed=0, unchanged=0, refused=0) for table in TABLES.values()
    }
    refused = {(each.source, each.line) for each in plan.refused}
    new: list[ShownRow] = []
    changes: list[ShownRow] = []
    for row in plan.rows:
        counted = numbers[row.model]
        if (row.source, row.line) in refused:
            counted["refused"] += 1
        elif row.is_new:
            counted["new"] += 1
            if counted["new"] <= MAX_NEW:
                new.append(shown(row, {}))
        elif changed := row.changed:
            counted["changed"] += 1
            if len(changes) < MAX_CHANGED:
                changes.append(shown(row, changed))
        else:
            counted["unchanged"] += 1
    return Preview(
        description=plan.describe(),
        sources=list(plan.sources),
        tables=[each for each in numbers.values() if any(each[kind] for kind in KINDS)],
        new=new,
        changes=changes,
        changed=sum(each["changed"] for each in numbers.values()),
        problems=[problem_of(refused) for refused in plan.refused[:MAX_PROBLEMS]],
        refused=len(plan.refused),
    )


def shown(row: Any, changed: Mapping[str, Change]) -> ShownRow:
    return ShownRow(
        table=str(row.model._meta.verbose_name),
        label=row.label,
        source=row.source,
        line=row.line,
        changes=[(change.field, change.old, change.new) for change in changed.values()],
    )


def problem_of(refused: Refused) -> Problem:
    return Problem(source=refused.source, line=refused.line, column=refused.field, reason=refused.reason)


def write_report(path: Path, refused: Iterable[Refused]) -> None:
    """All problems as CSV, which spreadsheets open: with a byte order mark, and without formulas."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(REPORT_HEADER)
        for each in refused:
            writer.writerow((escape(each.source), each.line or "", escape(each.field), escape(each.reason)))
