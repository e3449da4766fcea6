"""The headings of the admin's pages, and the landmarks of the frame."""

from typing import Any

import pytest
from django.template import Context
from django.test import Client
from django.urls import reverse
from django.utils.safestring import mark_safe

from homerack.accounts.models import User
from homerack.templatetags.frame import LANDMARKS, with_landmarks
from homerack.web.headings import Heading, Parent, heading_of
from tests.inventory.factories import make_device

USERS = Parent(text="Users", url="/admin/accounts/user/")


def user_context(**context: Any) -> dict[str, Any]:
    return {"opts": User._meta, **context}


def test_list_is_called_as_in_the_sidebar() -> None:
    found = heading_of(user_context(cl=object(), title="Select user to change"))
    assert found == Heading(text="Users")
    assert found.title == "Users | HomeRack"


def test_object_keeps_the_spelling_of_its_name() -> None:
    user = User(pk=7, email="nvr@example.com")
    found = heading_of(user_context(original=user, title="Change user", subtitle="nvr@example.com"))
    assert found == Heading(text="nvr@example.com", parents=(USERS,))
    assert found.title == "nvr@example.com | Users | HomeRack"


@pytest.mark.parametrize(
    ("title", "text"), [("Delete", "Delete"), ("Change history: nvr@example.com", "Change history")]
)
def test_other_page_of_an_object_leads_to_it(title: str, text: str) -> None:
    user = User(pk=7, email="nvr@example.com")
    found = heading_of(user_context(object=user, title=title))
    assert found == Heading(
        text=text, parents=(USERS, Parent(text="nvr@example.com", url="/admin/accounts/user/7/change/"))
    )


def test_form_of_a_new_row_is_below_the_list() -> None:
    assert heading_of(user_context(title="Add user")) == Heading(text="Add user", parents=(USERS,))


def test_page_without_a_model_has_its_title() -> None:
    assert heading_of({"title": "Notifications"}) == Heading(text="Notifications")
    assert heading_of(Context({"title": "Notifications"}).flatten()) == Heading(text="Notifications")


@pytest.mark.django_db
def test_landmarks_are_where_unfold_has_its_elements(admin_client: Client) -> None:
    """Fails when a new version of unfold names them differently."""
    page = admin_client.get("/admin/password_change/").content.decode()
    for before, after in LANDMARKS:
        assert page.count(after) == page.count(before) == 1
    assert with_landmarks(mark_safe("<p>")) == "<p>"


@pytest.mark.django_db
def test_names_are_text(admin_client: Client) -> None:
    device = make_device(name="<b>nvr</b>")
    page = admin_client.get(reverse("admin:inventory_device_change", args=[device.pk])).content.decode()
    assert '<h1 title="&lt;b&gt;nvr&lt;/b&gt;">&lt;b&gt;nvr&lt;/b&gt;</h1>' in page
    assert "<title>&lt;b&gt;nvr&lt;/b&gt; | Devices | HomeRack</title>" in page.replace("<title> ", "<title>")
