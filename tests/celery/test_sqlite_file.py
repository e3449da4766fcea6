"""From the click to the file: HomeRack on PostgreSQL with its real processes, and Django on what was downloaded."""

import contextlib
import re
import threading
import time
import uuid
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from tests.celery.support import is_stopped, manage, running, served, wait_for
from tests.celery.test_beat import WORKER
from tests.celery.test_tasks import kill, shell
from tests.engine_migration import support
from tests.engine_migration.support import Database
from tests.support.web import SESSION_KEY

PAGE = "/admin/ops/backup/migrate-to-sqlite/"
PASSWORD = "a long passphrase"
PREPARE = f"""
from django.core.management import call_command
from homerack.accounts.models import User
User.objects.create_superuser("ada@example.com", "{PASSWORD}")
call_command("load_demo", verbosity=0)
""" + SESSION_KEY.format("ada@example.com").replace("print(", "print('session:', ")
VALUES = f"""
from django.apps import apps
from homerack.accounts.models import User
print(User.objects.get(email="ada@example.com").check_password("{PASSWORD}"))
for model in apps.get_models(include_auto_created=True):
    if model._meta.managed and model._meta.label not in {{"sessions.Session", "ops.Run"}}:
        names = [field.attname for field in model._meta.concrete_fields if field.name != "last_run_at"]
        print(model._meta.label, *model._base_manager.order_by("pk").values_list(*names), sep="\\n")
"""
"""All values, as Python sees them, without those that the run or the scheduler writes meanwhile."""
REBUILD = """
from ops import tasks
tasks.rebuild_index()
answer = list(Run.objects.order_by("requested_at").values_list("kind", "status"))
"""


@pytest.fixture
def database(schema: str) -> Iterator[Database]:
    name = support.new_name()
    yield support.create(name, schema)
    support.drop(name)


@contextlib.contextmanager
def schedules_started(database: Database) -> Iterator[None]:
    """Write what the scheduler writes, all the time."""
    ended = threading.Event()

    def write() -> None:
        with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
            while not ended.wait(0.05):
                cursor.execute("UPDATE django_celery_beat_periodictask SET last_run_at = now()")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()


class Browser:
    """Signed in with a session that has begun elsewhere."""

    def __init__(self, address: str, session: str) -> None:
        self.address, self.jar = address, CookieJar()
        self.opener: OpenerDirector = build_opener(HTTPCookieProcessor(self.jar))
        self.session = session

    def get(self, path: str) -> str:
        return self.opener.open(Request(self.address + path, headers=self.cookies())).read().decode()

    def post(self, path: str) -> tuple[str, bytes]:
        """The path to which the answer leads, and its content."""
        token = next(cookie.value for cookie in self.jar if cookie.name == "csrftoken")
        form = urlencode({"csrfmiddlewaretoken": token}).encode()
        with self.opener.open(Request(self.address + path, data=form, headers=self.cookies())) as answer:
            return answer.url.removeprefix(self.address), answer.read()

    def cookies(self) -> dict[str, str]:
        others = "".join(f"; {cookie.name}={cookie.value}" for cookie in self.jar if cookie.name != "sessionid")
        return {"Cookie": f"sessionid={self.session}{others}"}

    def may_write(self) -> bool:
        """Whether a request that writes reaches its view, for which there is no such backup."""
        try:
            self.post(f"/admin/ops/backup/{uuid.uuid4()}/pin/")
        except HTTPError as error:
            with error:
                return {404: True, 503: False}[error.code]
        raise AssertionError("There is such a backup.")

    def wait_for_run(self, page: str) -> tuple[str, set[bool]]:
        """Poll as the page of the run does. Returns its outcome, and whether users could write meanwhile."""
        could_write = set()
        match = re.search(r'data-status-url="([^"]+)"', self.get(page))
        assert match
        deadline = time.monotonic() + 60
        while "data-finished" not in (status := self.get(match[1])):
            assert time.monotonic() < deadline, status
            could_write.add(self.may_write())
            time.sleep(0.1)
        outcome = re.search(r'data-outcome="(\w+)"', status)
        assert outcome
        return outcome[1] if outcome[1] == "succeeded" else status, could_write


