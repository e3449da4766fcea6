"""``BACKUP_LOCATIONS`` and the variables of each location become the setting of `ops`."""

from typing import Any

from homerack.config import env

TEXTS = ("HOST_KEY", "IDENTITY_FILE", "ENDPOINT", "REGION")
SECRETS = ("PASSWORD", "ACCESS_KEY", "SECRET_KEY")
NUMBERS = ("LOCK_DAYS", "RETENTION_DAYS", "KEEP_DAILY", "KEEP_WEEKLY", "KEEP_MONTHLY", "KEEP_YEARLY")
FLAGS = ("ENCRYPTED", "OFF_SITE")


def read_locations() -> list[dict[str, Any]]:
    """The other storage locations: ``BACKUP_LOCATIONS`` names them, ``BACKUP_LOCATION_<NAME>`` is the address of each.

    `ops` checks the values (``manage.py check``); here only those are refused that are not of the right type.
    """
    return [read_location(name) for name in env.get_text("BACKUP_LOCATIONS").replace(",", " ").split()]


def read_location(name: str) -> dict[str, Any]:
    variable = f"BACKUP_LOCATION_{name.upper()}"
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
