"""HomeRack's settings as in production, without style sheets that `collectstatic` would have collected."""

from homerack.settings import *  # noqa: F403
from homerack.settings import STORAGES

STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
