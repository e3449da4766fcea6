"""The cells of a table: the columns, what a value looks like in a file, and what a cell of a file means.

A value is a text, a number, a date, True or False, or a dictionary of ports. None is no value, and an empty cell.
"""

import dataclasses
import datetime as dt
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models


class Unusable(str):
    """A cell without a value; the text says why."""

    __slots__ = ()


Cell = str | int | float | bool | dt.date | None
"""What a file holds: texts in CSV, and in XLSX also numbers, dates, and TRUE or FALSE."""

TAKEN_FOR_FORMULA = re.compile(r"'*(?:\s*[=+\-@＝＋－＠]| *[\t\r\n])")
"""Texts that spreadsheets interpret as formulas, and those that begin as an escaped one does.

https://owasp.org/www-community/attacks/CSV_Injection
"""
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+", re.ASCII)
MAX_REMEMBERED = 10_000
"""Validated values of a column that are remembered: most columns have few different ones."""
NUL = "\0"
YES, NO = ("yes", "true", "1"), ("no", "false", "0")


def escape(text: str) -> str:
    """`text`, with an apostrophe before it if a spreadsheet would run it as a formula. `unescape` removes it."""
    return f"'{text}" if TAKEN_FOR_FORMULA.match(text) else text


def unescape(text: str) -> str:
    return text[1:] if text.startswith("'") and TAKEN_FOR_FORMULA.match(text, 1) else text


def needs_apostrophe(text: str) -> bool:
    """Whether `unescape` would change `text`. A cell of XLSX is a text or a formula, so only such texts are escaped."""
    return unescape(text) != text


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """A column of a table, with the field whose rules its values obey.

    `name` is unique in the table, and is accepted as a header, too. `path` is the field in a query for the table's
    model; it is empty for what is computed. `is_key` columns identify a row.
    """

    name: str
    header: str
    field: "models.Field[Any, Any]"
    path: str = ""
    is_key: bool = False
    remembered: dict[Any, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    @property
    def is_number(self) -> bool:
        return isinstance(self, NumberColumn)

    def text_of(self, value: Any) -> str:
        """For CSV, before it is escaped."""
        return "" if value is None else str(value)

    def cell_of(self, value: Any) -> Cell:
        """For XLSX."""
        return None if value is None else self.text_of(value)

    def parse(self, cell: Cell, *, decimal_comma: bool = False) -> Any:
        """The value of a cell. Raises ValidationError if it has none."""
        raise NotImplementedError

    def stored(self, value: Any) -> Any:
        """`value` as the field stores it: a text that may not be NULL is empty instead."""
        return "" if value is None and isinstance(self.field, models.CharField) and not self.field.null else value

    @property
    def default(self) -> Any:
        """The value of a new row whose file has no such column."""
        value = self.field.get_default() if self.field.has_default() else None
        return None if value == "" else value

    def faults(self, value: Any) -> tuple[str, ...]:
        """The rules of the field that `value` breaks."""
        key = value if value.__hash__ is not None else None
        if key is not None and key in self.remembered:
            return self.remembered[key]
        found = faults_of(self.field.clean, self.stored(value), None)
        if key is not None and len(self.remembered) < MAX_REMEMBERED:
            self.remembered[key] = found
        return found


def faults_of(check: Callable[..., object], *arguments: object) -> tuple[str, ...]:
    try:
        check(*arguments)
    except ValidationError as error:
        return tuple(error.messages)
    return ()


def text_in(cell: Cell) -> str:
    """A cell as text: what a user sees in it."""
    if isinstance(cell, str):
        return unescape(cell)
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, dt.datetime) and cell.time() == dt.time():
        return cell.date().isoformat()
    return str(cell)


class TextColumn(Column):
    def parse(self, cell: Cell, *, decimal_comma: bool = False) -> str | None:  # noqa: ARG002
        text = text_in(cell)
        if NUL in text:
            raise ValidationError("Null characters are not allowed.")
        return text or None


