"""HomeRack as it is, with style sheets that nobody had to collect."""

from homerack.settings import *  # noqa: F403

STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
