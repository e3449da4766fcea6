import os

from django.core.wsgi import get_wsgi_application

from homerack.preloading import import_pages

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "homerack.settings")

application = get_wsgi_application()
import_pages()
