"""What the templates of the frame around all pages need."""

from typing import Any

from django import forms, template
from django.utils.safestring import SafeString

from homerack.web.headings import Heading, heading_of

register = template.Library()


@register.simple_tag(takes_context=True)
def heading(context: template.Context) -> Heading:
    """The heading of the page."""
    values: Any = context.flatten()
    return heading_of(values)


@register.simple_tag
def mistakes_of_form(form: forms.BaseForm) -> list[Any]:
    """For pages of a single form that is not one of an admin class."""
    # unfold loads this library while its own admin classes are imported.
    from homerack.web.failed_saves import mistakes_of  # noqa: PLC0415

    return list(mistakes_of(form))


@register.filter
def with_name(field: forms.BoundField, name: str = "") -> SafeString:
    """The field of a table, named by `name` or its label: the head of its column is not visible on a phone."""
    return field.as_widget(attrs={"aria-label": name or str(field.label)})


@register.filter
def with_landmarks(page: SafeString) -> SafeString:
    """unfold's page with a main landmark, and with the place that the skip link leads to.

    unfold has plain ``div`` elements, and no block in which a template could replace them alone.
    """
    changed = str(page)
    for before, after in LANDMARKS:
        changed = changed.replace(before, after, 1)
    return SafeString(changed)  # rendered by a template, and changed by constants only


LANDMARKS = (
    ('<div id="main"', '<div id="main" role="main"'),
    ('<div id="content"', '<div id="content" tabindex="-1"'),
    ('<nav id="nav-sidebar-inner"', '<nav id="nav-sidebar-inner" aria-label="HomeRack"'),
)
