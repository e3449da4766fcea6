"""The documents show the figures of docs/performance.json."""

import re
import statistics
from pathlib import Path

import pytest

from bench import document, results
from bench.__main__ import BENCHES
from bench.results import Claim, Machine, Record, Results, Sample

ROOT = Path(__file__).resolve().parents[2]
MACHINE = Machine(cpu="Model", cores=2, memory=4, disk="virtual", system="Debian", versions={"Python": "3.11.7"})

AGAINST_PGLOADER = "migration, everything / pgloader"


def record(*samples: Sample, claims: list[Claim] | None = None, skipped: dict[str, str] | None = None) -> Record:
    return Record(
        command="python -m bench migrate",
        date="2026-12-01",
        commit="abc",
        machine=MACHINE,
        rows=1000,
        rounds=len(samples),
        results=Results(programs={"ours": list(samples)}, claims=claims or [], skipped=skipped or {}),
    )


@pytest.mark.parametrize("file", document.FILES, ids=lambda file: file.name)
def test_document_agrees_with_the_figures(file: Path) -> None:
    text, records = file.read_text(), results.read()
    ordered = {name: records[name] for name in BENCHES if name in records}
    assert document.rewritten(text, ordered) == text


def test_each_bench_has_a_block_in_a_document() -> None:
    blocks = [name for file in document.FILES for name in document.names_of_blocks(file.read_text())]
    assert sorted(blocks) == sorted([document.MACHINE, document.RATIOS, document.SIZES, *BENCHES])


def test_figures_are_of_known_benches() -> None:
    assert set(results.read()) <= set(BENCHES)


def test_readme_says_of_pgloader_what_was_measured() -> None:
    (claim,) = [claim for claim in results.read()["migrate"].results.claims if claim.name == AGAINST_PGLOADER]
    said = re.search(r"dimitri/pgloader\).*\[(faster|slower) than HomeRack\]", (ROOT / "README.md").read_text())
    assert said
    assert said[1] == ("faster" if statistics.median(claim.values) > 1 else "slower")


def test_block_of_large_databases_says_how_many_rows_fit_into_an_hour() -> None:
    samples = (Sample(seconds=2.0), Sample(seconds=4.0), Sample(seconds=3.0))
    found = record()
    found.results.programs = {"`migrate_to_postgres`": list(samples)}
    rows = document.block(document.SIZES, {"migrate": found}).splitlines()[2:]
    assert rows == ["| of 1 million rows: migration | 3.00 s (2.00–4.00) |  | 1.20 million rows |"]


def test_rewritten_replaces_what_is_between_the_marks() -> None:
    text = "before\n<!-- bench migrate -->\nold\n<!-- end -->\nafter\n<!-- bench backup -->\nold\n<!-- end -->\n"
    samples = (Sample(seconds=1.0, cpu=2, megabytes=60), Sample(seconds=3.0, cpu=2, megabytes=60))
    assert document.rewritten(text, {"migrate": record(*samples)}) == (
        "before\n<!-- bench migrate -->\n"
        "`python -m bench migrate`, 1 December 2026\n\n"
        "|  | Seconds | CPU seconds | Largest process |\n| --- | --- | --- | --- |\n"
        "| ours | 2.00 (1.00–3.00) | 2.00 | 60.0 MB |\n"
        "<!-- end -->\nafter\n<!-- bench backup -->\nNot measured yet.\n<!-- end -->\n"
    )


def test_block_shows_milliseconds_parts_and_the_programs_that_were_skipped() -> None:
    sample = Sample(seconds=0.0123, parts={"queries": 19, "nothing": 0})
    block = document.block("migrate", {"migrate": record(sample, skipped={"theirs": "pgloader"})})
    assert block.splitlines()[2:] == [
        "|  | Milliseconds | Of which |",
        "| --- | --- | --- |",
        "| ours | 12.3 | queries 19.0 |",
        "",
        "Skipped: theirs (pgloader is not installed).",
    ]


def test_first_table_has_ratios_and_what_has_a_goal() -> None:
    claims = [
        Claim(name="ours / theirs", values=[0.5, 0.7, 0.6], at_most=0.9),
        Claim(name="blocked", values=[0.4], unit="s", at_most=1),
        Claim(name="other", values=[3.0], unit="%"),
    ]
    records = {"migrate": record(Sample(seconds=1), claims=claims)}
    assert document.block(document.RATIOS, records).splitlines()[2:] == [
        "| ours / theirs | 0.60 (0.50–0.70) | ≤ 0.9 | `python -m bench migrate` |",
        "| blocked | 0.40 s | ≤ 1 s | `python -m bench migrate` |",
    ]
    assert "| other | 3.00 % |" in document.block("migrate", records)


def test_machines_are_listed_with_their_benches_when_there_are_several() -> None:
    other = record(Sample(seconds=1))
    other.commit = "def"
    machine = "Model, 2 cores, 4 GB of memory, virtual disk; Debian, Python 3.11.7"
    lines = list(document.machines({"migrate": record(Sample(seconds=1)), "backup": other}))
    assert lines == [
        f"- {machine}. 1 December 2026, commit abc: `migrate`.",
        f"- {machine}. 1 December 2026, commit def: `backup`.",
    ]


def test_ratio_is_taken_within_each_round_and_only_if_both_programs_ran() -> None:
    measured = Results(programs={"ours": [Sample(seconds=1), Sample(seconds=4)], "theirs": [Sample(seconds=2)] * 2})
    measured.ratio("ours", "theirs")
    measured.ratio("ours", "skipped")
    assert measured.claims == [Claim(name="ours / theirs", values=[0.5, 2.0])]


def test_two_samples_add_up() -> None:
    both = Sample(seconds=1, cpu=1, megabytes=50, size=7) + Sample(seconds=2, cpu=1, megabytes=40)
    assert both == Sample(seconds=3, cpu=2, megabytes=50, size=7)
