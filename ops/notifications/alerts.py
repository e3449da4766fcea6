"""Telling people: when something breaks, when it is well again, and a sign of life to a dead-man's switch.

A notice is sent for a change, not for a state. What has been told is kept beside the backups, in ``alerts.json``,
where no restore rolls it back. What can not be sent is logged and harms nothing.
"""

import datetime as dt
import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.core.files.storage import InvalidStorageError, storages
from django.db import Error
from django.utils import timezone
from django.utils.module_loading import import_string
from msgspec import Struct

from ops.backups.storage.atomic_files import AtomicFiles, json_bytes
from ops.conf import conf
from ops.errors import OpsError
from ops.health.backups import check_backups
from ops.models import Backup, Run
from ops.notifications.channels import Answer, Message, ping_heartbeat, send_to_all
from ops.schedules import timetable
from ops.utils import schema
from ops.utils.formatting import format_age, format_size
from ops.utils.redaction import redact
from ops.utils.schema import Moment, Text

logger = logging.getLogger(__name__)

STATE_FILE = "alerts.json"
LEAST_FREE = 1 << 30
"""Bytes. Less room than that is told, or less than for `BACKUPS_TO_COME`."""
BACKUPS_TO_COME = 3
HYSTERESIS = 1.25
"""The storage is well again with so many times as much room: no to and fro at the border."""


class AlertState(Struct, frozen=True):
    """What is kept of an alert that was sent: since when, and the title of the message that it is over."""

    since: Moment
    relief: Text


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that people should know. `title` and `text` are sentences, `relief` is the title when it is over."""

    title: str
    text: str
    relief: str


def addresses() -> list[str]:
    """Apprise's addresses of those who are told: NOTIFY_URLS."""
    return list(conf.NOTIFY_URLS)


def heartbeat() -> str:
    """The address that misses backups which do not come: HEARTBEAT_URL."""
    return str(conf.HEARTBEAT_URL)


def is_configured() -> bool:
    """Whether anybody is to be told anything."""
    return bool(addresses() or heartbeat())


# --- Runs ---------------------------------------------------------------------------------------------------------


def notify_runs(runs: Iterable[Run]) -> None:
    """Tell what has come of runs that are over. Never raises for the sake of a notice."""
    if not is_configured():
        return
    for run in runs:
        if run.status == Run.Status.CANCELLED:
            continue
        is_well = run.status == Run.Status.SUCCEEDED
        if run.kind == Run.Kind.BACKUP:
            send_heartbeat(success=is_well)
        key = f"run {run.kind}"
        sync_alerts({} if is_well else {key: alert_of_run(run)}, among=key.__eq__)


def alert_of_run(run: Run) -> Alert:
    kind = run.get_kind_display()
    when = timetable.format_due(run.finished_at or run.requested_at)
    said = " ".join(filter(None, (run.error, run.hint)))
    return Alert(
        title=f"The {kind} failed on {socket.gethostname()}.",
        text=redact(f"{said}\nStarted by {run.requested_by} on {run.host or 'an unknown machine'}, ended at {when}."),
        relief=f"The {kind} works again on {socket.gethostname()}.",
    )


def send_heartbeat(*, success: bool) -> None:
    if url := heartbeat():
        log([ping_heartbeat(url, success=success)])


# --- What no run tells ------------------------------------------------------------------------------------------


def check(alias: str = "default") -> None:
    """Look for what runs can not tell: missed schedules, old backups, little room. For a task every few minutes."""
    if not is_configured():
        return
    for look in (check_schedules, check_backup_age, check_disk_space, check_project):
        try:
            look(alias)
        except (Error, OpsError, OSError) as error:
            logger.warning("%s could not be looked for: %s", look.__name__, redact(str(error)))


def check_schedules(alias: str) -> None:
    if timetable.is_installed():
        troubles = {f"schedule {name}": alert_of_schedule(name, due) for name, due in timetable.find_missed(alias)}
        sync_alerts(troubles, among=lambda key: key.startswith("schedule "))


def alert_of_schedule(name: str, due: dt.datetime) -> Alert:
    return Alert(
        title=f"{name!r} was not started on {socket.gethostname()}.",
        text=f"It was due at {timetable.format_due(due)}. Do the worker and Celery's beat run?",
        relief=f"{name!r} is on time again on {socket.gethostname()}.",
    )


def check_backup_age(alias: str) -> None:
    result = check_backups(alias, expected=False)
    trouble = Alert(
        title=f"There is no recent backup on {socket.gethostname()}.",
        text=f"{result.detail} Make one: manage.py backup_database",
        relief=f"There is a recent backup again on {socket.gethostname()}.",
    )
    sync_alerts({"age": trouble} if result.error == "BackupTooOld" else {}, among="age".__eq__)


