"""Words of other programs, without control characters and without the secrets that those programs may know."""

from urllib.parse import quote, unquote, urlsplit

from django.conf import settings

from ops.conf import conf
from ops.utils.printable import printable


def redact(text: str) -> str:
    """`text` with the passwords and keys of the settings blotted out, in plain and as they are written in addresses.

    It is `printable`, too: it goes into errors, logs and notices.
    """
    for secret in _secrets():
        for spelling in {secret, quote(secret, safe="")}:
            text = text.replace(spelling, "…")
    return printable(text)


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def _secrets() -> list[str]:
    """The longest first: one may be a part of another."""
    databases = [*settings.DATABASES.values(), conf.OPS_DIRECT_DATABASE]
    found = [str(database.get("PASSWORD") or "") for database in databases]
    found += [unquote(_password(getattr(settings, name, ""))) for name in ("REDIS_URL", "POSTGRES_URL")]
    found += [str(getattr(settings, name, "")) for name in ("SECRET_KEY", "BACKUP_SIGNING_KEY")]
    for name in ("SECRET_KEY_FALLBACKS", "BACKUP_SIGNING_KEY_FALLBACKS"):
        found += map(str, getattr(settings, name, ()))
    return sorted(filter(None, found), key=len, reverse=True)
