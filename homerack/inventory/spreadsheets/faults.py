"""What is refused of an import."""

from homerack.inventory.imports.refusals import Refused, printable
from homerack.inventory.spreadsheets.rows import SheetRow

MAX_FAULTS = 10_000
"""Faults that are listed; more are counted."""
MAX_MESSAGE = 300
"""Characters of a message, which may quote a cell."""


class Faults:
    """What is refused. `cells` are the rows and columns with a fault."""

    def __init__(self) -> None:
        self.listed: list[Refused] = []
        self.more = 0
        self.cells: set[tuple[SheetRow, str]] = set()

    def add(self, refused: Refused) -> None:
        if len(self.listed) < MAX_FAULTS:
            self.listed.append(refused)
        else:
            self.more += 1

    def at(self, row: SheetRow, column: str, *reasons: str) -> None:
        """`column` is the name of a column; empty for the whole row."""
        self.cells.add((row, column))
        header = row.table.columns[row.table.index(column)].header if column else ""
        for reason in reasons:
            self.add(Refused(source=row.source, line=row.line, field=header, reason=printable(reason, MAX_MESSAGE)))

    def once(self, row: SheetRow, column: str, *reasons: str) -> None:
        """Unless the cell has a fault already, such as one that could not be read."""
        if reasons and (row, column) not in self.cells:
            self.at(row, column, *reasons)

    def all(self) -> tuple[Refused, ...]:
        """In the order of the lines of each file."""
        sources = {refused.source: number for number, refused in enumerate(reversed(self.listed))}
        found = sorted(self.listed, key=lambda refused: (-sources[refused.source], refused.line or 0))
        if self.more:
            found.append(Refused(source=found[-1].source, reason=f"{self.more:,} more faults are not listed."))
        return tuple(found)
