"""The heading of a page of the admin, its title in the browser, and the pages above it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst

SITE = "HomeRack"


@dataclass(frozen=True, kw_only=True)
class Parent:
    text: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Heading:
    """`text` is the page's h1; `parents` lead to it, from the list to the object."""

    text: str
    parents: tuple[Parent, ...] = ()

    @property
    def title(self) -> str:
        """Of the browser's tab."""
        return " | ".join((self.text, *(parent.text for parent in reversed(self.parents)), SITE))


def heading_of(context: Mapping[str, Any]) -> Heading:
    """From what Django's views and those of `ops` give to their templates. Names of objects keep their spelling."""
    title, opts = str(context.get("title") or ""), context.get("opts")
    if opts is None:
        return Heading(text=title)
    name = str(capfirst(opts.verbose_name_plural))
    if context.get("cl"):
        return Heading(text=name)
    parents = parent(name, f"admin:{opts.app_label}_{opts.model_name}_changelist")
    shown = next((found for key in ("original", "object") if isinstance(found := context.get(key), Model)), None)
    if shown is None:
        return Heading(text=title, parents=parents)
    if context.get("subtitle") == str(shown):
        return Heading(text=str(shown), parents=parents)
    # Django's titles of other pages of an object name it again: "Change history: ada@example.com".
    text = title.removesuffix(f": {shown}")
    if str(shown) not in text:
        parents += parent(str(shown), f"admin:{opts.app_label}_{opts.model_name}_change", shown.pk)
    return Heading(text=text, parents=parents)


def parent(text: str, view: str, *arguments: Any) -> tuple[Parent, ...]:
    try:
        return (Parent(text=text, url=reverse(view, args=arguments)),)
    except NoReverseMatch:
        return ()
