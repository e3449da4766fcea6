"""The steps of the way back to SQLite, with a `docker` that runs no containers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.fake_engine import DATABASES, SITE, FakeEngine
from tests.deploy.machine import SCRIPT, Ended, Machine

STEPS = (
    "Stop front, web, worker and beat",
    "Back up the database",
    "Migrate PostgreSQL to a SQLite file",
    "Copy the file to {}",
)
MIGRATES = "migrate_to_sqlite --sqlite-path"
RUNS_AS_BEFORE = "HomeRack runs on PostgreSQL as before, and is healthy. {} was not written."


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.configure()
    return machine


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    engine = FakeEngine(tmp_path / "engine")
    monkeypatch.setenv("PATH", str(engine.folder), prepend=":")
    return engine


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "on the host" / "lab.db"
    path.parent.mkdir()
    return path


def check_unchanged(engine: FakeEngine, target: Path, ended: Ended) -> None:
    """HomeRack runs, and nothing of the way back is left."""
    assert ended.code == 1
    assert engine.running == {*SITE, *DATABASES}
    assert not engine.in_volumes
    assert not [*target.parent.iterdir()]


def test_file_is_copied_and_the_site_stays_stopped(machine: Machine, engine: FakeEngine, target: Path) -> None:
    ended = machine.run(SCRIPT, "--back-to-sqlite", str(target))
    assert ended.code == 0, ended.text
    assert [line[2:] for line in ended.text.splitlines() if line.startswith("▸")][1:] == [
        step.format(target) for step in STEPS
    ]
    assert target.read_text() == "the rows"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [*target.parent.iterdir()] == [target]
    assert engine.running == {*DATABASES}
    assert not engine.in_volumes
    assert any("backup_database --note before the way back to SQLite --json" in call for call in engine.calls)
    assert not any(call.startswith("build") for call in engine.calls)
    assert f"DATABASE_URL=sqlite:///{str(target).replace(' ', '%20')}' >> .env" in ended.text
    assert f"  docker start {' '.join((*DATABASES, *SITE))}\n" in ended.text
    assert "docker compose -f docker-compose.prod.yml --env-file .env.production down --volumes" in ended.text


def test_postgres_url_of_the_settings_is_not_used(machine: Machine, engine: FakeEngine, target: Path) -> None:
    """It is for migrations that users start."""
    machine.run(SCRIPT, "--back-to-sqlite", str(target))
    in_image = [call for call in engine.calls if " run --rm" in call and "manage.py" in call]
    assert len(in_image) == 2
    assert all(" -e POSTGRES_URL= -e POSTGRES_URL_FILE= web " in call for call in in_image)


def test_relative_path_is_one_of_the_current_directory(machine: Machine, engine: FakeEngine) -> None:
    ended = machine.run(SCRIPT, "--back-to-sqlite", "relative.db", "--skip-backup")
    made = machine.folder / "relative.db"
    assert made.read_text() == "the rows"
    made.unlink()
    assert f"Copy the file to {made}" in ended.text
    assert not any("backup_database" in call for call in engine.calls)


def test_dry_run_lists_the_steps_and_stops_nothing(machine: Machine, engine: FakeEngine, target: Path) -> None:
    ended = machine.run(SCRIPT, "--back-to-sqlite", str(target), "--dry-run")
    assert ended.code == 0, ended.text
    steps = "".join(f"  would: {step.format(target)}\n" for step in STEPS)
    assert f"{steps}Nothing was changed: this was a dry run." in ended.text
    assert engine.running == {*SITE, *DATABASES}
    assert not [*target.parent.iterdir()]


class TestRefusals:
    """Nothing is stopped."""

    @pytest.fixture(autouse=True)
    def runs_on(self, engine: FakeEngine) -> Iterator[None]:
        yield
        assert engine.running >= {*SITE}
        assert not any(call.startswith(("stop", "rm")) for call in engine.calls)

    def problem(self, machine: Machine, target: Path, *options: str) -> str:
        ended = machine.run(SCRIPT, "--back-to-sqlite", str(target), *options)
        assert ended.code == 1
        assert "Nothing was changed." in ended.text
        (problem,) = (line.strip() for line in ended.text.splitlines() if line.startswith("  ✗"))
        return problem

    @pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
    def test_existing_file_or_journal_is_refused(self, machine: Machine, target: Path, suffix: str) -> None:
        other = target.with_name(target.name + suffix)
        other.symlink_to("missing")
        assert self.problem(machine, target) == f"✗ {other} exists. Name a new file, or move this one away."
        assert other.is_symlink()

    def test_missing_directory_is_refused(self, machine: Machine, target: Path) -> None:
        missing = target.parent / "missing"
        assert self.problem(machine, missing / "lab.db") == f"✗ There is no directory {missing}."

    def test_name_that_cannot_be_created_is_refused(self, machine: Machine, target: Path) -> None:
        long = target.with_name("n" * 250)
        assert self.problem(machine, long) == f"✗ {long} cannot be created; see {machine.folder / 'deploy.log'}"

    def test_machine_without_homerack_is_refused(self, machine: Machine, engine: FakeEngine, target: Path) -> None:
        engine.set_names("images")
        assert self.problem(machine, target).startswith("✗ HomeRack is not installed here: there is no image homerack")

    def test_release_without_the_command_is_refused(self, machine: Machine, engine: FakeEngine, target: Path) -> None:
        engine.answer(has_command=False)
        assert self.problem(machine, target).startswith("✗ The installed release has no migrate_to_sqlite. Deploy this")

    def test_stopped_database_is_refused(self, machine: Machine, engine: FakeEngine, target: Path) -> None:
        engine.set_names("running", *SITE)
        assert self.problem(machine, target).endswith("Start them: docker start homerack-postgres homerack-redis")

    @pytest.mark.parametrize("users", ["", "0"])
    def test_database_without_rows_is_refused(
        self, machine: Machine, engine: FakeEngine, target: Path, users: str
    ) -> None:
        engine.answer(users=users)
        assert self.problem(machine, target).startswith("✗ PostgreSQL holds no data.")

    def test_database_larger_than_the_free_space_is_refused(
        self, machine: Machine, engine: FakeEngine, target: Path
    ) -> None:
        engine.answer(kibibytes=1 << 40)
        ended = machine.run(SCRIPT, "--back-to-sqlite", str(target), "--dry-run")
        assert ended.text.count("MiB is needed. To continue anyway: --force") == 2
        assert machine.run(SCRIPT, "--back-to-sqlite", str(target), "--dry-run", "--force").code == 0


class TestFailures:
    """After a failure of any step HomeRack runs as before, and there is no file."""

    @pytest.mark.parametrize(
        ("fails", "reason"),
        [
            (("stop homerack-front", 1), "The services could not be stopped."),
            (("backup_database", 1), "The backup failed.\n  To continue without a backup: --skip-backup"),
            ((MIGRATES, 1), "The SQLite file was not written.\n"),
            ((MIGRATES, 2), "SQLite cannot hold all values, and the list of findings could not be copied.\n"),
            ((MIGRATES, 4), "Another operation on the database is running.\n"),
            (("sha256sum", 1), "The file in the container cannot be read.\n"),
            (("current cat", 1), "Is its disk full?\n"),
        ],
    )
    def test_failing_step_starts_the_site_again(
        self, machine: Machine, engine: FakeEngine, target: Path, fails: tuple[str, int], reason: str
    ) -> None:
        engine.answer(fails=fails)
        ended = machine.run(SCRIPT, "--back-to-sqlite", str(target))
        check_unchanged(engine, target, ended)
        assert reason in ended.text
        assert RUNS_AS_BEFORE.format(target) in ended.text

    def test_findings_are_copied_to_the_host(self, machine: Machine, engine: FakeEngine, target: Path) -> None:
        others = engine.folder / "backups" / "lab_20261130_findings.csv"
        others.touch()
        copied = target.with_name("lab.db.findings.csv")
        copied.write_text("of an earlier run")
        engine.answer(fails=(MIGRATES, 2), findings="table,value\n")
        text = machine.run(SCRIPT, "--back-to-sqlite", str(target)).text
        assert text.index(f"{MIGRATES} fails\n") < text.index("✗ Migrate PostgreSQL to a SQLite file failed")
        command = "docker exec homerack-web python manage.py migrate_to_sqlite --sqlite-path"
        assert f"{command} /var/lib/homerack/uploads/new.db --dry-run" in text
        assert f"All findings: {copied}\n" in text
        assert text.count(f"{MIGRATES} fails\n") == 1
        assert copied.read_text() == "table,value\n"
        assert copied.stat().st_mode & 0o777 == 0o600
        assert engine.in_volumes == [others.name]
        assert engine.running == {*SITE, *DATABASES}

    def test_damaged_copy_is_deleted(self, machine: Machine, engine: FakeEngine, target: Path) -> None:
        engine.answer(copied="the row")
        ended = machine.run(SCRIPT, "--back-to-sqlite", str(target))
        check_unchanged(engine, target, ended)
        assert "The copy differs from the file in the container (SHA-256)." in ended.text

    @pytest.mark.parametrize("call", ["stop homerack-front", "backup_database", MIGRATES, "sha256sum", "current cat"])
    def test_interruption_starts_the_site_again(
        self, machine: Machine, engine: FakeEngine, target: Path, call: str
    ) -> None:
        engine.answer(slow=call)
        with machine.start(SCRIPT, "--back-to-sqlite", str(target)) as process:
            engine.wait_for(call)
            os.killpg(process.pid, signal.SIGINT)
            text, _ = process.communicate()
        check_unchanged(engine, target, Ended(process.returncode, text))
        assert "failed: Interrupted." in text
        assert RUNS_AS_BEFORE.format(target) in text

    def test_end_of_the_terminal_starts_the_site_again(
        self, machine: Machine, engine: FakeEngine, target: Path
    ) -> None:
        engine.answer(slow=MIGRATES)
        with machine.start(SCRIPT, "--back-to-sqlite", str(target)) as process:
            engine.wait_for(MIGRATES)
            assert process.stdout
            process.stdout.close()
            os.killpg(process.pid, signal.SIGHUP)
        check_unchanged(engine, target, Ended(process.returncode, ""))

    def test_only_what_was_running_is_started_again(self, machine: Machine, engine: FakeEngine, target: Path) -> None:
        engine.set_names("running", "homerack-web", *DATABASES)
        engine.answer(fails=(MIGRATES, 1))
        ended = machine.run(SCRIPT, "--back-to-sqlite", str(target))
        assert engine.running == {"homerack-web", *DATABASES}
        assert "What was changed:\n  - homerack-web were stopped\n" in ended.text

    @pytest.mark.parametrize(
        ("containers", "command"),
        [
            (SITE[1:], f"docker start {' '.join((*DATABASES, *SITE[1:]))}"),
            ((), "ops/deploy/deploy_production.sh"),
        ],
    )
    def test_site_that_did_not_run_stays_stopped(
        self, machine: Machine, engine: FakeEngine, target: Path, containers: tuple[str, ...], command: str
    ) -> None:
        engine.set_names("running", *DATABASES)
        engine.set_names("containers", *DATABASES, *containers)
        engine.answer(fails=(MIGRATES, 1))
        ended = machine.run(SCRIPT, "--back-to-sqlite", str(target))
        assert engine.running == {*DATABASES}
        assert ended.text.endswith(f"Nothing was changed.\nHomeRack was not running. To start it: {command}\n")

    def test_run_after_a_killed_one_writes_the_file(self, machine: Machine, engine: FakeEngine, target: Path) -> None:
        engine.answer(slow="current cat")
        with machine.start(SCRIPT, "--back-to-sqlite", str(target)) as process:
            engine.wait_for("current cat")
            os.killpg(process.pid, signal.SIGKILL)
        assert engine.running == {*DATABASES}
        assert engine.in_volumes == ["back-to-sqlite.db", "tmp-back-to-sqlite"]
        assert [path.suffix for path in target.parent.iterdir()] == [".partial"]
        engine.answer()
        ended = machine.run(SCRIPT, "--back-to-sqlite", str(target))
        assert ended.code == 0, ended.text
        assert "None of them is running." in ended.text
        assert [*target.parent.iterdir()] == [target]
        assert not engine.in_volumes

    def test_second_run_is_refused_and_disturbs_nothing(
        self, machine: Machine, engine: FakeEngine, target: Path
    ) -> None:
        engine.answer(slow="current cat")
        with machine.start(SCRIPT, "--back-to-sqlite", str(target)) as process:
            engine.wait_for("current cat")
            second = machine.run(SCRIPT, "--back-to-sqlite", str(target))
            process.communicate()
        assert second.code == 1
        assert "✗ Another deployment is running." in second.text
        assert process.returncode == 0
        assert target.read_text() == "the rows"
