"""The page that Django's button *History* opens: the history of the row, for models that have one."""

from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from homerack.history.tracking import TrackedModel

if TYPE_CHECKING:
    AnyAdmin = ModelAdmin[Any]
else:
    AnyAdmin = object


class RowHistoryAdmin(AnyAdmin):
    """For admin classes. Models without a history keep the page of Django."""

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # It imports its own admin class.
        from homerack.history.admin.pages import row_page  # noqa: PLC0415

        if not issubclass(self.model, TrackedModel):
            response: HttpResponse = super().history_view(request, object_id, extra_context)
            return response
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return row_page(request, self.model, unquote(object_id))
