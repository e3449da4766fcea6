"""What a storage location says about its files."""

import datetime as dt
from dataclasses import dataclass

SILENCE = 60
"""Seconds without an answer after which a server is given up. S3 may take long to join the parts of a large object."""


@dataclass(frozen=True)
class Entry:
    """A file. `size` in bytes; `modified` in UTC, by the clock of the storage and not of this machine."""

    size: int
    modified: dt.datetime


@dataclass(frozen=True)
class Version:
    """One of the contents that an object of a versioned bucket has had."""

    id: str
    size: int
    modified: dt.datetime


def setting(location: str, option: str) -> str:
    """The name of the environment variable that sets `option` of the storage location."""
    return f"BACKUP_LOCATION_{location.upper()}_{option}"
