"""The pages of the history: the timeline with its filters, one entry, and the history of one row."""

import datetime as dt
import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from homerack.accounts.models import User
from homerack.history.admin import pages
from homerack.history.change_sets import change_set
from homerack.history.entry_points import EntryPoint
from homerack.history.models import ChangeSet
from homerack.inventory.models import Device, Rack
from tests.inventory.factories import connect, make_device, make_model, make_rack, place

pytestmark = pytest.mark.django_db

TIMELINE = "/admin/history/changeset/"


def text_of(response: Any) -> str:
    """What a user reads on the page, in one line, without the frame."""
    assert response.status_code == 200
    shown = response.content.decode().partition('class="history-page"')[2]
    shown = re.sub(r"<(form|select)\b.*?</\1>", " ", shown, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown)))


def headings(response: Any) -> list[str]:
    assert response.status_code == 200
    return [one.entry.heading for one in response.context["entries"]]


def rows_of(response: Any) -> list[Any]:
    return [linked.row for one in response.context["entries"] for linked in one.rows]


def cells_of(row: Any) -> dict[str, tuple[str | None, str | None]]:
    return {cell.label: (cell.old, cell.new) for cell in row.cells}


def viewer_of(*names: str) -> Client:
    """A user with the permissions to view these models, and no other."""
    user = User.objects.create_user("limited@example.com", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"view_{name}" for name in names]))
    client = Client()
    client.force_login(user)
    return client


class TestTimeline:
    def test_it_shows_who_when_through_what_and_old_and_new_values(self, editor_client: Client) -> None:
        model = make_model(name="Tower")
        device = Device.objects.create(custom_name="nas-01", model=model, notes="first")
        other = make_model(name="Cube")
        form = {
            "custom_name": "nas-02",
            "model": other.pk,
            "access_frequency": "low",
            "notes": "",
            "positions-TOTAL_FORMS": 0,
            "positions-INITIAL_FORMS": 0,
            "cables_from-TOTAL_FORMS": 0,
            "cables_from-INITIAL_FORMS": 0,
            "cables_to-TOTAL_FORMS": 0,
            "cables_to-INITIAL_FORMS": 0,
        }
        saved = editor_client.post(f"/admin/inventory/device/{device.pk}/change/", form)
        assert saved.status_code == 302
        newest = editor_client.get(TIMELINE).context["entries"][0]
        assert newest.entry.heading == "Device nas-02 changed"
        assert newest.entry.change_set.user_name == "Editors@example.com"
        (row,) = newest.rows
        assert cells_of(row.row) == {
            "Name": ("nas-01", "nas-02"),
            "Model": ("Acme Tower", "Acme Cube"),
            "Access": ("occasional", "rare"),
            "Notes": ("first", "–"),
        }
        shown = text_of(editor_client.get(TIMELINE))
        assert "Editors@example.com Page" in shown
        assert "Name from nas-01 → to nas-02" in shown

    def test_newest_is_first_and_pages_follow_one_another(
        self, editor_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pages, "ENTRIES", 2)
        for number in range(5):
            make_rack(f"R{number}")
        ChangeSet.objects.update(time=timezone.now())  # the key decides where times are equal
        seen, address = [], TIMELINE
        while address:
            page = editor_client.get(address)
            seen.append(headings(page)[:2])
            address = page.context["older"] and TIMELINE + page.context["older"]
        racks = [heading for two in seen for heading in two if heading.startswith("Rack")]
        assert racks == [f"Rack R{number} created" for number in (4, 3, 2, 1, 0)]
        back = editor_client.get(TIMELINE + page.context["newer"])
        assert headings(back) == seen[-2]

    def test_large_import_is_one_entry_with_counts(self, editor_client: Client) -> None:
        model = make_model()
        with change_set(EntryPoint.IMPORT, description="Import of lab.xlsx"):
            for number in range(60):
                Device.objects.create(custom_name=f"n{number:02}", model=model)
        entry = editor_client.get(TIMELINE).context["entries"][0]
        assert entry.entry.heading == "Import of lab.xlsx"
        assert [str(count) for count in entry.entry.counts] == ["60 devices created"]
        assert len(entry.rows) == 5
        assert entry.entry.further_text == "and 55 more rows"

    def test_queries_do_not_grow_with_rows(self, editor_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pages, "ENTRIES", 1000)

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert editor_client.get(TIMELINE).status_code == 200
            return len(captured)

        def change(number: int) -> None:
            one, two = make_device(f"a{number}"), make_device(f"b{number}")
            rack = make_rack(f"R{number}")
            with change_set(EntryPoint.IMPORT):
                place(one, rack, 1)
                place(two, rack, 2)
                connect(one, two)
                one.model.weight_kg = 3
                one.model.save()

        change(1)
        queries()
        few = queries()
        for number in range(2, 6):
            change(number)
        assert queries() == few

    def test_deleted_related_rows_keep_their_names(self, editor_client: Client) -> None:
        position = place(make_device("gone"), make_rack("Attic"))
        position.device.delete()
        position.rack.delete()
        shown = text_of(editor_client.get(TIMELINE))
        assert "gone at U1 of Attic" in shown
        assert "Device gone" in shown

    def test_numbers_choices_and_json_are_as_users_know_them(self, editor_client: Client) -> None:
        make_model(height_u=2.0, typical_ports={"sfp": 4}, airflow_pattern="front_to_back", weight_kg=1.5)
        values = cells_of(rows_of(editor_client.get(f"{TIMELINE}?kind=devicemodel"))[0])
        assert values["Height (U)"] == (None, "2")
        assert values["Weight (kg)"] == (None, "1.5")
        assert values["Ports"] == (None, "4 × sfp")
        assert values["Airflow"] == (None, "front to back")

    def test_names_are_escaped(self, editor_client: Client) -> None:
        make_rack("<script>alert(1)</script>")
        page = editor_client.get(TIMELINE).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page

    def test_it_only_reads(self, editor_client: Client) -> None:
        assert editor_client.post(TIMELINE).status_code == 405


