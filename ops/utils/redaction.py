"""Remove secrets and control characters from messages of other programs."""

from urllib.parse import parse_qs, quote, unquote

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


def _passwords(url: str) -> list[str]:
    """Those before the host and among the options. Not with `urlsplit`, which reads no address of several hosts."""
    address, _, query = url.partition("://")[2].partition("?")
    userinfo = address.partition("/")[0].rpartition("@")[0]
    options = [value for name, values in parse_qs(query).items() if name.endswith("password") for value in values]
    return [unquote(userinfo.partition(":")[2]), *options]


def _secrets() -> list[str]:
    """The longest first, because one may be a part of another."""
    databases = [*settings.DATABASES.values(), conf.OPS_DIRECT_DATABASE]
    secrets = [str(database.get("PASSWORD") or "") for database in databases]
    secrets += [password for url in (conf.REDIS_URL, conf.POSTGRES_URL) for password in _passwords(str(url or ""))]
    secrets += map(str, (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))
    secrets += map(str, (conf.BACKUP_SIGNING_KEY, *conf.BACKUP_SIGNING_KEY_FALLBACKS))
    secrets += map(str, conf.BACKUP_AGE_IDENTITY)
    secrets += [str(location.get(word) or "") for location in conf.BACKUP_LOCATIONS for word in LOCATION_SECRETS]
    return sorted(filter(None, secrets), key=len, reverse=True)
