"""Sessions are neither in backups nor in restored databases; lockouts of the live database survive a restore."""

import gzip
from collections.abc import Callable, Iterator

import pytest

from ops.backups.table_policy import LOCKOUTS, SESSIONS
from tests.operations.harness import Lab
from tests.operations.test_restore_under_load import PEOPLE, Writer
from tests.support.web import WebServer

PASSWORD = "a long enough one"
GUESSED = ("eve@example.org", "mallory@example.org")


@pytest.fixture(params=["postgresql", pytest.param("schema", marks=pytest.mark.slow), "sqlite"])
def lab(request: pytest.FixtureRequest, make_lab: Callable[[str], Lab]) -> Lab:
    return make_lab(request.param)


@pytest.fixture
def web(lab: Lab) -> Iterator[WebServer]:
    people = "".join(PEOPLE.replace("writer@example.org", name) for name in ("writer@example.org", *GUESSED))
    lab.run("shell", "-c", people)
    web = WebServer.start(**(lab.environment | {"DEBUG": "true"}))
    yield web
    web.stop()


class Guesser(Writer):
    """A client that tries passwords of another user."""

    def __init__(self, port: int, name: str) -> None:
        self.port, self.name = port, name
        self.cookies = {}

    def tries(self, password: str) -> int:
        return self.post("/admin/login/", username=self.name, password=password, next="/admin/")[0]


def is_signed_in(writer: Writer) -> bool:
    status, headers, _ = writer.request("GET", "/admin/")
    assert status == 200 or "/admin/login/" in headers["Location"]
    return status == 200


def stored(lab: Lab) -> bytes:
    """All that is stored of backups, before compression."""
    files = [path.read_bytes() for path in sorted(lab.backups.iterdir()) if path.name.endswith(".gz")]
    return b"".join(gzip.decompress(data) for data in files)


def test_restore_ends_sessions_and_keeps_lockouts(lab: Lab, web: WebServer) -> None:
    writer = Writer(web.port)
    assert is_signed_in(writer)
    keys = [writer.cookies["sessionid"]]
    name = lab.back_up()
    guesser = Guesser(web.port, GUESSED[0])
    assert [guesser.tries("wrong") for _ in range(5)] == [200] * 4 + [429]
    assert guesser.tries(PASSWORD) == 429
    assert Guesser(web.port, "tried@example.org").tries("wrong") == 200

    lab.run("restore_database", name, "--yes")
    assert lab.value("SELECT count(*) FROM django_session") == 0
    assert not is_signed_in(writer)
    assert Guesser(web.port, GUESSED[0]).tries(PASSWORD) == 429
    assert Guesser(web.port, GUESSED[1]).tries(PASSWORD) == 302

    # What was counted since then stays as well when the restore is undone.
    again, other = Writer(web.port), Guesser(web.port, GUESSED[1])
    assert is_signed_in(again)
    keys.append(again.cookies["sessionid"])
    assert [other.tries("wrong") for _ in range(5)][-1] == 429
    lab.run("undo_restore", "--yes")
    assert not is_signed_in(writer)
    assert not is_signed_in(again)
    assert [Guesser(web.port, guessed).tries(PASSWORD) for guessed in GUESSED] == [429, 429]
    assert lab.value("SELECT count(*) FROM axes_accessattempt") == 3

    # No key of a session and no name that was guessed for is in any backup, and each manifest says so.
    backups = lab.run_json("list_backups")["backups"]
    assert len(backups) == 2
    content = stored(lab)
    assert [key for key in keys if len(key) < 32 or key.encode() in content] == []
    assert b"tried@example.org" not in content
    for backup in backups:
        excluded = {entry["table"] for entry in backup["manifest"]["excluded"]}
        assert excluded == {table for table in SESSIONS | LOCKOUTS if table in backup["manifest"]["tables"]}
        assert all(backup["manifest"]["tables"][table]["rows"] == 0 for table in excluded)
    for level in ("complete", "restored"):
        options = ["--restore"] if level == "restored" else []
        assert lab.run_json("verify_backup", name, *options)["verifications"][name]["error"] == "", level


@pytest.mark.parametrize("lab", ["postgresql", "sqlite"], indirect=True)
def test_backup_with_rows_of_an_excluded_table_fails_verification(lab: Lab) -> None:
    """As a patched pg_dump, or an attacker with the signing key, would make it."""
    lab.rows("INSERT INTO django_session VALUES ('a-session', 'data', '2100-01-01')")
    lab.run("backup_database", "--no-compress")
    (name,) = lab.listed()
    smuggle = f"""
from ops.backups import verify
from ops.backups.sources import from_record
from ops.backups.engines.base import NOTHING
from ops.backups.manifest import Kind
from ops.utils.progress import no_progress
from ops.runs.context import get_context
import dataclasses, io
context = get_context()
record = context.repository.get({name!r})
source = from_record(context.repository, record)
with context.engine.snapshot(kind=source.kind, excluded=NOTHING) as snapshot:
    data = b"".join(snapshot.stream(no_progress))
source = dataclasses.replace(source, opener=lambda: io.BytesIO(data))
print(verify.read_back(engine=context.engine, source=source, on_progress=no_progress).error)
with context.engine.locked("test"):
    print(verify.restore_test(engine=context.engine, source=source, on_progress=no_progress).error)
"""
    complete, restored = lab.run("shell", "-c", smuggle).out.strip().splitlines()[-2:]
    assert "django_session has 1 rows instead of 0" in complete
    assert "django_session has 1 rows instead of 0" in restored


@pytest.mark.parametrize("lab", ["postgresql", "sqlite"], indirect=True)
def test_backup_with_an_excluded_table_that_others_refer_to_is_refused(lab: Lab) -> None:
    lab.rows("CREATE TABLE follower (session varchar(40) REFERENCES django_session (session_key))")
    outcome = lab.manage("backup_database")
    assert outcome.code == 1
    assert "Rows of django_session are left out of backups, but follower refers to them" in outcome.error
    assert 'add "follower" to OPS_BACKUP_EXCLUDED_TABLES' in outcome.error
    assert lab.files() == []


def test_restore_over_a_damaged_database_logs_the_rows_that_are_lost(
    make_lab: Callable[[str], Lab],
) -> None:
    lab = make_lab("sqlite")
    name = lab.back_up()
    lab.file.write_bytes(b"no database" * 1000)
    lab.run("restore_database", name, "--yes", "--no-pre-backup")
    log = lab.value("SELECT log FROM ops_run WHERE kind = 'restore'")
    assert "could not be read from the live database: file is not a database." in log
    assert "axes_accessattempt" in log
