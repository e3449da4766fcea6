"""A frozen worker, a dead one, a dead Redis and a frozen database: what the page of a run says, and how it goes on."""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import redis
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, open_site
from tests.celery.support import command_of, is_stopped, running
from tests.support.backend import eventually
from tests.support.forked import ROOT
from tests.support.postgres import PostgresServer, children_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LIST = "/admin/ops/backup/"
PROMISED = 2.5
"""Seconds in which the health page answers, on a busy machine."""
SECONDS = 1000
"""In milliseconds."""
FREEZES_ITSELF = """
import os, signal, time
from ops import operations
from ops.models import Run
from ops.runs.context import get_context
signals = [signal.SIGSTOP]
def freeze(_progress):
    if signals:
        time.sleep(0.25)
        os.kill(os.getpid(), signals.pop())
operations.back_up(get_context(), Run(kind="backup", requested_by="grace@lab"), freeze)
"""
"""A backup whose process freezes at its first stage, after its row was written: not in a transaction of SQLite."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outages")


@pytest.fixture(scope="module")
def site(browser: Browser, migrated: Path, folder: Path) -> Iterator[Site]:
    with open_site("sqlite", folder, browser, migrated, supervised=True) as site:
        yield site


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    with site.page() as page:
        site.sign_in(page)
        yield page


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this test's own, to freeze."""
    server = PostgresServer.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def postgres_site(
    browser: Browser, migrated: Path, server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("frozen-database")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", server.url("postgres"))
        with open_site("postgresql", folder, browser, migrated, supervised=True) as site:
            yield site


# --- Processes ------------------------------------------------------------------------------------------------------
def serve_of(site: Site) -> int:
    """The process of ``manage.py serve``, which its lock file names."""
    labels = (path.read_text() for path in (ROOT / ".run").glob("*/lock"))
    return int(next(label for label in labels if f"{site.address}/" in label).rpartition(" ")[2])


def service(site: Site, word: str) -> int:
    return next(pid for pid in children_of(serve_of(site)) if word in command_of(pid))


def freeze(pid: int) -> None:
    """The process and its group, as for a machine that sleeps."""
    os.killpg(pid, signal.SIGSTOP)
    eventually(lambda: is_stopped(pid))


@contextlib.contextmanager
def frozen(*pids: int) -> Iterator[None]:
    for pid in pids:
        freeze(pid)
    try:
        yield
    finally:
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)


def waiting_clients(pid: int) -> int:
    """How many clients of the embedded Redis have asked for a message. They ask for a second at a time."""
    title = re.search(r"unixsocket:([^\s\0]+)", command_of(pid))
    assert title
    with redis.Redis(unix_socket_path=title[1]) as client:
        return int(client.info("clients")["blocked_clients"])


@contextlib.contextmanager
def without_supervisor(site: Site) -> Iterator[None]:
    """``manage.py serve`` does not start again what ends in the block. Its group is that of the tests."""
    pid = serve_of(site)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# --- Pages ----------------------------------------------------------------------------------------------------------
def back_up(page: Page) -> str:
    """Click, and return the address of the page to which that leads."""
    page.goto(LIST)
    page.get_by_role("button", name="Back up now").click()
    page.wait_for_load_state()
    return page.url


def waits(page: Page, reason: str, text: str) -> None:
    """The page, which updates itself, says within seconds why the run waits."""
    shown = page.locator(f"[data-waiting={reason}]")
    expect(shown).to_contain_text(re.compile(text), timeout=15 * SECONDS)


def succeeds(page: Page) -> None:
    """Without reloading, and with a link to the backup."""
    expect(page.locator(".ops-run")).to_have_attribute("data-outcome", "succeeded", timeout=60 * SECONDS)
    expect(page.get_by_role("link", name=re.compile(r"^homerack_.*\.gz$"))).to_be_visible()


def test_backup_waits_for_a_frozen_worker_and_is_not_queued_twice(site: Site, page: Page) -> None:
    with frozen(service(site, "worker")):
        address = back_up(page)
        waits(page, "silent-worker", r"The worker has not answered since [\d :-]+: it is frozen or overloaded\.")
        expect(page.get_by_role("button", name="Copy celery -A homerack.celery.app worker")).to_be_visible()
        assert back_up(page) == address
        expect(page.get_by_text("Already queued by ada@example.com: backup. Nothing else was queued.")).to_be_visible()
        waits(page, "silent-worker", "The worker has not answered since")
        assert ask(f"{site.address}/health/")[0]["checks"]["worker"] == {"status": "degraded", "error": "NoWorker"}
    succeeds(page)


