"""The table of faults: in the terminal, in docs/high-availability.json, and from there in docs/high-availability.md."""

import datetime as dt
import json
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import document, machine
from bench.results import Machine
from tests.cluster.faults import FAULTS
from tests.cluster.oracle import Figures

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIGURES, DOCUMENT = DOCS / "high-availability.json", DOCS / "high-availability.md"
BLOCK = re.compile(r"(<!-- faults -->\n).*?(<!-- end -->)", re.DOTALL)
HEADING = (
    "Fault",
    "Writes acknowledged",
    "Of them lost",
    "Saved despite an error",
    "Longest gap",
    "Gap after a new leader",
    "503",
    "Other errors",
    "Slowest response",
    "Slowest health",
)


class Measured(Struct, kw_only=True, frozen=True):
    """A fault, and the minutes that it took."""

    figures: Figures
    minutes: float
    date: str
    commit: str
    machine: Machine


def measured(figures: Figures, *, seconds: float) -> Measured:
    return Measured(
        figures=figures,
        minutes=round(seconds / 60, 2),
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        commit=machine.commit(),
        machine=machine.describe(),
    )


def read() -> dict[str, Measured]:
    """By the name of the fault."""
    return msgspec.json.decode(FIGURES.read_bytes(), type=dict[str, Measured]) if FIGURES.exists() else {}


def keep(found: Mapping[str, Measured]) -> None:
    """Replace what is kept of these faults, and the table of the document."""
    kept = {name: each for name, each in (read() | dict(found)).items() if name in FAULTS}
    ordered = msgspec.to_builtins({name: kept[name] for name in FAULTS if name in kept})
    FIGURES.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text(), kept))


def rewritten(text: str, found: Mapping[str, Measured]) -> str:
    """`text` with the table between ``<!-- faults -->`` and ``<!-- end -->``."""
    return BLOCK.sub(lambda match: f"{match[1]}{block(found)}{match[2]}", text)


def block(found: Mapping[str, Measured]) -> str:
    """Which machine, and the table."""
    lines = dict.fromkeys(
        f"- {document.description(each.machine)}. {document.date(each.date)}, commit {each.commit}."
        for each in found.values()
    )
    return "\n".join([*lines, "", table(found)])


def table(found: Mapping[str, Measured]) -> str:
    rows = [row(name, found[name].figures) for name in FAULTS if name in found]
    return document.table(HEADING, rows)


def row(name: str, figures: Figures) -> tuple[str, ...]:
    return (
        FAULTS[name].title,
        f"{figures.acknowledged:,}",
        str(figures.lost),
        str(figures.saved_despite_error),
        f"{figures.longest_gap:.1f} s",
        f"{figures.gap_after_leader:.1f} s" if figures.leaders else "",
        str(figures.statuses.get("503", 0)),
        ", ".join(f"{number} × {status}" for status, number in figures.unexpected.items()) or "0",
        f"{figures.slowest_response:.1f} s",
        f"{figures.slowest_health:.1f} s",
    )


def minutes(found: Mapping[str, Measured]) -> float:
    return sum(each.minutes for each in found.values())
