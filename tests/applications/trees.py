"""django-mptt and django-treebeard: trees that were moved about, the three kinds of treebeard's, and odd names."""

from typing import Any

from django.db import models
from mptt.models import MPTTModel, TreeForeignKey
from treebeard.al_tree import AL_Node
from treebeard.mp_tree import MP_Node
from treebeard.ns_tree import NS_Node

NAMES = ["", "Größe", "a\tb\n", "\\N", "日本", "e\u0301", "'\"%s", "x" * 200, "A", "a", "\u202e", "NULL"]


class Place(MPTTModel):
    name = models.CharField(max_length=200, blank=True)
    parent = TreeForeignKey("self", models.CASCADE, null=True, related_name="children")

    class MPTTMeta:
        order_insertion_by = ("name",)


class Path(MP_Node):
    name = models.CharField(max_length=200, blank=True)


class SortedPath(MP_Node):
    """With all letters and digits in its paths, which sort by their bytes."""

    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    steplen = 2
    node_order_by = ("name", "rank")
    name = models.CharField(max_length=200, blank=True)
    rank = models.FloatField(default=0)


class Interval(NS_Node):
    name = models.CharField(max_length=200, blank=True)


class Neighbour(AL_Node):
    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children_set")
    sib_order = models.PositiveIntegerField()
    name = models.CharField(max_length=200, blank=True)


TREES = (Path, SortedPath, Interval, Neighbour)


def fill() -> None:
    for model in TREES:
        fill_treebeard(model)
    roots = [Place.objects.create(name=name) for name in NAMES]
    for root in roots:
        children = [Place.objects.create(name=name, parent=Place.objects.get(pk=root.pk)) for name in NAMES[:5]]
        Place.objects.create(name="deep", parent=Place.objects.get(pk=children[-1].pk))
    for moved, target, position in [(0, 3, "first-child"), (5, 3, "last-child"), (7, 8, "left"), (9, 2, "right")]:
        Place.objects.get(pk=roots[moved].pk).move_to(Place.objects.get(pk=roots[target].pk), position)
    Place.objects.get(pk=roots[4].pk).delete()


def fill_treebeard(model: Any) -> None:
    is_sorted = bool(model.node_order_by)
    keys = [model.add_root(name=name).pk for name in NAMES]
    for key in keys:
        for name in NAMES[:4]:
            child = model.objects.get(pk=key).add_child(name=name)
        model.objects.get(pk=child.pk).add_child(name="deep")
    inside, beside = ("sorted-child", "sorted-sibling") if is_sorted else ("first-child", "left")
    model.objects.get(pk=keys[0]).move(model.objects.get(pk=keys[3]), inside)
    model.objects.get(pk=keys[5]).move(model.objects.get(pk=keys[3]).get_children()[1], inside)
    model.objects.get(pk=keys[7]).move(model.objects.get(pk=keys[8]), beside)
    model.objects.get(pk=keys[2]).delete()


def check() -> dict[str, Any]:
    found: dict[str, Any] = {
        model.__name__: [
            model.find_problems() if issubclass(model, MP_Node) else [],
            [[node.name, node.get_depth(), node.get_children_count()] for root in roots(model) for node in tree(root)],
        ]
        for model in TREES
    }
    found["Place"] = [[place.name, place.level, place.get_descendant_count()] for place in Place.objects.all()]
    found["ancestors"] = [
        [ancestor.name for ancestor in place.get_ancestors()] for place in Place.objects.filter(name="deep")
    ]
    found["family"] = [place.get_family().count() for place in Place.objects.order_by("pk")]
    found["unsound"] = [place.name for place in Place.objects.all() if not is_sound(place)]
    return found


def is_sound(place: Place) -> bool:
    """Whether its interval has room for its descendants only, and is within that of its parent."""
    parent = place.parent
    inside = not parent or (parent.tree_id == place.tree_id and parent.lft < place.lft < place.rght < parent.rght)
    return inside and place.rght - place.lft == 2 * place.get_descendants().count() + 1


def roots(model: Any) -> list[Any]:
    return sorted(model.get_root_nodes(), key=lambda node: node.pk)


def tree(root: Any) -> list[Any]:
    """The node and its descendants, in the order of the tree."""
    return [root, *(node for child in root.get_children() for node in tree(child))]


def change() -> None:
    Place.objects.root_nodes()[1].delete()
    for model in TREES:
        model.objects.get(pk=roots(model)[0].pk).delete()
