"""`python -m bench` runs benches, keeps the figures of each, and goes on when one fails."""

import types
from pathlib import Path

import pytest

from bench import __main__ as main
from bench import document, results
from bench.measuring import ProgramFailed
from bench.results import Results, Sample
from bench.session import Session


def run_good(session: Session, measured: Results) -> None:
    measured.programs["ours"] = [Sample(seconds=1)] * session.rounds
    measured.programs["theirs"] = [Sample(seconds=2)] * session.rounds
    measured.ratio("ours", "theirs")


def run_bad(_session: Session, _measured: Results) -> None:
    raise ProgramFailed("theirs ended with 1")


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two benches, and a document with their blocks. Returns its directory."""
    monkeypatch.setattr(main, "BENCHES", ("bad", "good"))
    for name, run in (("bad", run_bad), ("good", run_good)):
        module = types.ModuleType(f"bench.{name}")
        module.run = run  # type: ignore[attr-defined]
        monkeypatch.setitem(main.sys.modules, module.__name__, module)
    monkeypatch.setattr(results, "FILE", tmp_path / "performance.json")
    monkeypatch.setattr(document, "FILES", (tmp_path / "performance.md",))
    (tmp_path / "performance.md").write_text("prose\n<!-- bench good -->\n<!-- end -->\n")
    return tmp_path


def test_bench_that_fails_is_named_and_the_others_are_kept(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 1
    printed = capsys.readouterr()
    assert "ours / theirs" in printed.out
    assert printed.out.endswith("Failed: bad.\n")
    assert "theirs ended with 1" in printed.err
    assert list(results.read()) == ["good"]
    assert "| ours | 1.00 |" in (files / "performance.md").read_text()


def test_figures_of_the_other_benches_stay(files: Path) -> None:
    other = main.Record(**{**record("good"), "command": "python -m bench bad"})
    results.write({"bad": other})
    assert main.main(["good", "--rounds", "2", "--rows", "5"]) == 0
    assert results.read()["bad"] == other
    assert results.read()["good"].command == "python -m bench good --rows 5 --rounds 2"


@pytest.mark.parametrize("option", ["--tiny", "--only-print"])
def test_nothing_is_written_when_only_printed(option: str, files: Path) -> None:
    before = (files / "performance.md").read_text()
    assert main.main(["good", option]) == 0
    assert not results.FILE.exists()
    assert (files / "performance.md").read_text() == before


def record(name: str) -> dict[str, object]:
    session = Session(rows=1000, rounds=1, tiny=False, folder=Path())
    return {field: getattr(main.measure(name, session), field) for field in main.Record.__struct_fields__}