class ChoiceColumn(Column):
    """Files have the labels, as pages do; the stored values are accepted, too."""

    def text_of(self, value: Any) -> str:
        return "" if value is None else str(dict(self.field.flatchoices).get(value, value))

    def parse(self, cell: Cell, *, decimal_comma: bool = False) -> str | None:  # noqa: ARG002
        text = text_in(cell)
        found = text.strip().casefold()
        for value, label in self.field.flatchoices:
            if found in {str(label).casefold(), str(value).casefold()}:
                return str(value)
        if NUL in text:
            raise ValidationError("Null characters are not allowed.")
        return text or None


class NumberColumn(Column):
    def text_of(self, value: Any) -> str:
        return "" if value is None else repr(value)

    def cell_of(self, value: Any) -> Cell:
        """As text where XLSX would round it."""
        exact = value is None or (math.isfinite(value) and float(f"{value:.16g}") == value)
        return value if exact else repr(value)

    def parse(self, cell: Cell, *, decimal_comma: bool = False) -> Any:
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            return self.number(cell)
        text = text_in(cell).strip()
        if not text:
            return None
        plain = text.replace(",", ".") if decimal_comma and "." not in text else text
        if not NUMBER.fullmatch(plain) or (decimal_comma and "." in text) or not math.isfinite(float(plain)):
            self.refuse(text)
        return self.number(plain)

    def number(self, value: Any) -> Any:
        number = float(value)
        if not math.isfinite(number):
            self.refuse(value)
        return number

    def refuse(self, value: object) -> None:
        raise ValidationError(str(self.field.error_messages["invalid"]) % {"value": value})


class WholeNumberColumn(NumberColumn):
    def number(self, value: Any) -> int:
        text = text_in(value) if not isinstance(value, str) else value
        if not WHOLE.fullmatch(text) or len(text) > 20:  # more digits than any field takes
            self.refuse(text)
        return int(text)


class YesNoColumn(Column):
    def text_of(self, value: Any) -> str:
        return "" if value is None else "yes" if value else "no"

    def parse(self, cell: Cell, *, decimal_comma: bool = False) -> bool | None:  # noqa: ARG002
        text = text_in(cell).strip()
        if not text:
            return None
        if text.casefold() in {*YES, *NO}:
            return text.casefold() in YES
        raise ValidationError(f"“{text}” must be yes or no.")


class DateColumn(Column):
    def text_of(self, value: Any) -> str:
        return value.isoformat() if value else ""

    def parse(self, cell: Cell, *, decimal_comma: bool = False) -> dt.date | None:  # noqa: ARG002
        if isinstance(cell, dt.datetime):
            return cell.date()
        text = text_in(cell).strip()
        parsed: dt.date | None = self.field.to_python(text) if text else None
        return parsed


class PortsColumn(Column):
    """JSON in one line. The order of the ports is that of their names: PostgreSQL keeps no other."""

    def text_of(self, value: Any) -> str:
        return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)

    def parse(self, cell: Cell, *, decimal_comma: bool = False) -> Any:  # noqa: ARG002
        text = text_in(cell)
        if not text.strip():
            return None
        try:
            value = json.loads(text)
        except ValueError as error:
            raise ValidationError(str(self.field.error_messages["invalid"])) from error
        if NUL in json.dumps(value, ensure_ascii=False) or r"\u0000" in json.dumps(value):
            raise ValidationError("Null characters are not allowed.")
        return value


def column_class(model_field: "models.Field[Any, Any]") -> type[Column]:
    if model_field.flatchoices:
        return ChoiceColumn
    for kind, found in (
        (models.BooleanField, YesNoColumn),
        (models.FloatField, NumberColumn),
        (models.IntegerField, WholeNumberColumn),
        (models.DateField, DateColumn),
        (models.JSONField, PortsColumn),
    ):
        if isinstance(model_field, kind):
            return found
    return TextColumn
