"""What lists say about themselves."""

from typing import Any

from django import template
from django.contrib.admin.views.main import ChangeList

register = template.Library()


@register.simple_tag
def steps_of(user: Any) -> dict[str, Any]:
    """What the user can do next in a new inventory: the context of ``dashboard/first_steps.html``."""
    # unfold loads this library while its own admin classes are imported.
    from homerack.inventory.first_steps import first_steps  # noqa: PLC0415

    return {"steps": first_steps(user)}


@register.simple_tag
def rows_shown(cl: ChangeList) -> str:
    """``40 devices``, ``1 to 50 of 131 devices``, or with a search or a filter ``3 matching devices of 131``."""
    options = cl.opts
    noun = options.verbose_name if cl.result_count == 1 else options.verbose_name_plural
    matches = bool(cl.query or cl.has_active_filters)
    text = f"{cl.result_count:,} {'matching ' if matches else ''}{noun}"
    if cl.multi_page and not cl.show_all:
        first = (cl.page_num - 1) * cl.list_per_page + 1
        last = min(first + cl.list_per_page - 1, cl.result_count)
        text = f"{first:,} to {last:,} of {text}"
    # Large lists do not count the rows that do not match.
    return f"{text} of {cl.full_result_count:,}" if matches and cl.full_result_count is not None else text