class TestFilters:
    @pytest.fixture(autouse=True)
    def lab(self) -> None:
        ada = User.objects.create_user("ada@example.com")
        with change_set(EntryPoint.FORM, ada):
            make_rack("Attic")
        with change_set(EntryPoint.COMMAND, description="load_demo"):
            device = make_device("nas-01")
        with change_set(EntryPoint.ACTION, ada):
            place(device, Rack.objects.get(), 3)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("kind=rack", ["Rack Attic created"]),
            ("person=ADA@", ["Rack position nas-01 at U3 of Attic created", "Rack Attic created"]),
            ("through=action", ["Rack position nas-01 at U3 of Attic created"]),
            ("q=attic", ["Rack position nas-01 at U3 of Attic created", "Rack Attic created"]),
            ("q=NAS&through=command", ["load_demo"]),
            ("q=nas&kind=rack", []),
            ("until=2001-01-01", []),
            ("since=2001-01-01&kind=brand", ["load_demo"]),
        ],
    )
    def test_entries_are_filtered(self, editor_client: Client, query: str, expected: list[str]) -> None:
        assert headings(editor_client.get(f"{TIMELINE}?{query}")) == expected

    def test_search_shows_the_rows_that_match(self, editor_client: Client) -> None:
        page = editor_client.get(f"{TIMELINE}?q=nas&through=command")
        assert [row.name for row in rows_of(page)] == ["nas-01"]

    def test_days_are_those_of_the_site(self, editor_client: Client, settings: Any) -> None:
        settings.TIME_ZONE = "Pacific/Auckland"
        ChangeSet.objects.update(time=dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC))  # 2 March there
        with timezone.override("Pacific/Auckland"):
            assert headings(editor_client.get(f"{TIMELINE}?until=2026-03-01")) == []
            assert headings(editor_client.get(f"{TIMELINE}?since=2026-03-02&kind=rack")) == ["Rack Attic created"]

    def test_filters_stay_on_the_next_page(self, editor_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pages, "ENTRIES", 1)
        older = editor_client.get(f"{TIMELINE}?person=ada").context["older"]
        assert older.startswith("?person=ada&older=")
        assert headings(editor_client.get(TIMELINE + older)) == ["Rack Attic created"]

    @pytest.mark.parametrize("query", ["since=2026-02-30", "until=9999-12-31", "since=2026-02-02&until=2026-02-01"])
    def test_wrong_days_are_explained(self, editor_client: Client, query: str) -> None:
        page = editor_client.get(f"{TIMELINE}?{query}")
        assert page.status_code == 200
        assert page.context["form"].errors
        assert "entries" not in page.context

    def test_nothing_matches(self, editor_client: Client) -> None:
        assert "No entries match" in text_of(editor_client.get(f"{TIMELINE}?q=no-such-row"))

    @pytest.mark.parametrize("query", ["older=x", "older=999999", "newer=999999999999999999999"])
    def test_page_after_no_entry_is_the_first(self, editor_client: Client, query: str) -> None:
        assert headings(editor_client.get(f"{TIMELINE}?kind=rack&{query}")) == ["Rack Attic created"]