def test_backup_waits_for_a_worker_that_was_killed(site: Site, page: Page) -> None:
    with without_supervisor(site):
        os.killpg(service(site, "worker"), signal.SIGKILL)
        back_up(page)
        waits(page, "no-worker", r"No worker is running: none has been connected to Redis since [\d :-]+\.")
    succeeds(page)


def test_backup_that_a_dead_redis_has_lost_is_sent_again(site: Site, page: Page) -> None:
    worker, redis_process = service(site, "worker"), service(site, "unixsocket")
    with frozen(worker), without_supervisor(site):
        # Redis would send the message to a worker that has asked for one before it froze.
        eventually(lambda: waiting_clients(redis_process) == 0)
        address = back_up(page)
        waits(page, "silent-worker", "The worker has not answered since")
        os.kill(redis_process, signal.SIGKILL)
        waits(page, "redis", r"Redis has not answered since [\d :-]+, so no worker gets this run\.")
        with site.page() as other:
            site.sign_in(other)
            assert back_up(other) == f"{site.address}{LIST}"
            expect(other.get_by_text("Cannot start: Redis does not answer. Nothing was queued.")).to_be_visible()
    expect(page.locator("[data-waiting=lost]")).to_contain_text("Redis may have lost it", timeout=60 * SECONDS)
    assert back_up(page) == address
    succeeds(page)


def test_run_that_is_frozen_keeps_others_waiting_and_goes_on(site: Site, page: Page, folder: Path) -> None:
    back_up(page)
    succeeds(page)
    settings = {"BACKUP_DIR": f"{folder}/backups", "DJANGO_SETTINGS_MODULE": "homerack.settings"}
    settings["BACKUP_SIGNING_KEY"] = "signs-the-backups-of-this-site-" * 2
    command = ("manage.py", "shell", "--no-imports", "--command", FREEZES_ITSELF)
    with running(folder, "frozen", *command, **settings) as frozen_run:
        pid = frozen_run.process.pid
        try:
            eventually(lambda: is_stopped(pid), within=30)
            back_up(page)
            expect(page.get_by_text("Already running: backup by grace@lab since")).to_be_visible()
            address = page.url
            page.goto(LIST)
            page.get_by_role("button", name=re.compile("^Verify: ")).first.click()
            waits(page, "other-run", r"It waits for the end of another run: backup by grace@lab since [\d :-]+\.")
            with site.page() as other:
                site.sign_in(other)
                other.goto(address)
                silent = other.locator("[data-silent]")
                expect(silent).to_contain_text(re.compile(r"has not reported since [\d :-]+"), timeout=60 * SECONDS)
                other.goto("/admin/ops/run/")
                expect(other.get_by_text("It has not reported since")).to_be_visible()
            waits(page, "other-run", "It has not reported since")
        finally:
            os.kill(pid, signal.SIGCONT)
        frozen_run.process.wait(timeout=60)
    succeeds(page)
    page.goto(address)
    succeeds(page)


def test_page_of_a_run_says_that_the_database_is_frozen_and_goes_on(
    postgres_site: Site, server: PostgresServer
) -> None:
    site = postgres_site
    with site.page(allowed=["status 503", "status of 503"]) as page:
        site.sign_in(page)
        with frozen(service(site, "worker")):
            back_up(page)
            waits(page, "silent-worker", "The worker has not answered since")
            server.freeze()
            try:
                silent = page.get_by_text("The database does not answer: it is frozen or stopped")
                expect(silent).to_be_visible(timeout=15 * SECONDS)
                health, seconds = ask(f"{site.address}/health/")
                assert health["checks"]["database"] == {"status": "unhealthy", "error": "TimeoutError"}
                assert seconds < PROMISED
                address = page.locator("[data-status-url]").get_attribute("data-status-url")
                with pytest.raises(HTTPError, match="503"):
                    ask(f"{site.address}{address}")
                assert ask(f"{site.address}/health/live/")[0] == {"status": "healthy"}
            finally:
                server.thaw()
            expect(silent).to_be_hidden(timeout=15 * SECONDS)
        succeeds(page)


def ask(url: str) -> tuple[Any, float]:
    """The JSON of a page, and the seconds that it took. A status of 503 of the health page is an answer."""
    start = time.monotonic()
    try:
        with urlopen(url, timeout=30) as answer:
            text = answer.read()
    except HTTPError as error:
        if "/health/" not in url:
            raise
        with error:
            text = error.read()
    return json.loads(text), time.monotonic() - start
