"""No secret of a storage location, and no key, remains in messages or on Django's pages of errors."""

from typing import Any
from urllib.parse import quote

import pytest
from django.views.debug import get_exception_reporter_filter

from ops.utils.redaction import redact

IDENTITY = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ"
LOCATION = {"name": "nas", "url": "sftp://lab@nas/x", "password": "pass w/rd of nas", "secret_key": "key+of/bucket"}


@pytest.fixture(autouse=True)
def configured(settings: Any) -> None:
    settings.BACKUP_LOCATIONS = [LOCATION]
    settings.BACKUP_AGE_IDENTITY = ["", IDENTITY]
    settings.BACKUP_SIGNING_KEY = "the signing key"


@pytest.mark.parametrize("secret", [LOCATION["password"], LOCATION["secret_key"], IDENTITY, "the signing key"])
@pytest.mark.parametrize("encode", [str, lambda secret: quote(secret, safe="")], ids=["as it is", "in an address"])
def test_redact_removes_secrets(secret: str, encode: Any) -> None:
    assert redact(f"It refused {encode(secret)} twice.") == "It refused … twice."


@pytest.mark.parametrize("secret", [LOCATION["password"], LOCATION["secret_key"], IDENTITY, "the signing key"])
def test_error_pages_show_no_secrets(secret: str, settings: Any) -> None:
    shown = shown_settings()
    assert secret not in repr(shown)
    assert shown["BACKUP_RETENTION_DAYS"] == settings.BACKUP_RETENTION_DAYS


def test_error_pages_show_no_addresses_with_secrets(settings: Any) -> None:
    settings.NOTIFY_URLS = ["ntfys://t0p-s3cret@ntfy.example.org/lab"]
    settings.HEARTBEAT_URL = "https://hc-ping.com/t0p-s3cret"
    settings.REDIS_URL = settings.CELERY_BROKER_URL = settings.CELERY_RESULT_BACKEND = "redis://:t0p-s3cret@redis/0"
    assert "t0p-s3cret" not in repr(shown_settings())


def shown_settings() -> dict[str, Any]:
    found: dict[str, Any] = get_exception_reporter_filter(None).get_safe_settings()
    return found
