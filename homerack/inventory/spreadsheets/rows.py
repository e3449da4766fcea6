"""The rows of a plan, as small as possible: 200,000 of them are in memory at once."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from django.db import models

from homerack.inventory.imports.plan import MAX_SHOWN, Change
from homerack.inventory.imports.refusals import printable
from homerack.inventory.spreadsheets.tables import Stored, Table


class Missing:
    """The value of a column that the file does not have."""


MISSING = Missing()
Handle = "int | SheetRow"
"""A row that another one refers to: the key of a stored row, or a new row of the plan."""


class SheetRow:
    """A row of a file. `stored` is the row of the database that it changes; None for a new one.

    `values` are those of the table's columns: first what the file has, and `MISSING`; then what will be stored.
    `touched` are the columns that change. `targets` are the rows of the table's references.
    """

    __slots__ = ("line", "pk", "sheet", "stored", "targets", "touched", "values")

    def __init__(self, sheet: "SheetInfo", line: int, values: list[Any]) -> None:
        self.sheet, self.line, self.values = sheet, line, values
        self.stored: Stored | None = None
        self.pk: int | None = None
        self.touched: tuple[int, ...] = ()
        self.targets: list[Any] = []

    @property
    def table(self) -> Table:
        return self.sheet.table

    @property
    def source(self) -> str:
        return self.sheet.source

    @property
    def model(self) -> type[models.Model]:
        return self.table.model

    @property
    def is_new(self) -> bool:
        return self.stored is None

    @property
    def label(self) -> str:
        return printable(self.table.label([None if value is MISSING else value for value in self.values]), MAX_SHOWN)

    @property
    def changed(self) -> Mapping[str, Change]:
        if self.stored is None:
            return {}
        columns, old = self.table.columns, self.stored.values
        return {
            columns[index].name: Change(
                field=columns[index].header,
                old=shown(columns[index].text_of(old[index])),
                new=shown(columns[index].text_of(self.values[index])),
            )
            for index in self.touched
        }


class SheetInfo:
    """Where rows come from. `present` are the columns that the file has, as numbers of those of the table."""

    def __init__(self, source: str, table: Table, present: Iterable[int]) -> None:
        self.source, self.table, self.present = source, table, tuple(present)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(self.table.columns[index].name for index in self.present)


def shown(text: str) -> str:
    return printable(text, MAX_SHOWN) or ("–" if not text else quote_blank(text))


def quote_blank(text: str) -> str:
    """Blanks and control characters alone."""
    return repr(text)
