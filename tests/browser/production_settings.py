"""HomeRack's settings without DEBUG, without `collectstatic`, and with an address that fails."""

from homerack.settings import *  # noqa: F403
from homerack.settings import STORAGES

ROOT_URLCONF = "tests.browser.production_urls"
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
