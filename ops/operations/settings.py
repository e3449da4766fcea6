"""Change the settings that are stored next to the backups: retention, schedules, targets of notifications."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ops import stored_settings
from ops.conf import conf, setting_name
from ops.errors import OpsError, PreconditionFailed
from ops.models import Run
from ops.notifications.channels import require_heartbeat, require_target, safe_label
from ops.runs import executor
from ops.runs.context import OpsContext
from ops.runs.results import SettingChange, SettingsResult
from ops.runs.schedule_rows import apply_schedules
from ops.schedules.builtin import BUILT_IN, BY_TASK, Timing, describe
from ops.stored_settings import StoredSettings, StoredSettingsIgnored
from ops.utils.schema import to_json

Change = Callable[[StoredSettings], StoredSettings]


def change_numbers(context: OpsContext, run: Run, numbers: Mapping[str, int | None]) -> SettingsResult:
    """Set these of `stored_settings.NUMBERS`; None goes back to the default. Raises PreconditionFailed and OSError."""
    for name, value in numbers.items():
        require_changeable(name)
        least, most = stored_settings.NUMBERS[name]
        if value is not None and not least <= value <= most:
            raise PreconditionFailed(f"{name} is from {least:,} to {most:,}. Nothing was changed.")

    return store(context, run, lambda stored: with_numbers(stored, numbers), replaces_ignored=True)


def with_numbers(stored: StoredSettings, numbers: Mapping[str, int | None]) -> StoredSettings:
    merged: dict[str, int | None] = {**stored.numbers, **numbers}
    kept = {name: value for name, value in merged.items() if value is not None}
    return msgspec.structs.replace(stored, numbers=kept)


def change_schedules(context: OpsContext, run: Run, timings: Mapping[str, Timing]) -> SettingsResult:
    """Set when these tasks start. Raises PreconditionFailed, OSError and Django's database errors."""
    for task in timings:
        if task not in BY_TASK or BY_TASK[task].default is None:
            raise PreconditionFailed(f"The times of {task} cannot be changed. Nothing was changed.")

    def changed(stored: StoredSettings) -> StoredSettings:
        merged = {**stored.schedules, **timings}
        kept = {task: timing for task, timing in merged.items() if timing != BY_TASK[task].default}
        return msgspec.structs.replace(stored, schedules=kept)

    result = store(context, run, changed)
    apply_schedules()
    return result


def add_target(context: OpsContext, run: Run, url: str) -> SettingsResult:
    """Send notifications to the apprise URL `url` too. Raises PreconditionFailed, also without a key, and OSError."""
    require_target(url)
    return change_targets(context, run, lambda urls: [*(each for each in urls if each != url), url])


def remove_target(context: OpsContext, run: Run, url: str) -> SettingsResult:
    """Send no notifications to `url` any more. Raises PreconditionFailed and OSError."""
    return change_targets(context, run, lambda urls: [each for each in urls if each != url])


def change_targets(context: OpsContext, run: Run, change: Callable[[Sequence[str]], Sequence[str]]) -> SettingsResult:
    """`change` gets the targets of this moment, which another user may just have changed."""
    require_changeable("NOTIFY_URLS")

    def changed(stored: StoredSettings) -> StoredSettings:
        secrets = readable_secrets(stored)
        urls = change(secrets.get("NOTIFY_URLS", conf.NOTIFY_URLS))
        return stored_settings.with_secrets(stored, {**secrets, "NOTIFY_URLS": urls})

    return store(context, run, changed)


def change_heartbeat(context: OpsContext, run: Run, url: str) -> SettingsResult:
    """Ping `url` after each backup; '': none. Raises PreconditionFailed, also without a key, and OSError."""
    require_changeable("HEARTBEAT_URL")
    if url:
        require_heartbeat(url)

    def changed(stored: StoredSettings) -> StoredSettings:
        return stored_settings.with_secrets(stored, {**readable_secrets(stored), "HEARTBEAT_URL": url})

    return store(context, run, changed)


def require_changeable(name: str) -> None:
    """Raises PreconditionFailed for a setting that the project sets."""
    source = stored_settings.source_of(name)
    if source:
        message = f"{setting_name(name)} is set in the {source}. Nothing was changed."
        raise PreconditionFailed(message, "Change it there, or remove it there and change it here.")


def store(context: OpsContext, run: Run, change: Change, *, replaces_ignored: bool = False) -> SettingsResult:
    """Change the file, and record what has changed; nothing is recorded if nothing has.

    `replaces_ignored`: whether a file that is ignored may be replaced. After that the defaults count for what is not
    changed, and backups are pruned again, so the caller has shown which. If not, PreconditionFailed is raised.
    """
    with context.repository.states.locked():
        before, is_ignored = StoredSettings(), False
        try:
            before = stored_settings.read()
        except StoredSettingsIgnored as error:
            if not replaces_ignored:
                hint = "Save the page of settings first. It shows which backups are pruned after that."
                raise PreconditionFailed(f"{error.message} Nothing was changed.", hint) from error
            is_ignored = True
        after = change(before)
        result = SettingsResult(changes=tuple(changes_between(before, after)))
        if result.changes or is_ignored:
            stored_settings.write(after)
            run.result = to_json(result)
            executor.log_instant(context, run)
    return result


def changes_between(before: StoredSettings, after: StoredSettings) -> list[SettingChange]:
    old, new = described(before), described(after)
    old_secrets, new_secrets = readable_secrets(before), readable_secrets(after)
    # Two targets may have the same label, and one target another token.
    replaced = {name for name in stored_settings.SECRETS if old_secrets.get(name) != new_secrets.get(name)}
    return [
        SettingChange(name=name, before=old[name], after=new[name])
        for name in old
        if old[name] != new[name] or name in replaced
    ]


def described(stored: StoredSettings) -> dict[str, str]:
    """What the history says of the settings: no secret."""
    secrets = readable_secrets(stored)
    urls = secrets.get("NOTIFY_URLS", conf.NOTIFY_URLS)
    heartbeat = secrets.get("HEARTBEAT_URL", conf.HEARTBEAT_URL)
    schedules = {each.task: stored.schedules.get(each.task, each.default) for each in BUILT_IN}
    return {
        **{name: str(stored_settings.number(name, stored).value) for name in stored_settings.NUMBERS},
        **{BY_TASK[task].name: describe(timing) for task, timing in schedules.items() if timing},
        "NOTIFY_URLS": ", ".join(map(safe_label, urls)) or "none",
        "HEARTBEAT_URL": safe_label(heartbeat) if heartbeat else "none",
    }


def readable_secrets(stored: StoredSettings) -> dict[str, Any]:
    """Nothing where no key of this machine opens them."""
    try:
        return stored_settings.decrypted(stored)
    except OpsError:
        return {}
