"""How long a restore of PostgreSQL blocks the site, as the command does it by default.

A client requests a page that needs the database all the time, from the site in gunicorn.
"""

import http.client
import threading
import time

import msgspec

from bench.backup import back_up
from bench.lab_file import environment
from bench.results import Results, Sample
from bench.session import Session
from bench.site import Site, serving

RESTORE = "`restore_database` under load"
BLOCKED, SWAP, SILENCE = "writes blocked", "swap", "longest time without a response"


def run(session: Session, results: Results) -> None:
    directory = str(session.folder / "blocked")
    with session.database() as database:
        url = session.server.url(database)
        back_up(session, url, BACKUP_DIR=directory)
        with serving(environment(url) | {"BACKUP_DIR": directory}) as site:
            session.compare(results, {RESTORE: lambda: restore_under_load(session, site, url, directory)})
    results.value("restore: writes blocked", RESTORE, lambda sample: sample.parts[BLOCKED], unit="s", at_most=1)


def restore_under_load(session: Session, site: Site, url: str, directory: str) -> Sample:
    client = Client(site)
    client.start()
    try:
        sample, document = session.operate(url, "restore_database", "--latest", "--yes", BACKUP_DIR=directory)
    finally:
        client.stopped.set()
        client.join()
    parts = {BLOCKED: document["writes_blocked"], SWAP: document["cut_over"], SILENCE: round(client.longest, 3)}
    return msgspec.structs.replace(sample, parts=parts)


class Client(threading.Thread):
    """Requests a page in a loop. `longest` is the longest time without a response."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site, self.stopped, self.longest = site, threading.Event(), 0.0

    def run(self) -> None:
        last, client = time.monotonic(), self.site.connect()
        while not self.stopped.is_set():
            try:
                status = self.site.get("/one-query/", client)
            except (OSError, http.client.HTTPException):
                client.close()  # a new one is opened by the next request
                continue
            now = time.monotonic()
            if status == 200:
                self.longest, last = max(self.longest, now - last), now
