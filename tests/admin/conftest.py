"""A storage for each test, people in the groups of the backups, and a queue that remembers what it was given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from ops import tasks


@pytest.fixture(autouse=True)
def storage(settings: Any, tmp_path: Path, uncollected_static_files: None) -> Path:
    """Where the backups of this test are."""
    folder = tmp_path / "backups"
    backups = {"BACKEND": "ops.backups.storage.local.PrivateFileSystemStorage", "OPTIONS": {"location": str(folder)}}
    settings.STORAGES = {**settings.STORAGES, "backups": backups}
    settings.BACKUP_DIR = folder
    return folder


@pytest.fixture
def queue(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were handed to workers, of which there are none."""
    handed: list[str] = []
    settings.OPS_CELERY_APP = "homerack.celery.app"
    hand_over = lambda arguments, **_options: handed.append(*arguments)  # noqa: E731
    monkeypatch.setattr(tasks.execute_run, "apply_async", hand_over)
    return handed


@pytest.fixture
def viewer(sign_in: Callable[..., Client]) -> Client:
    return sign_in("Backup viewers")


@pytest.fixture
def operator(sign_in: Callable[..., Client]) -> Client:
    return sign_in("Backup operators")


@pytest.fixture
def restorer(sign_in: Callable[..., Client]) -> Client:
    return sign_in("Backup restorers")