def values(folder: Path, url: str) -> list[str]:
    done = manage(folder, "shell", "--no-imports", "--command", VALUES, DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_file_is_made_and_downloaded_while_the_site_runs(database: Database, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": database.url, "BACKUP_DIR": str(tmp_path / "backups")}
    prepared = manage(tmp_path, "shell", "--no-imports", "--command", PREPARE, **settings)
    assert prepared.returncode == 0, prepared.stderr
    session = prepared.stdout.partition("session: ")[2].strip()
    with served(tmp_path, **settings) as (_, port), schedules_started(database):
        browser = Browser(f"http://127.0.0.1:{port}", session)
        assert "Make the SQLite file" in browser.get(PAGE)
        run, _ = browser.post(f"{PAGE.replace('migrate-to-sqlite', 'make-sqlite-file')}")
        outcome, could_write = browser.wait_for_run(run)
        assert outcome == "succeeded"
        assert False in could_write
        assert browser.may_write()
        link = re.search(r'action="([^"]+/sqlite-file/)"', browser.get(run))
        assert link
        _, content = browser.post(link[1])
    file = tmp_path / "homerack.db"
    file.write_bytes(content)
    here, there = values(tmp_path, f"sqlite:///{file}"), values(tmp_path, database.url)
    assert here[0] == "True"
    assert len(here) > 500
    assert here == there
    # The run that has made the file was running then. The events next to the backups tell a worker how it ended.
    rebuilt = shell(tmp_path, REBUILD, **{**settings, "DATABASE_URL": f"sqlite:///{file}"})
    assert rebuilt == [["migration_to_sqlite", "succeeded"], ["sqlite_download", "succeeded"]]
    assert database.rows("SELECT kind, requested_by FROM ops_run ORDER BY requested_at") == [
        ("migration_to_sqlite", "ada@example.com"),
        ("sqlite_download", "ada@example.com"),
    ]


QUEUE = """
from django.contrib.auth import get_user_model
from ops import tasks
from ops.runs import executor
get_user_model().objects.get_or_create(email="ada@example.com", is_staff=True, is_superuser=True)
run, _ = executor.queue(Run(kind="migration_to_sqlite", requested_by="ada@example.com", origin="admin"))
tasks.enqueue(run.pk)
answer = 0
"""
RECONCILE = """
from ops import tasks
tasks.reconcile()
answer = list(Run.objects.order_by("requested_at").values_list("status", flat=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["preflight", "copy", "verify", "cut-over"])
def test_killed_worker_leaves_the_earlier_file_only(
    database: Database, tmp_path: Path, redis_url: str, stage: str
) -> None:
    settings = {"DATABASE_URL": database.url, "BACKUP_DIR": str(tmp_path / "backups"), "REDIS_URL": redis_url}
    earlier = tmp_path / "backups/sqlite/lab_20261130_160000_3fa2.sqlite3"
    earlier.parent.mkdir(parents=True)
    earlier.touch()
    with running(tmp_path, "worker", *WORKER, STOP_AT=stage, **settings) as worker:
        shell(tmp_path, QUEUE, **settings)
        wait_for(lambda: any(map(is_stopped, worker.descendants())), worker)
        assert len(list(earlier.parent.iterdir())) == 2
        kill(worker)
    assert shell(tmp_path, RECONCILE, **settings) == ["interrupted"]
    assert list(earlier.parent.iterdir()) == [earlier]
    # Another attempt succeeds.
    with running(tmp_path, "worker", *WORKER, **settings) as worker:
        shell(tmp_path, QUEUE, **settings)
        query = "SELECT status FROM ops_run ORDER BY requested_at DESC LIMIT 1"
        wait_for(lambda: database.value(query) == "succeeded", worker)
    (made,) = earlier.parent.iterdir()
    assert made != earlier
