"""What stands in the way of a migration, cell by cell: all of it in a file, a summary in memory."""

import contextlib
import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXAMPLES = 3
LINES_AT_ONCE = 1000
COLUMNS = ("table", "primary key", "column", "stored type", "value", "reason")
SECRET = re.compile("pass|token|secret|key|hash", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One cell (or row) that PostgreSQL would refuse or change. `key` is the row's primary key as text."""

    table: str
    key: str
    column: str
    stored_type: str
    value: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """Findings that are alike: `count` of them, the first few as `examples`."""

    table: str
    column: str
    reason: str
    count: int
    examples: tuple[Finding, ...]


@dataclass
class FindingLog:
    """Collects findings. Every one goes into the CSV file `path`, which several logs may write to: whole lines each."""

    path: Path
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], list[Finding]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.counts.total()

    def add(self, finding: Finding) -> None:
        kind = (finding.table, finding.column, finding.reason)
        self.counts[kind] += 1
        if self.counts[kind] <= EXAMPLES:
            self.examples.setdefault(kind, []).append(finding)
        self.lines.append(csv_line(vars(finding).values()))
        if len(self.lines) >= LINES_AT_ONCE:
            self.flush()

    def merge(self, other: "FindingLog") -> None:
        """Take in what another log of the same file has counted."""
        self.counts += other.counts
        for kind, examples in other.examples.items():
            self.examples[kind] = [*self.examples.get(kind, []), *examples][:EXAMPLES]

    def flush(self) -> None:
        """Write the lines in one go to the end of the file, which is made with its first line."""
        if not self.lines:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            append(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), csv_line(COLUMNS))
        append(os.open(self.path, os.O_APPEND | os.O_WRONLY), "".join(self.lines))
        self.lines.clear()

    @property
    def groups(self) -> tuple[Group, ...]:
        """Alike findings together, the most numerous first."""
        return tuple(
            Group(table=table, column=column, reason=reason, count=count, examples=tuple(self.examples[kind]))
            for kind, count in self.counts.most_common()
            for table, column, reason in [kind]
        )


def csv_line(values: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()


def append(descriptor: int, text: str) -> None:
    try:
        os.write(descriptor, text.encode(errors="backslashreplace"))
    finally:
        os.close(descriptor)


def excerpt(value: Any, column: str, show: Callable[[Any], str] = repr) -> str:
    """`value` short enough to read, and not at all where the column's name says that it is a secret."""
    if value is None:
        return ""
    if SECRET.search(column):
        return "(hidden)"
    text = show(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
