"""Findings of the preflight, cell by cell: all of them in a file, a summary in memory."""

import contextlib
import csv
import errno
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.errors import PreconditionFailed

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
    """`count` findings with the same table, column and reason; the first few as `examples`."""

    table: str
    column: str
    reason: str
    count: int
    examples: tuple[Finding, ...]


@dataclass
class FindingLog:
    """Collects findings. Each is written to the CSV file `path`; several processes may append to it, in whole lines."""

    path: Path
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], list[Finding]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.counts.total()

    def add(self, finding: Finding) -> None:
        group = (finding.table, finding.column, finding.reason)
        self.counts[group] += 1
        if self.counts[group] <= EXAMPLES:
            self.examples.setdefault(group, []).append(finding)
        self.lines.append(csv_line(vars(finding).values()))
        if len(self.lines) >= LINES_AT_ONCE:
            self.flush()

    def merge(self, other: "FindingLog") -> None:
        """Add the counts and examples of another log of the same file."""
        self.counts += other.counts
        for group, examples in other.examples.items():
            self.examples[group] = [*self.examples.get(group, []), *examples][:EXAMPLES]

    def flush(self) -> None:
        """Append the lines with one write. The file is created with the first line. Raises PreconditionFailed."""
        if not self.lines:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileExistsError):
                append(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), csv_line(COLUMNS))
            append(os.open(self.path, os.O_APPEND | os.O_WRONLY), "".join(self.lines))
        except OSError as error:
            raise PreconditionFailed(
                f"The list of findings cannot be written to {self.path.parent}: {error.strerror}. Nothing was changed.",
                "Make this directory writable, with space for files, and run the command again.",
            ) from error
        self.lines.clear()

    @property
    def groups(self) -> tuple[Group, ...]:
        """Findings by table, column and reason, the most numerous first."""
        return tuple(
            Group(table=table, column=column, reason=reason, count=count, examples=tuple(self.examples[group]))
            for group, count in self.counts.most_common()
            for table, column, reason in [group]
        )


def csv_line(values: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue()


def append(descriptor: int, text: str) -> None:
    content = text.encode(errors="backslashreplace")
    try:
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def excerpt(value: Any, column: str, show: Callable[[Any], str] = repr) -> str:
    """`value`, shortened to one line; hidden where the column's name says that it is a secret."""
    if value is None:
        return ""
    if SECRET.search(column):
        return "(hidden)"
    text = show(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
