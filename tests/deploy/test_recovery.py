"""`--recover-from`, with a `docker` that runs no containers."""

from pathlib import Path

import pytest

from tests.deploy.fake_engine import FakeEngine
from tests.deploy.machine import SCRIPT, Machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.configure()
    return machine


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    engine = FakeEngine(tmp_path / "engine")
    engine.answer(users="")
    monkeypatch.setenv("PATH", str(engine.folder), prepend=":")
    return engine


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    file = tmp_path / "kit.txt"
    file.write_text("AGE-SECRET-KEY-1OFTHETEST\n")
    return file


@pytest.mark.usefixtures("engine")
def test_dry_run_recovers_before_migrations_and_without_a_backup(machine: Machine) -> None:
    ended = machine.run(SCRIPT, "--recover-from", "nas", "--dry-run")
    assert ended.code == 0, ended.text
    steps = "  would: Start PostgreSQL and Redis\n  would: Recover the database from nas\n  would: Apply migrations\n"
    assert steps in ended.text


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recover-from", "/no/such"), "There is no directory /no/such. Is the disk mounted?"),
        (("--recover-from", "nas"), "the keys of the recovery kit have to be in a file: --identity-file FILE"),
        (("--recover-from", "nas", "--identity-file", "/no/such"), "The file /no/such cannot be read."),
    ],
)
def test_what_is_missing_is_named_before_anything_is_started(
    machine: Machine, options: tuple[str, ...], message: str
) -> None:
    ended = machine.run(SCRIPT, *options)
    assert ended.code == 1
    assert message in ended.text
    assert "Nothing was changed." in ended.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--recover-from", "nas", "--sqlite-path", "lab.db"), "--recover-from contradicts --sqlite-path"),
        (("--recover-from", "nas", "--back-to-sqlite", "lab.db"), "--recover-from contradicts --sqlite-path"),
        (("--identity-file", "kit.txt"), "--identity-file needs --recover-from"),
        (("--recover-from",), "--recover-from needs a value"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    machine: Machine, options: tuple[str, ...], message: str
) -> None:
    ended = machine.run(SCRIPT, *options)
    assert ended.code == 2
    assert message in ended.text
