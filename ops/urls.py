"""Health, and the status of a run by a signed link.

Probes may leave out the trailing slash.
"""

from django.urls import path, re_path

from ops.admin import run_status
from ops.health import views

urlpatterns = [
    re_path(r"^health/?$", views.health, name="health"),
    re_path(r"^health/live/?$", views.live, name="health-live"),
    re_path(r"^health/ready/?$", views.ready, name="health-ready"),
    re_path(r"^health/full/?$", views.full, name="health-full"),
    # For users whose session a restore has ended.
    path("runs/<str:token>/", run_status.run_status, name="ops-run-status"),
    path("runs/<str:token>/state/", run_status.run_status_fragment, name="ops-run-status-fragment"),
]
