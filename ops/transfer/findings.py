"""What stands in the way of a migration, cell by cell: all of it in a file, a summary in memory."""

import csv
import os
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

EXAMPLES = 3
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
    """Collects findings from several threads. Every one goes into the CSV file `path`, made with the first of them."""

    path: Path
    count: int = 0
    _counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _examples: dict[tuple[str, str, str], list[Finding]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _file: TextIO | None = None

    def add(self, finding: Finding) -> None:
        kind = (finding.table, finding.column, finding.reason)
        with self._lock:
            self.count += 1
            self._counts[kind] += 1
            if self._counts[kind] <= EXAMPLES:
                self._examples.setdefault(kind, []).append(finding)
            self._write(finding)

    def _write(self, finding: Finding) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.fdopen(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", newline="")
            csv.writer(self._file).writerow(["table", "primary key", "column", "stored type", "value", "reason"])
        csv.writer(self._file).writerow(
            [finding.table, finding.key, finding.column, finding.stored_type, finding.value, finding.reason]
        )

    def close(self) -> None:
        if self._file:
            self._file.close()

    @property
    def groups(self) -> tuple[Group, ...]:
        """Alike findings together, the most numerous first."""
        return tuple(
            Group(table=table, column=column, reason=reason, count=count, examples=tuple(self._examples[kind]))
            for kind, count in self._counts.most_common()
            for table, column, reason in [kind]
        )


def excerpt(value: Any, column: str, show: Callable[[Any], str] = repr) -> str:
    """`value` short enough to read, and not at all where the column's name says that it is a secret."""
    if value is None:
        return ""
    if SECRET.search(column):
        return "(hidden)"
    text = show(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
