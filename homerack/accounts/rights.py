"""Which permissions users may give to others, and which users they may manage.

Users give no more permissions than they have, and do not manage users who have more. Otherwise the permission to change
users would include all others.
"""

from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.db.models import Q, QuerySet

from homerack.accounts.models import User

Actor = User | AnonymousUser


def permissions_of(user: Actor) -> QuerySet[Permission]:
    """Those that `user` has, or would have as an active user, without those of a superuser."""
    return Permission.objects.filter(Q(user=user.pk) | Q(group__user=user.pk)).distinct()


def grantable_permissions(actor: Actor) -> QuerySet[Permission]:
    """Those that `actor` may give to others."""
    return Permission.objects.all() if actor.is_superuser else permissions_of(actor)


def grantable_groups(actor: Actor) -> QuerySet[Group]:
    """The groups whose permissions `actor` may give, all of them."""
    if actor.is_superuser:
        return Group.objects.all()
    return Group.objects.exclude(permissions__in=Permission.objects.exclude(pk__in=permissions_of(actor).values("pk")))


def may_manage(actor: Actor, user: User) -> bool:
    """Whether `actor` may change or delete `user`, who has no more rights than `actor` has."""
    if actor.is_superuser:
        return True
    return (
        not user.is_superuser and not permissions_of(user).exclude(pk__in=permissions_of(actor).values("pk")).exists()
    )
