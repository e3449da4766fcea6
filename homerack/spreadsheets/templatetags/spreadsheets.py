"""The links of a list to its export and to the import."""

from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList
from django.urls import reverse

register = template.Library()


@register.inclusion_tag("spreadsheets/_list_links.html", takes_context=True)
def spreadsheet_links(context: template.Context, cl: ChangeList) -> dict[str, Any]:
    """The export has the rows of the list, on all of its pages; an empty list has none."""
    # unfold loads this library while its own admin classes are imported.
    from homerack.inventory.spreadsheets.tables import table_of  # noqa: PLC0415
    from homerack.spreadsheets.rights import importable  # noqa: PLC0415

    request = context["request"]
    table = table_of(cl.model)
    query = request.GET.urlencode()
    exports = [
        (kind.upper(), reverse("admin:spreadsheets_export", args=(table.name, kind)) + (f"?{query}" if query else ""))
        for kind in (("csv", "xlsx") if cl.result_count else ())
    ]
    may_import = table in importable(request.user)
    return {
        "exports": exports,
        "title": table.title,
        "is_popup": cl.is_popup,
        "import_url": reverse("admin:spreadsheets") if may_import else "",
        "device_types_url": reverse("admin:inventory_devicemodel_import")
        if table.name == "models"
        and may_import
        and request.user.has_perms(("inventory.add_brand", "inventory.add_devicetype"))
        else "",
    }