class TestEntry:
    def test_all_rows_are_shown_page_by_page(self, editor_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pages, "ROWS", 4)
        with change_set(EntryPoint.IMPORT, description="Import of lab.xlsx"):
            for number in range(3):
                place(make_device(f"n{number}"), make_rack(f"R{number}"))
        key = ChangeSet.objects.get(entry_point="import").pk
        names: list[str] = []
        for number in range(1, 10):
            page = editor_client.get(f"{TIMELINE}{key}/?page={number}")
            names += [linked.row.name for linked in page.context["rows"]]
            if not page.context["page"].has_next():
                break
        assert len(names) == sum(count.number for count in page.context["counts"])
        assert len(set(names)) == len(names)
        assert {"n0", "R2", "n2 at U1 of R2", "Acme"} <= set(names)

    def test_unknown_entry_is_not_found(self, editor_client: Client) -> None:
        assert editor_client.get(f"{TIMELINE}999999/").status_code == 404

    def test_entries_of_a_revert_name_each_other(self, editor_client: Client) -> None:
        rack = make_rack("Attic")
        first = ChangeSet.objects.latest("pk")
        with change_set(EntryPoint.REVERT, reverts=first):
            rack.delete()
        second = ChangeSet.objects.latest("pk")
        assert f'href="{TIMELINE}{second.pk}/"' in editor_client.get(f"{TIMELINE}{first.pk}/").content.decode()
        assert f'href="{TIMELINE}{first.pk}/"' in editor_client.get(f"{TIMELINE}{second.pk}/").content.decode()


class TestRow:
    def test_history_button_shows_the_row_and_the_rows_of_its_form(self, editor_client: Client) -> None:
        device, other = make_device("nas-01"), make_device("other")
        position = place(device, make_rack("Attic"), 1)
        position.rack = make_rack("Cellar")
        position.save()
        page = editor_client.get(f"/admin/inventory/device/{device.pk}/history/")
        assert headings(page) == [
            "Rack position nas-01 at U1 of Cellar changed",
            "Rack position nas-01 at U1 of Attic created",
            "Device nas-01 created",
        ]
        assert "Rack from Attic → to Cellar" in text_of(page)
        assert headings(editor_client.get(f"/admin/inventory/device/{other.pk}/history/")) == ["Device other created"]

    def test_rack_shows_what_has_left_it(self, editor_client: Client) -> None:
        position = place(make_device("nas-01"), make_rack("Attic"), 1)
        attic = position.rack
        position.rack = make_rack("Cellar")
        position.save()
        position.start_u = 7
        position.save()
        page = editor_client.get(f"/admin/inventory/rack/{attic.pk}/history/")
        assert headings(page)[0] == "Rack position nas-01 at U1 of Cellar changed"
        assert len(headings(page)) == 3

    def test_deleted_row_has_its_history(self, editor_client: Client) -> None:
        rack = make_rack("Attic")
        key = rack.pk
        rack.delete()
        assert f'href="/admin/history/changeset/row/rack/{key}/"' in editor_client.get(TIMELINE).content.decode()
        page = editor_client.get(f"/admin/history/changeset/row/rack/{key}/")
        assert headings(page) == ["Rack Attic deleted", "Rack Attic created"]
        assert "which was deleted" in text_of(page)

    def test_live_rows_are_linked_and_deleted_ones_are_not(self, editor_client: Client) -> None:
        live, gone = make_rack("Attic"), make_rack("Cellar")
        address = f"/admin/inventory/rack/{gone.pk}/change/"
        gone.delete()
        page = editor_client.get(TIMELINE).content.decode()
        assert f"/admin/inventory/rack/{live.pk}/change/" in page
        assert address not in page

    @pytest.mark.parametrize("path", ["rack/999999/", "rack/abc/", "rack/99999999999999999999/", "group/1/"])
    def test_unknown_row_is_not_found(self, admin_client: Client, path: str) -> None:
        assert admin_client.get(f"/admin/history/changeset/row/{path}").status_code == 404

    def test_models_without_a_history_keep_the_page_of_django(self, admin_client: Client) -> None:
        group = Group.objects.create(name="Guests")
        assert admin_client.get(f"/admin/auth/group/{group.pk}/history/").status_code == 200


