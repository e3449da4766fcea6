"""``BACKUP_LOCATIONS`` and the variables of each location become the setting of `ops`."""

import os
import re
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from homerack.config import env

TEXTS = ("HOST_KEY", "IDENTITY_FILE", "ENDPOINT", "REGION")
SECRETS = ("PASSWORD", "ACCESS_KEY", "SECRET_KEY")
NUMBERS = ("LOCK_DAYS", "RETENTION_DAYS", "KEEP_DAILY", "KEEP_WEEKLY", "KEEP_MONTHLY", "KEEP_YEARLY")
FLAGS = ("ENCRYPTED", "OFF_SITE")
OPTIONS = frozenset({*TEXTS, *SECRETS, *NUMBERS, *FLAGS, *(f"{word}_FILE" for word in SECRETS)})


def read_locations() -> list[dict[str, Any]]:
    """The other storage locations: ``BACKUP_LOCATIONS`` names them, ``BACKUP_LOCATION_<NAME>`` is the address of each.

    `ops` checks the values (``manage.py check``); here those are refused that are not of the right type, and variables
    of a location that are not known: one letter too many, and nothing would be locked, or all would be encrypted.
    """
    names = env.get_text("BACKUP_LOCATIONS").replace(",", " ").split()
    for name in names:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            raise env.refuse("BACKUP_LOCATIONS", f"names {name!r}; allowed are letters, digits and _", "nas bucket")
    addresses = {variable_of(name) for name in names}
    for name in names:
        require_known_options(variable_of(name), addresses)
    return [read_location(name) for name in names]


def variable_of(name: str) -> str:
    """The variable with the address of the location `name`."""
    return f"BACKUP_LOCATION_{name.upper()}"


def require_known_options(variable: str, addresses: set[str]) -> None:
    """Raises ImproperlyConfigured for a variable that begins with `variable` and is no option of this location."""
    for found in sorted(os.environ):
        is_of_another = any(found.startswith(other) for other in addresses if other.startswith(f"{variable}_"))
        if found.startswith(f"{variable}_") and not is_of_another:
            option = found.removeprefix(f"{variable}_")
            if option not in OPTIONS:
                known = ", ".join(f"…_{word}" for word in sorted(OPTIONS))
                raise ImproperlyConfigured(f"{found} is not a variable of a storage location. Known are {known}.")


def read_location(name: str) -> dict[str, Any]:
    variable = variable_of(name)
    url = env.get_text(variable)
    if not url:
        raise env.refuse(
            variable, f"is not set, but BACKUP_LOCATIONS names {name}", "sftp://user@nas.example.org/backups"
        )
    found: dict[str, Any] = {"name": name.lower(), "url": url}
    found |= {word.lower(): env.get_text(f"{variable}_{word}") for word in TEXTS}
    found |= {word.lower(): env.get_secret(f"{variable}_{word}") for word in SECRETS}
    given = {word: f"{variable}_{word}" for word in (*NUMBERS, *FLAGS) if env.get_text(f"{variable}_{word}")}
    found |= {word.lower(): env.get_int(given[word], default=0) for word in NUMBERS if word in given}
    found |= {word.lower(): env.get_bool(given[word], default=True) for word in FLAGS if word in given}
    return found
