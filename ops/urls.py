"""Health, with and without the trailing slash, on which a probe should not depend; and runs by signed links."""

from django.urls import path, re_path

from ops.admin import notifications, run_status
from ops.health import views
from ops.health.metrics import FullHealthView

urlpatterns = [
    re_path(r"^notices/$", notifications.page, name="ops-notices"),
    re_path(r"^health/?$", views.health, name="health"),
    re_path(r"^health/live/?$", views.live, name="health-live"),
    re_path(r"^health/ready/?$", views.ready, name="health-ready"),
    re_path(r"^health/full/?$", FullHealthView.as_view(), name="health-full"),
    # Signed links to one run, for those whose session a restore has ended.
    path("runs/<str:token>/", run_status.run_status, name="ops-watch"),
    path("runs/<str:token>/state/", run_status.run_status_fragment, name="ops-watch-state"),
]