class TestPermissions:
    def test_only_models_that_the_user_may_view_are_shown(self) -> None:
        client = viewer_of("rack")
        with change_set(EntryPoint.IMPORT, description="Import of lab.xlsx"):
            make_rack("Attic")
            make_device("secret-device")
        make_device("another-secret")
        page = client.get(TIMELINE)
        assert [row.name for row in rows_of(page)] == ["Attic"]
        assert "secret" not in page.content.decode()
        key = ChangeSet.objects.get(entry_point="import").pk
        entry = client.get(f"{TIMELINE}{key}/")
        assert [str(count) for count in entry.context["counts"]] == ["1 rack created"]
        assert "secret" not in entry.content.decode()
        assert headings(client.get(f"{TIMELINE}?q=secret")) == []

    def test_entry_without_a_row_that_the_user_may_view_is_refused(self) -> None:
        client = viewer_of("rack")
        device = make_device("secret-device")
        key = ChangeSet.objects.latest("pk").pk
        assert client.get(f"{TIMELINE}{key}/").status_code == 403
        assert client.get(f"/admin/history/changeset/row/device/{device.pk}/").status_code == 403

    def test_positions_of_a_device_need_their_own_permission(self) -> None:
        position = place(make_device("nas-01"), make_rack("Attic"))
        page = viewer_of("device").get(f"/admin/inventory/device/{position.device_id}/history/")
        assert headings(page) == ["Device nas-01 created"]

    def test_users_are_for_those_who_may_view_users(self, viewer_client: Client, admin_client: Client) -> None:
        user = User.objects.create_user("carla@example.com", "a-secret-password", full_name="Carla")
        user.groups.add(Group.objects.get(name="Editors"))
        address = f"/admin/accounts/user/{user.pk}/history/"
        assert viewer_client.get(address).status_code == 403
        assert "carla" not in viewer_client.get(TIMELINE).content.decode()
        page = admin_client.get(address)
        assert cells_of(rows_of(page)[0]) == {"Groups": ("–", "Editors")}
        assert user.password not in page.content.decode()
        assert "Password" not in text_of(page)

    def test_user_without_any_permission_gets_no_page_and_no_entry(self, stranger_client: Client) -> None:
        assert stranger_client.get(TIMELINE).status_code == 403
        assert "/admin/history/" not in stranger_client.get("/admin/").content.decode()

    def test_sidebar_leads_to_the_timeline(self, viewer_client: Client) -> None:
        assert f'href="{TIMELINE}"' in viewer_client.get("/admin/").content.decode()

    def test_signed_out_visitor_is_sent_to_the_sign_in(self, client: Client) -> None:
        assert client.get(TIMELINE).status_code == 302
