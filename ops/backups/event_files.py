"""The history next to the backups: one file for each event of a run."""

import datetime as dt
import logging
import re
from collections.abc import Mapping
from typing import Any

from ops.backups.storage.atomic_files import AtomicFiles, json_bytes, sentence
from ops.errors import ArtifactInvalid, OpsError

logger = logging.getLogger(__name__)

EVENTS = "events"
REPORTS = "reports"
"""The folder of the reports of restore tests."""
MAX_EVENT = 16 * 2**20
"""Bytes. A log is most of it."""
EVENT = re.compile(r"\d{8}_\d{6}_\d{6}_[0-9A-Za-z-]+_[a-z]+\.json", re.ASCII)
SUFFIX = ".json"


class EventFiles:
    """The events in a storage. `ops.runs.event_log` knows what they mean."""

    files: AtomicFiles

    def add_event(self, event: Mapping[str, Any]) -> str:
        """Store `event`, a mapping of JSON values, for good. Returns the name of its file.

        It needs ``when`` (an ISO 8601 time), ``run`` (the run's id) and ``event`` (a word such as ``started``).
        """
        when = dt.datetime.fromisoformat(event["when"]).astimezone(dt.UTC)
        name = f"{when:%Y%m%d_%H%M%S_%f}_{event['run']}_{event['event']}{SUFFIX}"
        if not EVENT.fullmatch(name):
            raise ValueError(f"An event cannot be named {name!r}.")
        self.files.create(f"{EVENTS}/{name}", iter([json_bytes(event)]))
        return name

    def events(self, run: str = "") -> list[dict[str, Any]]:
        """The history in its order, of one `run` or of all. Files that cannot be read are logged and skipped."""
        return self.read_events([name for name in self.event_names() if not run or run_and_event(name)[0] == run])

    def unended_events(self) -> list[dict[str, Any]]:
        """Events of the runs that have none called ``ended``, or one called ``left`` and none called ``swept``.

        The others, of which there may be many, are not read.
        """
        names = self.event_names()
        runs: dict[str, set[str]] = {word: set() for word in ("ended", "left", "swept")}
        for run, event in map(run_and_event, names):
            runs.setdefault(event, set()).add(run)
        closed = runs["ended"] - (runs["left"] - runs["swept"])
        return self.read_events([name for name in names if run_and_event(name)[0] not in closed])

    def event_names(self) -> list[str]:
        # Without their sizes: of a long history, a look at each file takes ten times as long as the names do.
        return sorted(filter(EVENT.fullmatch, self.files.storage.listdir(EVENTS)[1]))

    def report_names(self) -> list[str]:
        """The reports of restore tests, without unfinished files."""
        return sorted(name for name in self.files.names(REPORTS) if name.endswith(SUFFIX))

    def read_events(self, names: list[str]) -> list[dict[str, Any]]:
        events = []
        for name in names:
            try:
                event = self.files.document(f"{EVENTS}/{name}", largest=MAX_EVENT)
                if [event.get("run"), event.get("event")] != run_and_event(name):
                    raise ArtifactInvalid("Its name is that of another event.")
                events.append(event)
            except (OpsError, FileNotFoundError) as error:
                logger.warning("%s/%s cannot be read. %s", EVENTS, name, sentence(error))
        return events


def run_and_event(name: str) -> list[str]:
    """The id of the run and the word for what happened, from the name of an event's file."""
    return name.removesuffix(SUFFIX).split("_")[3:]
