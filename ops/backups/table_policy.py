"""Tables whose rows are not treated like the others: left out of backups, or kept from the live database in a restore.

Names are those of tables, since backups know no models. A name that the database does not have does no harm.
"""

from collections.abc import Mapping

from django.apps import apps

from ops.conf import conf
from ops.errors import PreconditionFailed

PROJECT_SETTINGS = ("OPS_BACKUP_EXCLUDED_TABLES", "OPS_UNTRUSTED_EXCLUDED_TABLES")
"""Where a project names tables of its own, in lists."""
SESSIONS = frozenset({"django_session"})
"""Whoever reads one in a backup is signed in as its user."""
LOCKOUTS = frozenset({"axes_accessattempt", "axes_accessattemptexpiration", "axes_accessfailurelog", "axes_accesslog"})
"""Counters of failed sign-ins belong to today: a restore must not set them back."""
SCHEDULES = frozenset(
    {
        "django_celery_beat_clockedschedule",
        "django_celery_beat_crontabschedule",
        "django_celery_beat_intervalschedule",
        "django_celery_beat_periodictask",
        "django_celery_beat_periodictasks",
        "django_celery_beat_solarschedule",
    }
)
"""They name the code that a worker runs."""
HISTORY = frozenset({"ops_backup", "ops_run"})
API_KEYS = frozenset(
    {
        "authtoken_token",
        "knox_authtoken",
        "oauth2_provider_accesstoken",
        "oauth2_provider_application",
        "oauth2_provider_grant",
        "oauth2_provider_refreshtoken",
        "rest_framework_api_key_apikey",
        "token_blacklist_blacklistedtoken",
        "token_blacklist_outstandingtoken",
    }
)
STORED_SETTINGS = frozenset(
    {
        "constance_config",
        "constance_constance",
        "django_site",
        "dynamic_preferences_globalpreferencemodel",
        "extra_settings_setting",
        "waffle_flag",
        "waffle_sample",
        "waffle_switch",
    }
)


def exclusions() -> Mapping[str, str]:
    """Tables whose rows no backup holds, and why, as manifests say it.

    The setting OPS_BACKUP_EXCLUDED_TABLES adds those of the project.
    """
    return {
        **dict.fromkeys(sorted(_named("OPS_BACKUP_EXCLUDED_TABLES")), "named in OPS_BACKUP_EXCLUDED_TABLES"),
        **dict.fromkeys(sorted(LOCKOUTS), "failed sign-ins, which a restore does not reset"),
        **dict.fromkeys(sorted(SESSIONS), "sessions, whose keys would sign in a reader of the backup"),
    }


def excluded_from_backups() -> frozenset[str]:
    """The names of `exclusions`."""
    return frozenset(exclusions())


def cannot_exclude(referring: str, referred: str) -> PreconditionFailed:
    """The refusal of a backup whose rows of `referring` would refer to rows of `referred` that it does not hold."""
    return PreconditionFailed(
        f"Rows of {referred} are left out of backups, but {referring} refers to them: no backup can be made.",
        f'Leave out both: add "{referring}" to OPS_BACKUP_EXCLUDED_TABLES; or take "{referred}" out of it.',
    )


def kept_in_every_restore() -> frozenset[str]:
    """Tables whose rows of today stay, whatever is restored."""
    return LOCKOUTS


def never_from_untrusted_files() -> frozenset[str]:
    """Tables whose rows of today stay when an untrusted file is restored, because they steer code or open doors.

    The setting OPS_UNTRUSTED_EXCLUDED_TABLES adds those of the project.
    """
    steering = SESSIONS | LOCKOUTS | SCHEDULES | HISTORY | API_KEYS | STORED_SETTINGS
    return steering | _named("OPS_UNTRUSTED_EXCLUDED_TABLES") | _named("OPS_BACKUP_EXCLUDED_TABLES")


def kept_with_untrusted_files() -> frozenset[str]:
    """Of `never_from_untrusted_files`, the tables whose rows of today are put next to the rows of the file.

    Not sessions, since all users sign in again; not the history, which is written anew; and no table that refers to
    one whose rows come from the file: an API key of today would belong to whatever user has that number there.
    """
    kept = set(never_from_untrusted_files() - SESSIONS - HISTORY)
    references = {
        model._meta.db_table: {
            field.remote_field.model._meta.db_table for field in model._meta.concrete_fields if field.remote_field
        }
        for model in apps.get_models(include_auto_created=True)
    }
    while dependent := {table for table in kept if references.get(table, set()) - kept}:
        kept -= dependent
    return frozenset(kept)


def _named(setting: str) -> frozenset[str]:
    return frozenset(getattr(conf, setting))
