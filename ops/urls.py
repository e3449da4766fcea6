"""Each with and without the trailing slash: a probe should not depend on it."""

from django.urls import re_path

from ops import views
from ops.console import notices
from ops.health_pages import FullHealthView

urlpatterns = [
    re_path(r"^notices/$", notices.page, name="ops-notices"),
    re_path(r"^health/?$", views.health, name="health"),
    re_path(r"^health/live/?$", views.live, name="health-live"),
    re_path(r"^health/ready/?$", views.ready, name="health-ready"),
    re_path(r"^health/full/?$", FullHealthView.as_view(), name="health-full"),
]
