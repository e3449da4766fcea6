"""Tables with rules of their own: their rows are left out of backups, or a restore keeps those of the live database.

Names are those of tables, since backups know no models. Tables that the database does not have are ignored.
"""

from collections.abc import Mapping

from django.apps import apps

from ops.conf import conf
from ops.errors import PreconditionFailed

PROJECT_SETTINGS = ("OPS_BACKUP_EXCLUDED_TABLES", "OPS_PREVIEW_EXCLUDED_TABLES", "OPS_UNTRUSTED_EXCLUDED_TABLES")
"""Settings in which a project lists its own tables."""
SESSIONS = frozenset({"django_session"})
"""A session key from a backup would sign its reader in."""
LOCKOUTS = frozenset({"axes_accessattempt", "axes_accessattemptexpiration", "axes_accessfailurelog", "axes_accesslog"})
"""Counters of failed sign-ins: a restore must not reset them."""
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
"""They name code that a worker executes."""
HISTORY = frozenset({"ops_backup", "ops_run"})
API_KEYS = frozenset(
    {
        "authtoken_token",
        "knox_authtoken",
        "oauth2_provider_accesstoken",
        "oauth2_provider_application",
        "oauth2_provider_devicegrant",
        "oauth2_provider_grant",
        "oauth2_provider_idtoken",
        "oauth2_provider_refreshtoken",
        "rest_framework_api_key_apikey",
        "token_blacklist_blacklistedtoken",
        "token_blacklist_outstandingtoken",
        "wagtailcore_apitoken",
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
    """Tables whose rows are in no backup, with the reason for the manifest.

    The setting OPS_BACKUP_EXCLUDED_TABLES adds those of the project.
    """
    return {
        **dict.fromkeys(sorted(_named("OPS_BACKUP_EXCLUDED_TABLES")), "named in OPS_BACKUP_EXCLUDED_TABLES"),
        **dict.fromkeys(sorted(LOCKOUTS), "contains failed sign-ins: a restore keeps the current ones"),
        **dict.fromkeys(sorted(SESSIONS), "contains sessions, with which a reader of the backup could sign in"),
    }


def cannot_exclude(referring: str, referred: str) -> PreconditionFailed:
    """The error for a backup in which rows of `referring` would refer to missing rows of `referred`."""
    return PreconditionFailed(
        f"Rows of {referred} are left out of backups, but {referring} refers to them: no backup can be made.",
        f'Exclude both: add "{referring}" to OPS_BACKUP_EXCLUDED_TABLES; or remove "{referred}" from it.',
    )


def never_from_untrusted_files() -> frozenset[str]:
    """Tables whose rows are never copied from an untrusted file: they decide what code runs, or give access.

    The setting OPS_UNTRUSTED_EXCLUDED_TABLES adds those of the project.
    """
    sensitive = SESSIONS | LOCKOUTS | SCHEDULES | HISTORY | API_KEYS | STORED_SETTINGS
    return sensitive | _named("OPS_UNTRUSTED_EXCLUDED_TABLES") | _named("OPS_BACKUP_EXCLUDED_TABLES")


def kept_live(*, trusted: bool) -> frozenset[str]:
    """The tables whose live rows a restore keeps: the lockouts; with an untrusted file, most that it does not copy.

    Not sessions, since all users sign in again; not the history, which is rebuilt; and no table that refers to one
    whose rows come from the file: a live API key would belong to another user with the same number.
    """
    if trusted:
        return LOCKOUTS
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


def not_previewed() -> frozenset[str]:
    """Tables that the preview of a restore leaves out: the setting OPS_PREVIEW_EXCLUDED_TABLES."""
    return _named("OPS_PREVIEW_EXCLUDED_TABLES")


def app_labels() -> Mapping[str, str]:
    """The label of the app of each table that a model has."""
    return {model._meta.db_table: model._meta.app_label for model in apps.get_models(include_auto_created=True)}


def _named(setting: str) -> frozenset[str]:
    return frozenset(getattr(conf, setting))
