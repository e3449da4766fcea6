from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from homerack.web.admin_classes import discover
from homerack.web.debug_pages import explain_outages

discover()
explain_outages()

urlpatterns: list[URLPattern | URLResolver] = [
    path(settings.ADMIN_PATH, admin.site.urls),
    path("", include("ops.urls")),
]
# The redirect would reveal an admin that was moved to another path.
if settings.ADMIN_PATH == "admin/":
    urlpatterns.append(path("", RedirectView.as_view(pattern_name="admin:index")))

handler400 = "homerack.web.error_pages.bad_request"
handler403 = "homerack.web.error_pages.permission_denied"
handler404 = "homerack.web.error_pages.not_found"
handler500 = "homerack.web.error_pages.server_error"
