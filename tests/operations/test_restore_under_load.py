"""A busy site under gunicorn during a restore: reads work, and writes get 503."""

import http.client
import itertools
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.operations.harness import Lab, postgresql_first
from tests.support.web import Browser, WebServer, send_request

COOKIE = {"Cookie": "sessionid=abcdefghijklmnopqrstuvwxyz012345"}
"""A session that does not exist: it is looked up in the database, and leads to the sign-in page."""
PAUSE = 5.0
"""Seconds in which a cut-over ends on a busy machine; on an idle one it takes a fraction of one.

It takes longer if PostgreSQL waits for a session that was opened meanwhile, and those who connect then time out.
"""
PEOPLE = """
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("writer@example.org", password="a long enough one")
"""


@pytest.fixture
def web(lab: Lab) -> Iterator[WebServer]:
    web = WebServer.start("--workers", "2", **(lab.environment | {"DEBUG": "true"}))
    yield web
    web.stop()


@dataclass
class Reader(threading.Thread):
    """Asks all the time, and remembers when it was refused."""

    port: int
    over: threading.Event
    asked: int = 0
    failures: list[tuple[float, object]] = field(default_factory=list)
    longest: float = 0.0
    refused_for: float = 0.0
    """Seconds of the longest series of failures: a restore and its undo each have a cut-over."""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        served = time.monotonic()
        while not self.over.is_set():
            began = time.monotonic()
            try:
                status = send_request(self.port, "GET", "/admin/", headers=COOKIE)[0]
            except (OSError, http.client.HTTPException) as error:
                status = repr(error)
            self.asked += 1
            self.longest = max(self.longest, time.monotonic() - began)
            if status == 302:
                served = time.monotonic()
            else:
                self.failures.append((began, status))
                self.refused_for = max(self.refused_for, time.monotonic() - served)
            time.sleep(0.1)


class Writer(Browser):
    """A signed-in user who adds racks."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.accepted: list[str] = []
        self.held_back: list[http.client.HTTPMessage] = []
        self.sign_in("writer@example.org", "a long enough one")

    def add(self, name: str) -> bool:
        """Whether the site says that it has added the brand."""
        status, headers, text = self.post("/admin/inventory/brand/add/", name=name, slug=name)
        if status == 503:
            self.held_back.append(headers)
        if status == 302 and re.search(r"/admin/inventory/brand/$", headers["Location"]):
            self.accepted.append(name)
            return True
        assert status in {302, 503, 500}, (status, text[-2000:])
        return False


@pytest.mark.slow
@postgresql_first
def test_reads_during_a_restore_succeed(lab: Lab, web: WebServer, capsys: pytest.CaptureFixture[str]) -> None:
    name = lab.back_up()
    over = threading.Event()
    readers = [Reader(web.port, over) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        time.sleep(0.5)
        restored = lab.run_json("restore_database", name, "--yes")
        undone = lab.run_json("undo_restore", "--yes")
        time.sleep(0.5)
    finally:
        over.set()
    for reader in readers:
        reader.join(60)
    failures = [failure for reader in readers for failure in reader.failures]
    with capsys.disabled():
        print(  # noqa: T201  # the numbers are worth a look
            f"\n{lab.kind}: {sum(reader.asked for reader in readers)} reads, {len(failures)} failed within"
            f" {max(reader.refused_for for reader in readers):.2f} s, the longest took"
            f" {max(reader.longest for reader in readers):.2f} s; cut-over {restored['cut_over']} s and"
            f" {undone['cut_over']} s, writes blocked {restored['writes_blocked']} s"
        )
    assert sum(reader.asked for reader in readers) > 20
    assert max(restored["cut_over"], undone["cut_over"]) < PAUSE
    assert max(reader.refused_for for reader in readers) < PAUSE
    assert len(failures) <= 6, (failures, web.log.read_text()[-3000:])
    # The pools of all workers have recovered by themselves.
    for _ in range(20):
        assert send_request(web.port, "GET", "/admin/", headers=COOKIE)[0] == 302
    assert web.get("/health/ready/").status == 200


@postgresql_first
def test_writes_during_a_restore_are_in_the_previous_database_or_get_503(lab: Lab, web: WebServer) -> None:
    lab.run("shell", "-c", PEOPLE)
    name = lab.back_up()
    writer = Writer(web.port)
    numbers = itertools.count()
    assert writer.add("before")
    restore = lab.start("restore_database", name, "--yes", stop_at="load,write history").until_stopped()
    assert writer.add("while-it-is-loaded")
    restore.resume()
    while not restore.is_stopped():
        writer.add(f"number-{next(numbers)}")
        time.sleep(0.05)

    writer.held_back.clear()
    assert not writer.add("too-late")
    (headers,) = writer.held_back
    assert headers["Retry-After"] == "10"
    status, _, text = writer.post("/admin/inventory/brand/add/", name="too-late")
    assert (status, f"A backup is being restored ({name})." in text) == (503, True)
    assert send_request(web.port, "GET", "/admin/", headers=COOKIE)[0] == 302
    restore.resume()
    while not restore_is_over(restore.pid):
        writer.add(f"number-{next(numbers)}")
        time.sleep(0.05)
    outcome = restore.wait()
    assert outcome.code == 0, outcome

    assert not writer.add("with-a-session-that-has-ended")
    assert lab.value("SELECT count(*) FROM brands WHERE name = 'before'") == 0
    assert Writer(web.port).add("welcome-again")
    lab.run("undo_restore", "--yes")
    kept = {brand for (brand,) in lab.rows("SELECT name FROM brands")}
    assert set(writer.accepted) <= kept, set(writer.accepted) - kept
    assert not kept & {"too-late", "welcome-again"}


def restore_is_over(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
