"""A form that was not saved says what is wrong at its top, in all admin classes: those of other packages as well."""

import re
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.forms.formsets import DELETION_FIELD_NAME
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from homerack.accounts.models import User
from homerack.inventory.models import Rack
from tests.inventory.factories import make_device, make_model, make_rack, make_type

pytestmark = pytest.mark.django_db

INVALID, NO_ROW = "\0", "abc"
"""No text, number, date or choice; no key of a row, and no number."""


def administrators_request() -> HttpRequest:
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    return request


ADMINS = {
    f"{model._meta.app_label}/{model._meta.model_name}": model_admin
    for model, model_admin in admin.site._registry.items()
    if model_admin.has_add_permission(administrators_request())
}


def fill(form: forms.BaseForm) -> dict[str, str]:
    """An invalid value in every field."""
    data = {}
    for field in form.visible_fields():
        if field.name == DELETION_FIELD_NAME:
            continue
        parts = getattr(field.field.widget, "widgets", None)
        names = [f"{field.html_name}_{number}" for number in range(len(parts))] if parts else [field.html_name]
        data |= dict.fromkeys(names, NO_ROW if isinstance(field.field, forms.ModelChoiceField) else INVALID)
    return data


def invalid_form(client: Client, path: str) -> dict[str, Any]:
    """The page's form and a row in each inline, with an invalid value in every field."""
    context = client.get(path).context
    data: dict[str, Any] = fill(context["adminform"].form)
    for inline in context["inline_admin_formsets"]:
        prefix, row = inline.formset.prefix, inline.formset.empty_form
        number = int(inline.has_add_permission)
        data |= {f"{prefix}-TOTAL_FORMS": number, f"{prefix}-INITIAL_FORMS": 0}
        if number:
            data |= {name.replace("__prefix__", "0"): value for name, value in fill(row).items()}
    return data


def errors_of(response: HttpResponse) -> list[str]:
    """All that the form and its inlines find, whether or not the page shows it."""
    context: Any = response.context  # type: ignore[attr-defined]
    inlines = [inline.formset for inline in context["inline_admin_formsets"]]
    found = [context["adminform"].form.errors, *(errors for formset in inlines for errors in formset.errors)]
    messages = [message for errors in found for texts in errors.values() for message in texts]
    return messages + [message for formset in inlines for message in formset.non_form_errors()]


def explained(page: str) -> str:
    found = re.search(r'<div class="mistakes" id="mistakes" role="alert">.*?</div>', page, re.DOTALL)
    assert found
    return found[0]


def ids_of(page: str) -> set[str]:
    return set(re.findall(r'\bid="([^"]+)"', page))


@pytest.mark.parametrize("path", ADMINS)
class TestAllForms:
    def test_mistakes_are_listed_with_links_to_their_fields(self, admin_client: Client, path: str) -> None:
        address = f"/admin/{path}/add/"
        response = admin_client.post(address, invalid_form(admin_client, address))
        page = response.content.decode()
        assert response.status_code == 200
        expected = errors_of(response)  # type: ignore[arg-type]
        assert expected
        shown = explained(page)
        assert shown.count("<li>") == len(expected)
        targets = set(re.findall(r'href="#([^"]+)"', shown))
        assert targets
        assert targets <= ids_of(page)
        assert page.index('role="alert"') < page.index("<fieldset")

    def test_fields_refer_to_texts_that_the_page_has(self, admin_client: Client, path: str) -> None:
        address = f"/admin/{path}/add/"
        response = admin_client.post(address, invalid_form(admin_client, address))
        page = response.content.decode()
        assert 'aria-invalid="true"' in page
        described = {name for names in re.findall(r'aria-describedby="([^"]+)"', page) for name in names.split()}
        assert described <= ids_of(page)

    def test_new_form_lists_none(self, admin_client: Client, path: str) -> None:
        page = admin_client.get(f"/admin/{path}/add/").content.decode()
        assert 'id="mistakes"' not in page


class TestSummary:
    def post(self, client: Client, path: str, **data: Any) -> str:
        return client.post(f"/admin/inventory/{path}/", data).content.decode()

    def test_one_mistake_names_its_field(self, admin_client: Client) -> None:
        shown = explained(self.post(admin_client, "brand/add", slug="acme"))
        assert "Nothing was saved. Correct this mistake, and save again." in shown
        assert '<a href="#id_name"><b>Name:</b> This field is required.</a>' in shown

    def test_mistake_of_no_field_is_said_once(self, admin_client: Client) -> None:
        model = make_model(name="K1", variant="AC")
        values = {"brand": model.brand_id, "device_type": model.device_type_id, "height_u": 1}
        page = self.post(admin_client, "devicemodel/add", name="K1", variant="AC", **values)
        message = "This brand already has a model with this name and variant."
        assert f"<li>{message}</li>" in explained(page)
        assert page.count(message) == 1

    def test_mistake_in_a_row_names_the_row(self, admin_client: Client) -> None:
        rack = make_rack()
        rows = {"positions-TOTAL_FORMS": 2, "positions-INITIAL_FORMS": 0, "positions-0-device": make_device().pk}
        rows |= {"positions-0-start_u": 1, "positions-1-device": make_device().pk, "positions-1-start_u": "x"}
        page = self.post(admin_client, f"rack/{rack.pk}/change", name="Main", **rows)
        link = (
            '<a href="#id_positions-1-start_u"><b>Devices in this rack, row 2: Lowest unit:</b> Enter a whole number.'
        )
        assert link in explained(page)

    def test_mistakes_in_removed_rows_are_not_listed(self, admin_client: Client) -> None:
        rack = make_rack()
        rows = {"positions-TOTAL_FORMS": 1, "positions-INITIAL_FORMS": 0, "positions-0-start_u": "x"}
        path = f"rack/{rack.pk}/change"
        page = self.post(admin_client, path, name="", **rows, **{"positions-0-DELETE": "on"})
        assert explained(page).count("<li>") == 1

    def test_names_are_escaped(self, admin_client: Client) -> None:
        kind = make_type()
        page = self.post(admin_client, "devicetype/add", name=kind.name, slug="<script>")
        assert "&lt;script&gt;" in page
        assert "<script>" not in explained(page)

    def test_drawing_of_a_rack_follows_the_form(self, admin_client: Client) -> None:
        rack: Rack = make_rack()
        path = f"rack/{rack.pk}/change"
        failed = self.post(admin_client, path, name="", **{"positions-TOTAL_FORMS": 0, "positions-INITIAL_FORMS": 0})
        assert failed.index("<fieldset") < failed.index('class="rack-elevation"')
        shown = admin_client.get(f"/admin/inventory/{path}/").content.decode()
        assert shown.index('class="rack-elevation"') < shown.index("<fieldset")
