"""Whatever the file is called and wherever it is to be, there is the complete file of that name or none."""

import errno
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ops.engine_migration.to_sqlite import pipeline, target
from tests.engine_migration import support
from tests.engine_migration.support import Database, environment
from tests.engine_migration.to_sqlite.support import back, books_in, come_back, command, left_in
from tests.operations.test_control_characters import HOSTILE, assert_harmless
from tests.support import forked

ODD_NAMES = [
    "a b.db",
    "it's.db",
    '"q".db',
    "100%.db",
    "what?.db",
    "a#b&c=d.db",
    "two\nlines.db",
    "n" * 200,
    "ü\u202e",
    ".db",
]


@pytest.mark.parametrize(
    "name", [*ODD_NAMES[:5], *(pytest.param(name, marks=pytest.mark.slow) for name in ODD_NAMES[5:])]
)
def test_name_of_the_file_may_be_anything(lab: Database, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    come_back(folder / name, lab)
    assert [path.name for path in folder.iterdir()] == [name]
    assert books_in(folder / name) == 5
    status = (folder / name).stat()
    assert (status.st_mode & 0o777, status.st_nlink) == (0o600, 1)


def test_relative_path_and_shared_memory(lab: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    come_back(Path("relative.db"), lab)
    assert books_in(tmp_path / "relative.db") == 5


@pytest.mark.parametrize(
    "taken", ["file", "directory", "dangling link", "-wal", "-shm", "-journal", "no directory", "long"]
)
def test_taken_or_impossible_names_are_refused_before_anything_is_read(lab: Database, new: Path, taken: str) -> None:
    in_the_way = new
    match taken:
        case "file":
            new.write_text("precious")
        case "directory":
            new.mkdir()
        case "dangling link":
            new.symlink_to(new.parent / "nowhere")
        case "no directory":
            new = new.parent / "missing" / "new.db"
        case "long":
            new = new.with_name("n" * 240)
        case suffix:
            in_the_way = new.with_name(new.name + suffix)
            in_the_way.touch()
    before = sorted(new.parent.iterdir()) if new.parent.exists() else []
    outcome = back(new, lab)
    assert outcome.code == 1
    assert outcome.error == {
        "no directory": f"There is no directory {new.parent}. Nothing was changed.\nCreate it, or name another file.",
        "long": "The name of the file has more than 237 bytes. Nothing was changed.\nChoose a shorter one.",
    }.get(taken, f"{in_the_way} exists already. Nothing was changed.\nName a new file, or move that one away.")
    assert (sorted(new.parent.iterdir()) if new.parent.exists() else []) == before
    assert outcome.document["status"] == "failed"


# --- What comes meanwhile -----------------------------------------------------------------------------------------
def test_file_that_another_program_makes_meanwhile_is_kept(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.changed_tables

    def make(*arguments: Any) -> list[str]:
        new.write_text("precious")
        return real(*arguments)

    monkeypatch.setattr(pipeline, "changed_tables", make)
    outcome = back(new, lab)
    assert (outcome.code, new.read_text()) == (1, "precious")
    assert outcome.error.startswith(f"{new} exists already. Nothing was changed.")
    assert left_in(new.parent) == []


def test_directory_that_is_deleted_meanwhile(lab: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    real = pipeline.changed_tables

    def delete(*arguments: Any) -> list[str]:
        shutil.rmtree(folder)
        return real(*arguments)

    monkeypatch.setattr(pipeline, "changed_tables", delete)
    outcome = back(folder / "new.db", lab)
    assert outcome.code == 1
    assert outcome.error == (
        f"The file could not be written to {folder}: No such file or directory. There is no file {folder}/new.db.\n"
        "Check that this directory can be written to and has space for the file, and run the command again."
    )


def test_without_hard_links_the_file_is_renamed(lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "hardlink_to", failing(errno.EPERM))
    come_back(new, lab)
    assert books_in(new) == 5
    assert left_in(new.parent) == []


def failing(number: int) -> Callable[..., None]:
    def fail(*_arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("step", ["copy_owner", "hardlink_to", "sync", "sync of the directory"])
def test_fault_of_the_cut_over_leaves_no_file(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    if step == "hardlink_to":
        monkeypatch.setattr(Path, "hardlink_to", failing(errno.EIO))
    elif step == "sync of the directory":
        real = target.sync
        monkeypatch.setattr(target, "sync", lambda path: failing(errno.EIO)() if path == new.parent else real(path))
    else:
        monkeypatch.setattr(target, step, failing(errno.EIO))
    outcome = back(new, lab)
    assert outcome.code == 1
    assert outcome.error.startswith(f"The file could not be written to {new.parent}: Input/output error. There is no")
    assert not new.exists()
    assert left_in(new.parent) == []


# --- A full disk --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "sizes", [(1, 180), pytest.param(range(20, 400, 6), marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_full_disk_leaves_no_file(
    lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch, sizes: Iterable[int]
) -> None:
    """SQLite takes no more pages than that. Empty tables have about 170 of them."""
    full = (
        f"The file could not be written to {new.parent}: database or disk is full. There is no file {new}.\n"
        "Check that this directory can be written to and has space for the file, and run the command again."
    )
    for pages in sizes:
        with monkeypatch.context() as patch:
            patch.setattr(target, "UNSAFE_AND_FAST", f"PRAGMA max_page_count = {pages}; {target.UNSAFE_AND_FAST}")
            outcome = back(new, lab)
        assert left_in(new.parent) == []
        if outcome.code == 0:
            break
        assert (outcome.code, outcome.error) == (1, full), pages
        assert not new.exists()
    come_back(new.with_name("other.db"), lab)


@pytest.mark.slow
def test_limit_for_the_size_of_files(lab: Database, new: Path) -> None:
    """The system refuses the rest of the file, as a full disk does."""
    for kilobytes in (50, 400, 600):
        done = forked.run(["manage.py", *command(new, lab)], env=environment(new.parent), largest_file=kilobytes * 1000)
        assert done.returncode == 1, kilobytes
        assert done.stderr.startswith(f"CommandError: The file could not be written to {new.parent}: "), done.stderr
        assert not new.exists()
        assert left_in(new.parent) == []


def test_list_of_findings_that_cannot_be_written(lab: Database, new: Path, settings: Any) -> None:
    settings.BACKUP_DIR = new.parent / "file"
    settings.BACKUP_DIR.touch()
    lab.rows("UPDATE everything SET day = 'infinity' WHERE id = 1")
    outcome = back(new, lab, tables=["everything"])
    assert (outcome.code, outcome.error) == (
        1,
        (
            f"The list of findings cannot be written to {settings.BACKUP_DIR}: File exists. Nothing was changed.\n"
            "Make this directory writable, with space for files, and run the command again."
        ),
    )
    assert left_in(new.parent) == []


def test_owner_and_mode_are_those_of_the_directory(lab: Database, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root makes files for others")
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o750)
    os.chown(folder, 12345, 54321)
    come_back(folder / "new.db", lab)
    status = (folder / "new.db").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (12345, 54321, 0o600)


def test_fault_of_the_cut_over_leaves_no_quarantine(lab: Database, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command can be typed again; a quarantine directory with files would be refused."""
    lab.rows("UPDATE everything SET day = 'infinity' WHERE id = 1")
    place = new.parent / "refused"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", failing(errno.EIO))
        outcome = back(new, lab, "--quarantine", str(place), tables=["everything"])
    assert (outcome.code, place.exists()) == (1, False)
    outcome = back(new, lab, "--quarantine", str(place), tables=["everything"])
    assert (outcome.code, outcome.document["refused"]) == (3, 1)
    assert [path.name for path in place.iterdir()] == ["everything.jsonl"]


@pytest.mark.slow
def test_hostile_names_are_shown_without_their_control_characters(lab: Database, new: Path) -> None:
    """Of tables, columns, values, and files."""
    hostile = new.with_name(HOSTILE.replace("/", ""))
    lab.rows(f'CREATE TABLE "{HOSTILE}%s" (id int)')
    lab.rows("UPDATE everything SET day = 'infinity', long = %s WHERE id = 1", [HOSTILE])
    for arguments in (["--dry-run"], ["--yes"], ["--yes", "--skip-table", f"{HOSTILE}%s"], ["--skip-table", HOSTILE]):
        outcome = support.back(hostile, lab, *arguments)
        assert outcome.code in (1, 2), outcome
        assert_harmless(outcome.out + outcome.error)
    skipped = ["--skip-table", f"{HOSTILE}%s"]
    outcome = support.back(hostile, lab, "--yes", "--quarantine", str(new.parent / f"q{hostile.name}"), *skipped)
    assert outcome.code == 3, outcome
    assert_harmless(outcome.out)
    assert books_in(hostile) == 5


def test_quarantine_in_the_place_of_the_file_is_refused(lab: Database, new: Path) -> None:
    for place in (new, new / "refused"):
        outcome = back(new, lab, "--quarantine", str(place))
        assert outcome.code == 1
        assert outcome.error.startswith(f"--quarantine {place}: the file is to be there.")
        assert not new.exists()
