"""HomeRack's settings without `collectstatic`."""

from homerack.settings import *  # noqa: F403

STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
