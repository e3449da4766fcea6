"""What alerts there are: of runs that have ended, and of conditions without a run; and the heartbeat pings."""

import datetime as dt
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from django.db import Error, connections
from django.utils.module_loading import import_string

from ops import stored_settings
from ops.backups.locations.coverage import GRACE, KnownLocation, describe_failure, describe_shortfall
from ops.backups.manifest import Manifest
from ops.backups.recovery_kit import Concern
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.backups.suspicion import Suspicion, Verdict
from ops.conf import conf
from ops.databases.postgres.differences import NotKept
from ops.errors import OpsError
from ops.health.backups import check_backups, describe_backup_due, find_backup_due, max_age
from ops.health.copies import COPY_THEM, read_coverage, read_locations
from ops.health.dependencies import LEAST_FREE
from ops.health.recovery import read_concerns
from ops.health.settings import check_settings
from ops.models import Backup, Run
from ops.notifications.channels import Delivery, Message, ping_heartbeat, send_to_all
from ops.notifications.sent_alerts import Alert, load_state, log, sync_alerts
from ops.schedules import timetable
from ops.utils import clock, schema
from ops.utils.formatting import format_datetime, format_size, pluralize
from ops.utils.redaction import redact

logger = logging.getLogger(__name__)

BACKUPS_TO_COME = 3
"""There is an alert below the space for so many more backups, and below `LEAST_FREE`."""
NAMED_NOT_KEPT = 10
KEY_TITLES = {
    "NoKnownKey": ("No known key opens some encrypted backups", "Known keys open all encrypted backups again"),
    "NoRecoveryKit": ("There is no recovery kit", "There is a recovery kit"),
    "OldSigningKey": ("A recovery kit has an earlier signing key", "All recovery kits have the signing key"),
    "ProofDue": ("A proof of a recovery kit is due", "All recovery kits are proven"),
    "UnusableKeys": ("The keys of backups cannot be used", "The keys of backups can be used again"),
}
"""Titles of a concern about keys, and of its end, by its code."""
JUDGING = frozenset(
    {Run.Kind.BACKUP, Run.Kind.RESTORE, Run.Kind.UNDO, Run.Kind.DROP_PREVIOUS, Run.Kind.DECISION, Run.Kind.DELETION}
)
"""Runs after which another backup may be suspicious, or none, or a pre-restore backup due or made."""
HYSTERESIS = 1.25
"""The alert is resolved with so many times as much free space, so that it does not flap around the limit."""


def is_configured() -> bool:
    """Whether there is a target for notifications or for heartbeat pings."""
    return bool(stored_settings.notify_urls() or stored_settings.heartbeat_url())


# --- Runs ---------------------------------------------------------------------------------------------------------


def notify_runs(runs: Iterable[Run]) -> None:
    """Send what is new about runs that have ended. Never raises because a notification cannot be sent."""
    if not is_configured():
        return
    for run in runs:
        if run.status == Run.Status.CANCELLED:
            continue
        succeeded = run.status == Run.Status.SUCCEEDED
        if is_location_failure(run):
            continue  # `check_copies` reports it if it lasts
        if run.kind == Run.Kind.BACKUP:
            send_heartbeat(success=succeeded)
        key = f"run {run.kind}"
        sync_alerts({} if succeeded else {key: alert_of_run(run)}, in_scope=key.__eq__)
        if succeeded:
            key = f"not kept {run.kind}"
            sync_alerts({key: alert_of_not_kept(run, left)} if (left := not_kept_by(run)) else {}, in_scope=key.__eq__)
        if run.kind in JUDGING:
            close_if_ended("default")
            attempt(check_suspicion, "default")
            attempt(check_backup_due, "default")


def close_if_ended(alias: str) -> None:
    """Close the connection of this thread if it was to a database that a restore has replaced."""
    connection = connections[alias]
    if connection.connection is not None and not connection.in_atomic_block and not connection.is_usable():
        connection.close()


def is_location_failure(run: Run) -> bool:
    """Whether a run failed only because storage locations cannot be used now, as when a disk is not mounted."""
    if run.kind != Run.Kind.COPY or run.status != Run.Status.FAILED:
        return False
    errors = {name for name, location in run.result.get("locations", {}).items() if location["error"]}
    return bool(errors) and errors <= {location.name for location in read_locations() if location.state.error}


def alert_of_run(run: Run) -> Alert:
    kind = run.get_kind_display()
    when = format_datetime(run.finished_at or run.requested_at)
    reason = " ".join(filter(None, (run.error, run.hint)))
    return Alert(
        title=f"The {kind} failed on {socket.gethostname()}.",
        text=redact(f"{reason}\nStarted by {run.requested_by} on {run.host or 'an unknown machine'}, ended at {when}."),
        resolved_title=f"The {kind} succeeded again on {socket.gethostname()}.",
    )