def check_disk_space(alias: str) -> None:
    """Of storages that know their room; a bucket has no end."""
    storage = files().storage
    free: int | None = storage.free_bytes() if hasattr(storage, "free_bytes") else None
    newest = Backup.objects.using(alias).verified().order_by("-taken_at").values_list("size", flat=True).first()
    wanted = max(LEAST_FREE, BACKUPS_TO_COME * (newest or 0))
    if "storage" in load_state():
        wanted = round(wanted * HYSTERESIS)
    trouble = Alert(
        title=f"The storage of the backups is nearly full on {socket.gethostname()}.",
        text=f"{format_size(free or 0)} are free; {format_size(wanted)} should be."
        " Free some space, or set BACKUP_DIR elsewhere.",
        relief=f"The storage of the backups has room again on {socket.gethostname()}.",
    )
    sync_alerts({"storage": trouble} if free is not None and free < wanted else {}, among="storage".__eq__)


def check_project(alias: str) -> None:
    """What the functions of OPS_ALERT_SOURCES find: each takes an alias, and gives alerts by keys of its own."""
    for path in conf.OPS_ALERT_SOURCES:
        mark = f"{path} "
        found = import_string(path)(alias)
        sync_alerts({mark + key: trouble for key, trouble in found.items()}, among=partial(has_prefix, mark))


def has_prefix(prefix: str, key: str) -> bool:
    return key.startswith(prefix)


# --- Once for a change ------------------------------------------------------------------------------------------


def sync_alerts(troubles: Mapping[str, Alert], *, among: Callable[[str], bool]) -> None:
    """Send what is new about the keys for which `among` holds: those not in `troubles` are well."""
    before = load_state()
    after = dict(before)
    for key, trouble in troubles.items():
        if key not in before and send(Message(title=trouble.title, text=trouble.text)):
            after[key] = {"since": timezone.now().isoformat(), "relief": trouble.relief}
    for key in [key for key in before if among(key) and key not in troubles]:
        if send(resolved_message(before[key])):
            del after[key]
    if after != before:
        save_state(after)


def resolved_message(trouble: Mapping[str, Any]) -> Message:
    since = dt.datetime.fromisoformat(str(trouble["since"]))
    text = f"It was told {format_age(since)}, at {timetable.format_due(since)}."
    return Message(title=str(trouble["relief"]), text=text, is_bad=False)


def send(message: Message) -> bool:
    """Whether somebody took it, or there is nobody to tell."""
    answers = send_to_all(addresses(), message)
    log(answers)
    return not answers or any(answer.accepted for answer in answers)


def log(answers: Iterable[Answer]) -> None:
    for answer in answers:
        if not answer.accepted:
            logger.warning("A notice to %s was not taken: %s", answer.target, answer.said)


def files() -> AtomicFiles:
    """The storage of the backups. Raises OpsError where there is none."""
    try:
        return AtomicFiles(storages["backups"])
    except InvalidStorageError as error:
        raise OpsError(f"Where backups go is not set up: {error}") from error


def load_state() -> dict[str, Any]:
    """What people know of, by its key; empty where that can not be read, since telling twice is better than never."""
    try:
        known = files().document(STATE_FILE)
    except FileNotFoundError:
        return {}
    except (OpsError, OSError) as error:
        logger.warning("What has been told before is not known: %s", redact(str(error)))
        return {}
    return {key: trouble for key, trouble in known.items() if is_alert(trouble)}


def is_alert(value: object) -> bool:
    """Whether it is what `tell` keeps of a trouble: anybody may have written the file."""
    try:
        schema.read_document(value, AlertState, what="An alert")
    except (OpsError, OverflowError):
        return False
    return True


def save_state(known: Mapping[str, Any]) -> None:
    try:
        files().rewrite(STATE_FILE, json_bytes(known))
    except (OpsError, OSError) as error:
        logger.warning("What has been told is not kept: %s", redact(str(error)))


# --- Trying it out ----------------------------------------------------------------------------------------------


def send_test(who: str) -> list[Answer]:
    """Send a message to every address, and a sign of life; nothing is remembered."""
    host = socket.gethostname()
    message = Message(title=f"A test from {host}", text=f"{who} asked for it. All is well.", is_bad=False)
    answers = send_to_all(addresses(), message)
    if url := heartbeat():
        answers.append(ping_heartbeat(url, success=True))
    return answers
