"""The page that lists the recipients of notifications and sends them a test."""

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

from ops.admin.base import require_administrator
from ops.conf import conf
from ops.notifications import alerts
from ops.notifications.channels import safe_label


@require_http_methods(["GET", "HEAD", "POST"])
def notifications_page(request: HttpRequest) -> HttpResponse:
    """For superusers. A POST sends a test, and shows the response of each recipient."""
    require_administrator(request)
    responses = alerts.send_test(request.user.get_username()) if request.method == "POST" else []
    context = {
        **admin.site.each_context(request),
        "title": "Notifications",
        "targets": [safe_label(url) for url in conf.NOTIFY_URLS],
        "heartbeat": conf.HEARTBEAT_URL and safe_label(conf.HEARTBEAT_URL),
        "responses": responses,
    }
    return TemplateResponse(request, "ops/admin/notifications.html", context)


def page(request: HttpRequest) -> HttpResponse:
    """404 for users who may not use the admin: a redirect to its sign-in page would give away a secret ADMIN_PATH."""
    if not admin.site.has_permission(request):
        raise Http404
    response: HttpResponse = guarded_page(request)
    return response


guarded_page = admin.site.admin_view(notifications_page)
