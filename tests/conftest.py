"""What tests of pages share: people who are signed in, and style sheets that nobody had to collect."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from homerack.accounts.models import User


@pytest.fixture(autouse=True)
def uncollected_static_files(settings: Any, tmp_path: Path) -> None:
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}
    settings.STATIC_ROOT = tmp_path


@pytest.fixture
def sign_in(db: None) -> Callable[..., Client]:
    """A browser in which somebody of these groups is signed in."""

    def as_member_of(*groups: str, **fields: bool) -> Client:
        user = User.objects.create_user(f"{'-'.join(groups) or 'nobody'}@example.com", is_staff=True, **fields)
        user.groups.set(Group.objects.filter(name__in=groups))
        client = Client()
        client.force_login(user)
        return client

    return as_member_of


@pytest.fixture
def viewer_client(sign_in: Callable[..., Client]) -> Client:
    return sign_in("Viewers")


@pytest.fixture
def editor_client(sign_in: Callable[..., Client]) -> Client:
    return sign_in("Editors")


@pytest.fixture
def stranger_client(sign_in: Callable[..., Client]) -> Client:
    return sign_in()
