"""The page on which a superuser tries out whether notices arrive."""

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods

from ops.admin.base import require_administrator
from ops.notifications import alerts
from ops.notifications.channels import safe_label


@require_http_methods(["GET", "HEAD", "POST"])
def notices_page(request: HttpRequest) -> HttpResponse:
    """Who is told, and a button; after the button, what each of them answered."""
    require_administrator(request)
    answers = alerts.send_test(request.user.get_username()) if request.method == "POST" else []
    context = {
        **admin.site.each_context(request),
        "title": "Notices",
        "targets": [safe_label(url) for url in alerts.addresses()],
        "heartbeat": alerts.heartbeat() and safe_label(alerts.heartbeat()),
        "answers": answers,
    }
    return TemplateResponse(request, "ops/console/notices.html", context)


def page(request: HttpRequest) -> HttpResponse:
    """The page is not below the console's address, which a redirect to its sign-in page would give away."""
    if not admin.site.has_permission(request):
        raise Http404
    answer: HttpResponse = guarded_page(request)
    return answer


guarded_page = admin.site.admin_view(notices_page)
