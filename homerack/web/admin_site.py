"""The admin site: unfold's, with ordered lists, explained mistakes, a search over all rows, and a password form that
counts wrong passwords.
"""

from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

from homerack.web import palette


class HomeRackAdminSite(UnfoldAdminSite):
    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Also the pages of `ops` and of other packages order their lists, and explain why nothing was saved.

        The button *History* shows what `homerack.history` has recorded.
        """
        # Forms and admin classes can be imported once all models are.
        from homerack.web.failed_saves import ExplainingAdmin  # noqa: PLC0415
        from homerack.web.ordered_lists import OrderedAdmin  # noqa: PLC0415
        from homerack.web.row_history import RowHistoryAdmin  # noqa: PLC0415

        own = admin_class or ModelAdmin
        ours = type(own.__name__, (OrderedAdmin, ExplainingAdmin, RowHistoryAdmin, own), {"__module__": own.__module__})
        super().register(model_or_iterable, ours, **options)

    def get_urls(self) -> list[Any]:
        # Views of the admin can be imported once all models are.
        from homerack.spreadsheets.urls import patterns  # noqa: PLC0415

        return [*patterns(self.admin_view), *super().get_urls()]

    def autocomplete_view(self, request: HttpRequest) -> HttpResponseBase:  # type: ignore[override]  # as Django's own
        # Views of the admin can be imported once all models are.
        from homerack.autocomplete import LabelledAutocompleteView  # noqa: PLC0415

        return LabelledAutocompleteView.as_view(admin_site=self)(request)

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # noqa: ARG002
        """Unlike unfold's view, it neither reads whole tables nor shows what it has found minutes ago."""
        term = request.GET.get("s", "").strip()[: palette.LONGEST]
        groups = palette.find(self, request, term) if term else []
        context = {"term": term, "groups": groups, "number": sum(len(group.results) for group in groups)}
        return TemplateResponse(request, "unfold/helpers/command_results.html", context)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        # Forms can be imported once all models are.
        from homerack.accounts.forms import SignInForm  # noqa: PLC0415

        self.login_form = SignInForm
        return super().login(request, extra_context)

    def password_change(  # type: ignore[override]  # a redirect after a POST, as Django's own
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Like unfold's view, with `OwnPasswordChangeForm`, and back to the dashboard."""
        # Forms can be imported once all models are.
        from homerack.accounts.forms import OwnPasswordChangeForm  # noqa: PLC0415

        class View(PasswordChangeView):
            form_class = OwnPasswordChangeForm

            def get_form_kwargs(self) -> dict[str, Any]:
                return {**super().get_form_kwargs(), "request": self.request}

            def form_valid(self, form: Any) -> HttpResponse:
                messages.success(self.request, "Your password was changed. Other sessions of your account have ended.")
                return super().form_valid(form)

        request.current_app = self.name
        url = reverse(f"{self.name}:index", current_app=self.name)
        context = {**self.each_context(request), **(extra_context or {})}
        return View.as_view(success_url=url, extra_context=context)(request)