def not_kept_by(run: Run) -> list[NotKept]:
    """What a restore, or a restore test, could not keep of the live database's properties."""
    results = [run.result, *run.result.get("verifications", {}).values()]
    return [
        left
        for result in results
        for left in schema.read_document(result.get("not_kept", []), list[NotKept], what="The result of a run")
    ]


def alert_of_not_kept(run: Run, not_kept: Sequence[NotKept]) -> Alert:
    kind = run.get_kind_display()
    named = [str(left) for left in not_kept[:NAMED_NOT_KEPT]]
    more = [f"And {len(not_kept) - len(named)} more, in the log of the run."] if len(not_kept) > len(named) else []
    return Alert(
        title=f"The {kind} could not keep {pluralize(len(not_kept), 'property', 'properties')} of the database"
        f" on {socket.gethostname()}.",
        text=redact("\n".join([*named, *more])),
        resolved_title=f"The {kind} keeps all properties of the database again on {socket.gethostname()}.",
    )


def send_heartbeat(*, success: bool) -> None:
    url = stored_settings.heartbeat_url()
    if url:
        log([ping_heartbeat(url, success=success)])


# --- Conditions without a run ---------------------------------------------------------------------------------------


def check(alias: str = "default") -> None:
    """Check schedules, backups and their copies, disk space, keys, stored settings and the project's own
    alerts.

    For a task every few minutes.
    """
    if not is_configured():
        return
    for check_one in (
        check_schedules,
        check_backup_age,
        check_suspicion,
        check_backup_due,
        check_copies,
        check_disk_space,
        check_recovery_kits,
        check_stored_settings,
        check_project,
    ):
        attempt(check_one, alias)


def attempt(check_one: Callable[[str], None], alias: str) -> None:
    """Call it. An error is logged."""
    try:
        check_one(alias)
    except (Error, OpsError, OSError) as error:
        logger.warning("%s could not be completed: %s", check_one.__name__, redact(str(error)))


def check_schedules(alias: str) -> None:
    if timetable.is_installed():
        alerts = {f"schedule {name}": alert_of_schedule(name, due) for name, due in timetable.find_missed(alias)}
        sync_alerts(alerts, in_scope=partial(has_prefix, "schedule "))


def alert_of_schedule(name: str, due: dt.datetime) -> Alert:
    return Alert(
        title=f"{name!r} was not started on {socket.gethostname()}.",
        text=f"It was due at {format_datetime(due)}. Check that the worker and Celery's beat run.",
        resolved_title=f"{name!r} is on time again on {socket.gethostname()}.",
    )


def check_backup_age(alias: str) -> None:
    result = check_backups(alias, expected=False)
    alert = Alert(
        title=f"There is no recent backup on {socket.gethostname()}.",
        text=f"{result.detail} Make one: manage.py backup_database",
        resolved_title=f"There is a recent backup again on {socket.gethostname()}.",
    )
    sync_alerts({"age": alert} if result.error == "BackupTooOld" else {}, in_scope="age".__eq__)


def check_backup_due(alias: str) -> None:
    """Whether the database that a restore replaced still has no backup, although no run is making it."""
    due = find_backup_due(alias)
    alert = Alert(
        title=f"The database that a restore replaced is not backed up on {socket.gethostname()}.",
        text=describe_backup_due(due) if due else "",
        resolved_title=f"No pre-restore backup is due any more on {socket.gethostname()}.",
    )
    sync_alerts({"pre-restore backup": alert} if due else {}, in_scope="pre-restore backup".__eq__)


def check_copies(alias: str) -> None:
    """Whether new backups lack copies, and which storage locations have failed for longer than `GRACE`.

    Copies that cannot be reached are reported with their locations.
    """
    coverage = read_coverage(read_locations(), alias, limit=max_age())
    host, shortfall = socket.gethostname(), coverage.shortfall
    lasting = [each for each in coverage.failing if clock.now() - each.failing_since > GRACE]
    alerts = {f"copies {location.name}": alert_of_location(location) for location in lasting}
    if shortfall and not shortfall.is_reach_only:
        alerts["copies"] = Alert(
            title=f"Backups have too few copies on {host}.",
            text=f"{describe_shortfall(coverage, when=f'since {format_datetime(shortfall.since)}')} {COPY_THEM}",
            resolved_title=f"Backups have enough copies again on {host}.",
        )
    sync_alerts(alerts, in_scope=partial(has_prefix, "copies"))


def alert_of_location(location: KnownLocation) -> Alert:
    host = socket.gethostname()
    return Alert(
        title=f"No backups can be copied to {location.name} from {host}.",
        text=redact(f"{describe_failure(location, since=format_datetime(location.failing_since))} {COPY_THEM}"),
        resolved_title=f"Backups are copied to {location.name} from {host} again.",
    )


