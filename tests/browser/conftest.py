"""HomeRack with a worker and beat, on either database, and a real browser."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from homerack.serve import services
from tests.browser.faults import Faults
from tests.celery.support import Running, manage, running, served, wait_for
from tests.support.postgres import free_port
from tests.support.redis import RedisServer
from tests.support.shared import made_once
from tests.support.web import SESSION_KEY

PASSWORD = "a-password-of-the-tests"
USERS = f"""
from django.contrib.auth.models import Group
from homerack.accounts.models import User
User.objects.create_superuser("ada@example.com", "{PASSWORD}")
vera = User.objects.create_user("vera@example.com", "{PASSWORD}", is_staff=True)
vera.groups.set(Group.objects.filter(name__in=["Viewers", "Backup viewers"]))
"""
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Site:
    """HomeRack at `address` with the database `database`.

    `shell` runs Python on it, and returns what that prints.
    """

    address: str
    database: str
    browser: Browser
    shell: Callable[[str], str]

    @contextlib.contextmanager
    def page(
        self, *, width: int = 1440, height: int = 900, scheme: str = "light", allowed: Iterable[str] = ()
    ) -> Iterator[Page]:
        """A page of a new browser context, signed out.

        The browser may report no fault on it, and on pages that it opens, but those that match patterns of `allowed`.
        """
        context = self.browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            base_url=self.address,
        )
        faults = Faults(allowed)
        faults.watch(context)
        try:
            yield context.new_page()
        finally:
            context.close()
        assert not faults.found, "\n".join(faults.found)

    def sign_in(self, page: Page, email: str = "ada@example.com", path: str = "/admin/ops/backup/") -> None:
        """Open a page with a session that has begun elsewhere, which is cheaper than with a password."""
        session = self.shell(SESSION_KEY.format(email)).strip()
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": self.address}])
        page.goto(path)

    def sign_in_with_password(self, page: Page, email: str = "ada@example.com") -> None:
        page.goto("/admin/login/?next=/admin/ops/backup/")
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/admin/ops/backup/")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if not program:
        pytest.skip("No Chromium was found. Install one (apt-get install chromium), or name it: CHROMIUM=/path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def migrated(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``homerack.db``, just migrated, and ``users.db`` and ``lab.db``, which sites begin with."""

    def fill(folder: Path) -> None:
        shutil.copy(migrated / "homerack.db", folder)
        # Those of the tests hash passwords as no site does.
        run(folder, "shell", "--no-imports", "--command", USERS, DJANGO_SETTINGS_MODULE="homerack.settings")
        shutil.copy(folder / "homerack.db", folder / "users.db")
        run(folder, "load_demo")
        (folder / "homerack.db").rename(folder / "lab.db")
        shutil.copy(migrated / "homerack.db", folder)

    return made_once(tmp_path_factory, "sites", fill)


def run(folder: Path, *command: str, **changes: str) -> str:
    """What a command of ``manage.py``, which must succeed, prints."""
    done = manage(folder, *command, **changes)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def site(
    request: pytest.FixtureRequest, browser: Browser, migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with open_site(request.param, tmp_path_factory.mktemp(request.param), browser, migrated) as site:
        yield site


@contextlib.contextmanager
def open_site(
    kind: str,
    folder: Path,
    browser: Browser,
    migrated: Path,
    *,
    has_lab: bool = True,
    supervised: bool = False,
    **settings: str,
) -> Iterator[Site]:
    """HomeRack in `folder`, with the demo lab, an administrator called Ada and a viewer called Vera.

    Its services are those of ``manage.py serve`` without DEBUG. Only `supervised` ones are started by that command, in
    DEBUG, which takes eight seconds of a processor.
    """
    own = {"BACKUP_DIR": str(folder / "backups"), "DJANGO_SETTINGS_MODULE": "homerack.settings"}
    own["BACKUP_SIGNING_KEY"] = "signs-the-backups-of-this-site-" * 2
    if not supervised:
        own |= {"DEBUG": "false", "DJANGO_SETTINGS_MODULE": "tests.browser.production_settings"}
    changes = own | settings
    name = "homerack"
    with contextlib.ExitStack() as stack:
        if kind == "postgresql":
            name, changes["DATABASE_URL"] = stack.enter_context(database_on_the_server())
            run(folder, "migrate", **changes)
            run(folder, "shell", "--no-imports", "--command", USERS, **changes)
            if has_lab:
                run(folder, "load_demo", **changes)
        else:
            shutil.copy(migrated / ("lab.db" if has_lab else "users.db"), folder / "homerack.db")
        serving = served(folder, **changes) if supervised else served_by_forks(folder, **changes)
        _, port = stack.enter_context(serving)

        def shell(code: str) -> str:
            return run(folder, "shell", "--no-imports", "--command", code, **changes)

        yield Site(f"http://127.0.0.1:{port}", name, browser, shell)


@contextlib.contextmanager
def served_by_forks(folder: Path, **changes: str) -> Iterator[tuple[Running, int]]:
    """The services of ``manage.py serve`` as forks of a process that has started; the site, and its port."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        redis = RedisServer.start()
        stack.callback(redis.stop)
        changes["REDIS_URL"] = redis.url()
        for service in (services.worker(), services.beat(), services.web(host="127.0.0.1", port=port, reloads=False)):
            options = ("--no-control-socket", "--graceful-timeout", "1") if service.name == "web" else ()
            arguments = service.command[len(services.PYTHON) :]
            web = stack.enter_context(running(folder, f"{service.name}-{port}", *arguments, *options, **changes))
        wait_for(service.is_ready, web)
        yield web, port


@contextlib.contextmanager
def database_on_the_server() -> Iterator[tuple[str, str]]:
    """A new database of an ordinary role, and its URL. Dropped afterwards, with the databases that restores made."""
    name, password = f"browser_{os.getpid()}", secrets.token_hex(8)
    server = os.environ["DATABASE_URL"].rpartition("/")[0] + "/postgres"
    with contextlib.closing(psycopg2.connect(server)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{password}'")
        cursor.execute(f"CREATE DATABASE {name} OWNER {name}")
        yield name, f"postgres://{name}:{password}@{server.rpartition('@')[2].rpartition('/')[0]}/{name}"
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{name}%"])
        for (found,) in cursor.fetchall():
            cursor.execute(f"ALTER DATABASE {found} ALLOW_CONNECTIONS true")
            cursor.execute(f"DROP DATABASE {found} WITH (FORCE)")
        cursor.execute(f"DROP ROLE {name}")
