"""What a bench measured, and the file that keeps it: docs/performance.json."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct, field

FILE = Path(__file__).resolve().parents[1] / "docs" / "performance.json"


class Sample(Struct, frozen=True, omit_defaults=True):
    """One execution of a program: wall seconds, CPU seconds of all processes involved, peak memory of the largest one.

    `size` is the bytes of the file that was written, and `rows` the rows that were processed, where that varies.
    """

    seconds: float
    cpu: float = 0
    megabytes: float = 0
    size: int = 0
    rows: int = 0
    parts: dict[str, float] = {}

    def __add__(self, other: "Sample") -> "Sample":
        """Both, one after the other."""
        return Sample(
            seconds=self.seconds + other.seconds,
            cpu=self.cpu + other.cpu,
            megabytes=max(self.megabytes, other.megabytes),
            size=max(self.size, other.size),
            rows=max(self.rows, other.rows),
            parts=self.parts | other.parts,
        )

    def __str__(self) -> str:
        parts = "  ".join(f"{name} {value:.4g}" for name, value in self.parts.items())
        cpu = f", CPU {self.cpu:.2f} s" if self.cpu else ""
        memory = f", {self.megabytes:.0f} MB" if self.megabytes else ""
        return f"{self.seconds:.4g} s{cpu}{memory}{f'  ({parts})' if parts else ''}"


Pick = Callable[[Sample], float]


class Claim(Struct, frozen=True, omit_defaults=True):
    """A figure of the table of all benches, once for each round: a ratio to another program, or a value with a unit."""

    name: str
    values: list[float]
    unit: str = ""
    at_most: float | None = None
    """The goal, if there is one."""


class Machine(Struct, frozen=True, kw_only=True):
    cpu: str
    cores: int
    memory: int
    """GB."""
    disk: str
    system: str
    versions: dict[str, str]


class Results(Struct):
    """Samples by program, one for each round, and what follows from them."""

    programs: dict[str, list[Sample]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """The programs that could not run, each with what is not installed."""

    def ratio(
        self,
        one: str,
        other: str,
        *,
        of: Pick = lambda sample: sample.seconds,
        to: Pick = lambda sample: sample.seconds,
        name: str = "",
        at_most: float | None = None,
    ) -> None:
        """Claim the ratio of two programs within each round, if both ran."""
        if one in self.programs and other in self.programs:
            pairs = zip(self.programs[one], self.programs[other], strict=True)
            values = [round(of(mine) / to(theirs), 4) for mine, theirs in pairs]
            self.claims.append(Claim(name=name or f"{one} / {other}", values=values, at_most=at_most))

    def value(self, name: str, program: str, of: Pick, *, unit: str, at_most: float | None = None) -> None:
        """Claim a value of a program, if it ran."""
        if program in self.programs:
            values = [round(of(sample), 4) for sample in self.programs[program]]
            self.claims.append(Claim(name=name, values=values, unit=unit, at_most=at_most))


class Record(Struct, kw_only=True):
    """A run of one bench."""

    command: str
    date: str
    commit: str
    machine: Machine
    rows: int
    rounds: int
    results: Results


def read() -> dict[str, Record]:
    return msgspec.json.decode(FILE.read_bytes(), type=dict[str, Record]) if FILE.exists() else {}


def write(records: dict[str, Record]) -> None:
    """Replace the file at once."""
    partial = FILE.with_suffix(".partial")
    ordered = msgspec.to_builtins({name: records[name] for name in sorted(records)})
    partial.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
    partial.replace(FILE)
