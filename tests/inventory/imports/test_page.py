"""The page that imports device types."""

import datetime as dt
import html
from collections.abc import Iterable
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from homerack.accounts.models import User
from homerack.inventory.admin import import_device_types
from homerack.inventory.models import Brand, DeviceModel
from tests.inventory.factories import make_type
from tests.inventory.imports.support import PDU, SWITCH, device_type, make_archive, public_files

pytestmark = pytest.mark.django_db

PAGE, LIST = "/admin/inventory/devicemodel/import/", "/admin/inventory/devicemodel/"


def upload(client: Client, files: Iterable[tuple[str, str | bytes]] = (), **data: Any) -> Any:
    content = [SimpleUploadedFile(name, text.encode() if isinstance(text, str) else text) for name, text in files]
    return client.post(PAGE, {"files": content, **data})


def confirm(client: Client, preview: Any, **data: Any) -> Any:
    return client.post(PAGE, {"upload": preview.context["upload"], **data})


def messages_of(response: HttpResponse) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]  # type: ignore[attr-defined]


def text_of(response: HttpResponse) -> str:
    return " ".join(html.unescape(response.content.decode()).split())


def names(rows: Iterable[Any]) -> list[str]:
    return [row.label for row in rows]


def test_files_are_shown_and_then_imported(editor_client: Client) -> None:
    assert editor_client.get(PAGE).status_code == 200
    archive = make_archive([("Acme/ax-24.yaml", SWITCH)])
    preview = upload(editor_client, [("types.zip", archive), ("strip.yml", PDU)])
    assert names(preview.context["plan"].new(DeviceModel)) == ["Acme Networks AX-24", "Acme Power Strip 2"]
    assert "2 new models</b> will be added. 2 brands are new. 2 device types are new: Switch, PDU." in text_of(preview)
    assert not Brand.objects.exists()
    done = confirm(editor_client, preview)
    assert (done.status_code, done["Location"]) == (302, LIST)
    assert messages_of(done) == ["Imported 2 new device types, 2 new brands and 2 new models."]
    assert DeviceModel.objects.count() == 2


def test_a_pasted_text_is_imported_with_the_chosen_type(editor_client: Client) -> None:
    chosen = make_type("server")
    preview = upload(editor_client, text=f"{SWITCH}---\n{PDU}", device_type=chosen.pk)
    assert "guessed" not in text_of(preview)
    confirm(editor_client, preview)
    assert set(DeviceModel.objects.values_list("device_type", flat=True)) == {chosen.pk}


def test_a_second_import_has_nothing_to_do(editor_client: Client) -> None:
    confirm(editor_client, upload(editor_client, text=SWITCH))
    again = upload(editor_client, text=SWITCH)
    assert "All of these models are in the catalogue already." in text_of(again)
    assert 'name="upload"' not in text_of(again)


def test_other_values_are_shown_and_kept_unless_the_user_replaces_them(editor_client: Client) -> None:
    confirm(editor_client, upload(editor_client, text=SWITCH))
    DeviceModel.objects.update(height_u=2)
    preview = upload(editor_client, text=SWITCH)
    cells = '>height (U)</td><td data-label="In the catalogue">2</td><td data-label="In the file">1</td>'
    assert cells in text_of(preview)
    assert messages_of(confirm(editor_client, preview)) == ["Nothing was imported."]
    assert DeviceModel.objects.get().height_u == 2
    assert messages_of(confirm(editor_client, preview, overwrite="on"))[-1] == "Imported 1 changed model."
    assert DeviceModel.objects.get().height_u == 1


def test_faults_are_named_and_the_rest_is_imported(editor_client: Client) -> None:
    preview = upload(
        editor_client, [("a.yaml", device_type(u_height="<b>")), ("b.zip", b"PK\x03\x04"), ("c.yaml", SWITCH)]
    )
    assert "a.yaml, line 3, u_height: “<b>” is not a number." in text_of(preview)
    assert "<b>" not in preview.content.decode().replace("<b>1 new model</b>", "")
    assert "b.zip: The archive is damaged: File is not a zip file." in text_of(preview)
    confirm(editor_client, preview)
    assert DeviceModel.objects.count() == 1


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        ({}, "Choose a file, or paste a text."),
        ({"text": " \n"}, "Choose a file, or paste a text."),
        (
            {"text": SWITCH, "device_type": "99"},
            "Select a valid choice. That choice is not one of the available choices.",
        ),
    ],
)
def test_a_form_that_cannot_be_read_says_why(editor_client: Client, data: dict[str, str], mistake: str) -> None:
    response = upload(editor_client, **data)
    assert response.status_code == 422
    assert mistake in text_of(response)


