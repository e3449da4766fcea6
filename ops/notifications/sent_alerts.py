"""The alerts that were sent: each is sent once, and once more when it is resolved.

They are kept next to the backups, in ``alerts.json``, where no restore rolls them back. A notification that cannot be
sent is logged, and sent again with the next check.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from msgspec import Struct

from ops import stored_settings
from ops.backups.storage.atomic_files import AtomicFiles, json_bytes
from ops.backups.storage.local import PrivateFileSystemStorage
from ops.conf import conf
from ops.errors import OpsError
from ops.notifications.channels import Delivery, Message, send_to_all
from ops.utils import clock, schema
from ops.utils.formatting import format_age, format_datetime
from ops.utils.redaction import redact
from ops.utils.schema import Moment, Text

logger = logging.getLogger(__name__)

STATE_FILE = "alerts.json"


class AlertState(Struct, frozen=True):
    """What is kept of an alert that was sent: when, and the title of the notification that it is resolved."""

    since: Moment
    resolved_title: Text


@dataclass(frozen=True, kw_only=True)
class Alert:
    """Something that an administrator should know; all three are sentences."""

    title: str
    text: str
    resolved_title: str


def sync_alerts(alerts: Mapping[str, Alert], *, in_scope: Callable[[str], bool]) -> None:
    """Send the alerts that are new, and that those are resolved whose keys are `in_scope` and not in `alerts`."""
    before = load_state()
    after = dict(before)
    for key, alert in alerts.items():
        if key not in before and send(Message(title=alert.title, text=alert.text)):
            after[key] = AlertState(since=clock.now(), resolved_title=alert.resolved_title)
    for key in [key for key in before if in_scope(key) and key not in alerts]:
        if send(resolved_message(before[key])):
            del after[key]
    if after != before:
        save_state(after)


def resolved_message(state: AlertState) -> Message:
    text = f"The problem was reported {format_age(state.since)}, at {format_datetime(state.since)}."
    return Message(title=state.resolved_title, text=text, is_bad=False)


def send(message: Message) -> bool:
    """Whether a target accepted it, or there is none."""
    deliveries = send_to_all(stored_settings.notify_urls(), message)
    log(deliveries)
    return not deliveries or any(delivery.accepted for delivery in deliveries)


def log(deliveries: Iterable[Delivery]) -> None:
    for delivery in deliveries:
        if not delivery.accepted:
            logger.warning("A notification to %s failed: %s", delivery.target, delivery.response)


def files() -> AtomicFiles:
    """The first storage location."""
    return AtomicFiles(PrivateFileSystemStorage(conf.BACKUP_DIR))


def load_state() -> dict[str, AlertState]:
    """The alerts that were sent, by key. Empty where they cannot be read: a repeated alert is better than none."""
    try:
        document = files().document(STATE_FILE)
    except FileNotFoundError:
        return {}
    except (OpsError, OSError) as error:
        logger.warning("The alerts that were sent before cannot be read: %s", redact(str(error)))
        return {}
    states = {}
    for key, state in document.items():
        # The file is not signed, and other programs may write it.
        with contextlib.suppress(OpsError, OverflowError):
            states[key] = schema.read_document(state, AlertState, what="An alert")
    return states


def save_state(states: Mapping[str, AlertState]) -> None:
    try:
        files().rewrite(STATE_FILE, json_bytes(schema.to_json(states)))
    except (OpsError, OSError) as error:
        logger.warning("The alerts that were sent cannot be recorded: %s", redact(str(error)))
