"""Remove secrets and control characters from messages of other programs."""

from urllib.parse import quote, unquote, urlsplit

from django.conf import settings

from ops.conf import conf
from ops.utils.printable import printable

LOCATION_SECRETS = ("password", "secret_key")
"""Keys of an entry of BACKUP_LOCATIONS."""


def redact(text: str) -> str:
    """`text` without the passwords and keys of the settings, as they are and URL-encoded, and `printable`.

    The result is for errors, logs and notifications.
    """
    for secret in _secrets():
        for encoded in {secret, quote(secret, safe="")}:
            text = text.replace(encoded, "…")
    return printable(text)


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _secrets() -> list[str]:
    """The longest first, because one may be a part of another."""
    databases = [*settings.DATABASES.values(), conf.OPS_DIRECT_DATABASE]
    secrets = [str(database.get("PASSWORD") or "") for database in databases]
    secrets += [unquote(_password(url)) for url in (conf.REDIS_URL, conf.POSTGRES_URL)]
    secrets += map(str, (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
    secrets += map(str, (conf.BACKUP_SIGNING_KEY, *conf.BACKUP_SIGNING_KEY_FALLBACKS))
    secrets += map(str, conf.BACKUP_AGE_IDENTITY)
    secrets += [str(location.get(word) or "") for location in conf.BACKUP_LOCATIONS for word in LOCATION_SECRETS]
    return sorted(filter(None, secrets), key=len, reverse=True)
