"""A storage for each test, users in the groups for backups, and a queue that records its messages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from ops import tasks


@pytest.fixture(autouse=True)
def storage(settings: Any, tmp_path: Path) -> Path:
    """The directory with the backups of this test."""
    folder = tmp_path / "backups"
    settings.BACKUP_DIR = folder
    return folder


@pytest.fixture
def queue(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of runs that were sent to workers, of which there are none."""
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