def test_files_are_limited_together(editor_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_device_types, "MAX_UPLOAD", 1_000_000)
    half = b"#" * 600_000
    assert upload(editor_client, [("a.yaml", half)]).status_code == 200
    response = upload(editor_client, [("a.yaml", half), ("b.yaml", half)])
    assert "The files have more than 1 MB. Nothing was kept." in text_of(response)


def test_more_files_than_a_form_may_have_are_refused(editor_client: Client) -> None:
    response = upload(editor_client, [(f"{number}.yaml", b"a") for number in range(101)])
    assert response.status_code == 400
    assert "A form may have 100 files." in text_of(response)


def test_a_text_above_the_limit_of_forms_is_refused(editor_client: Client) -> None:
    assert upload(editor_client, text="#" * 1_000_001).status_code == 413


def test_a_changed_catalogue_is_shown_before_it_is_imported(editor_client: Client) -> None:
    preview = upload(editor_client, text=SWITCH)
    confirm(editor_client, upload(editor_client, text=SWITCH))
    DeviceModel.objects.update(height_u=3)
    answer = confirm(editor_client, preview, overwrite="on")
    assert answer.status_code == 200
    assert "The catalogue has changed since the preview. Nothing was imported." in text_of(answer)
    assert DeviceModel.objects.get().height_u == 3
    assert messages_of(confirm(editor_client, answer, overwrite="on"))[-1] == "Imported 1 changed model."


def test_a_preview_is_of_its_user_and_of_this_day(editor_client: Client, admin_client: Client) -> None:
    preview = upload(editor_client, text=SWITCH)
    old = ["The preview is too old. Nothing was imported. Choose the files again."]
    assert messages_of(confirm(admin_client, preview)) == old
    assert messages_of(editor_client.post(PAGE, {"upload": "x" + preview.context["upload"]})) == old
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=13)):
        client = Client()
        client.force_login(User.objects.get(email="Editors@example.com"))
        assert messages_of(confirm(client, preview)) == old
    assert not DeviceModel.objects.exists()


def test_the_page_is_for_users_who_may_add_brands_models_and_types(
    viewer_client: Client, editor_client: Client, stranger_client: Client
) -> None:
    assert [client.get(PAGE).status_code for client in (viewer_client, stranger_client)] == [403, 403]
    assert [upload(client, text=SWITCH).status_code for client in (viewer_client, stranger_client)] == [403, 403]
    assert PAGE not in text_of(viewer_client.get(LIST))
    assert PAGE in text_of(editor_client.get(LIST))


def test_a_user_who_may_not_change_models_overwrites_none(editor_client: Client) -> None:
    confirm(editor_client, upload(editor_client, text=SWITCH))
    DeviceModel.objects.update(height_u=2)
    user = User.objects.create_user("adder@example.com", is_staff=True)
    adding = Permission.objects.filter(codename__in=["add_brand", "add_devicemodel", "add_devicetype"])
    user.user_permissions.set(adding)
    client = Client()
    client.force_login(user)
    preview = upload(client, text=f"{SWITCH}---\n{PDU}")
    assert 'name="overwrite"' not in text_of(preview)
    done = confirm(client, preview, overwrite="on")
    assert messages_of(done) == ["Imported 1 new device type, 1 new brand and 1 new model."]
    assert DeviceModel.objects.get(name="AX-24").height_u == 2


def test_a_form_without_a_token_is_refused(editor_client: Client) -> None:
    client = Client(enforce_csrf_checks=True)
    client.cookies = editor_client.cookies
    assert upload(client, text=SWITCH).status_code == 403


def test_a_plan_that_is_too_large_for_a_form_leads_to_the_command(
    editor_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_device_types, "MAX_SIGNED", 100)
    preview = upload(editor_client, text=SWITCH)
    assert "manage.py import_device_types PATH" in text_of(preview)
    assert 'name="upload"' not in text_of(preview)


@pytest.mark.slow
def test_all_public_device_types_fit_into_a_form(editor_client: Client) -> None:
    folder = public_files()
    files = [(str(path.relative_to(folder)), path.read_bytes()) for path in folder.rglob("*.y*ml")]
    preview = upload(editor_client, [("types.zip", make_archive(files))])
    assert len(preview.context["upload"]) < 150_000
    done = confirm(editor_client, preview)
    assert messages_of(done) == ["Imported 11 new device types, 28 new brands and 810 new models."]
