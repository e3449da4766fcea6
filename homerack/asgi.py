import os

from django.core.asgi import get_asgi_application

from homerack.preloading import import_pages

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homerack.settings")

application = get_asgi_application()
import_pages()
