"""The tests' settings with short timeouts of the web server."""

from tests.settings import *  # noqa: F403

WEB_HEAD_SECONDS = 1
WEB_BODY_SECONDS = 2
WEB_QUEUE_SECONDS = 1
OPS_STALLED_AFTER = 1
STORAGES = {
    **STORAGES,  # noqa: F405
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