def check_suspicion(alias: str) -> None:
    """One alert while the newest backup is suspicious and undecided, however many are; another for a larger loss."""
    newest = Backup.objects.using(alias).filter(trust="signed").exclude(origin="upload").order_by("-taken_at").first()
    alerts: dict[str, Alert] = {}
    if newest and newest.suspicion == Verdict.UNDECIDED:
        manifest = Manifest.from_json(newest.manifest)
        if manifest.suspicion:
            largest = manifest.suspicion.losses[0]
            sent = (key for key in load_state() if has_prefix("suspicious ", key))
            alert = alert_of_suspicion(manifest.name, manifest.suspicion)
            alerts = dict.fromkeys([*sent, f"suspicious {largest.of} {largest.name}"], alert)
    sync_alerts(alerts, in_scope=partial(has_prefix, "suspicious "))


def alert_of_suspicion(name: str, suspicion: Suspicion) -> Alert:
    lines = (f"{name} is verified, but the database has lost rows.", *suspicion.describe(), *suspicion.choices(name))
    return Alert(
        title=f"A backup is suspicious on {socket.gethostname()}.",
        text=redact("\n".join(lines)),
        resolved_title=f"The newest backup is not suspicious any more on {socket.gethostname()}.",
    )


def check_disk_space(alias: str) -> None:
    """Of the first storage location."""
    free = PrivateFileSystemStorage(conf.BACKUP_DIR).free_bytes()
    newest = Backup.objects.using(alias).verified().order_by("-taken_at").values_list("size", flat=True).first()
    needed = max(LEAST_FREE, BACKUPS_TO_COME * (newest or 0))
    if "storage" in load_state():
        needed = round(needed * HYSTERESIS)
    alert = Alert(
        title=f"The backup storage is nearly full on {socket.gethostname()}.",
        text=f"{format_size(free or 0)} is free; at least {format_size(needed)} is needed."
        " Free some space, or set BACKUP_DIR to a larger disk.",
        resolved_title=f"The backup storage has enough free space again on {socket.gethostname()}.",
    )
    sync_alerts({"storage": alert} if free is not None and free < needed else {}, in_scope="storage".__eq__)


def check_recovery_kits(alias: str) -> None:
    """Proofs that are due, backups that no known key opens, an encrypted storage location without a kit."""
    alerts = {f"keys {concern.code}": alert_of_keys(concern) for concern in read_concerns(alias)}
    # While the keys cannot be used, nothing is known of the other concerns.
    unknown = "keys UnusableKeys"
    sync_alerts(alerts, in_scope=unknown.__eq__ if unknown in alerts else partial(has_prefix, "keys "))


def alert_of_keys(concern: Concern) -> Alert:
    title, resolved_title = KEY_TITLES[concern.code]
    host = socket.gethostname()
    return Alert(
        title=f"{title} on {host}.",
        text=f"{concern.text} {concern.hint}",
        resolved_title=f"{resolved_title} on {host}.",
    )


def check_stored_settings(_alias: str) -> None:
    """Whether they are in use. If not, only targets that the project sets get the alert."""
    result, host = check_settings(), socket.gethostname()
    alert = Alert(
        title=f"Settings that were made in the admin are ignored on {host}.",
        text=result.detail,
        resolved_title=f"Settings that are made in the admin are in use again on {host}.",
    )
    sync_alerts({"settings": alert} if result.error else {}, in_scope="settings".__eq__)


def check_project(alias: str) -> None:
    """The functions of OPS_ALERT_SOURCES: each takes an alias, and returns alerts by keys of its own."""
    for path in conf.OPS_ALERT_SOURCES:
        prefix = f"{path} "
        alerts = import_string(path)(alias)
        sync_alerts({prefix + key: alert for key, alert in alerts.items()}, in_scope=partial(has_prefix, prefix))


def has_prefix(prefix: str, key: str) -> bool:
    return key.startswith(prefix)


# --- Test ------------------------------------------------------------------------------------------------------------


def send_test(requested_by: str, *, urls: Sequence[str] | None = None, heartbeat: str | None = None) -> list[Delivery]:
    """Send a message to `urls` and a ping to `heartbeat`; None: to those that are configured. It is not recorded."""
    message = Message(
        title=f"Test notification from {socket.gethostname()}",
        text=f"Requested by {requested_by}. No action is needed.",
        is_bad=False,
    )
    deliveries = send_to_all(stored_settings.notify_urls() if urls is None else urls, message)
    if ping := stored_settings.heartbeat_url() if heartbeat is None else heartbeat:
        deliveries.append(ping_heartbeat(ping, success=True))
    return deliveries
