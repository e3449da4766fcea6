"""Health, with and without the trailing slash, on which a probe should not depend; and runs by signed links."""

from django.urls import path, re_path

from ops import views
from ops.console import notices, watching
from ops.health_pages import FullHealthView

urlpatterns = [
    re_path(r"^notices/$", notices.page, name="ops-notices"),
    re_path(r"^health/?$", views.health, name="health"),
    re_path(r"^health/live/?$", views.live, name="health-live"),
    re_path(r"^health/ready/?$", views.ready, name="health-ready"),
    re_path(r"^health/full/?$", FullHealthView.as_view(), name="health-full"),
    # Signed links to one run, for those whose session a restore has ended.
    path("runs/<str:token>/", watching.watch, name="ops-watch"),
    path("runs/<str:token>/state/", watching.watch_state, name="ops-watch-state"),
]
