"""Users, who sign in with their e-mail address."""

from collections.abc import Collection
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import Group, PermissionsMixin
from django.core.mail import send_mail
from django.db import models
from django.db.models import CharField, Value
from django.db.models.functions import Lower
from django.utils import timezone

from homerack.history.tracking import State, TrackedModel, TrackedQuerySet
from homerack.ordering import Alphabetical


class UserManager(BaseUserManager["User"]):
    """Creates users. E-mail addresses are compared without regard to case."""

    def get_queryset(self) -> TrackedQuerySet["User"]:
        return TrackedQuerySet(self.model, using=self._db)

    def get_by_natural_key(self, username: str | None) -> "User":
        """The user with this address, which is compared as in the table's unique constraint."""
        return self.alias(lowered=Lower("email")).get(lowered=Lower(Value(username, output_field=CharField())))

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        if not email:
            raise ValueError("A user needs an e-mail address.")
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, **fields, is_staff=True, is_superuser=True)


class User(TrackedModel, AbstractBaseUser, PermissionsMixin):
    """A user. Permissions come from groups; `is_staff` gives access to the admin."""

    email = models.EmailField("e-mail address", max_length=255, unique=True)
    full_name = models.CharField("full name", max_length=255, blank=True)
    is_staff = models.BooleanField("staff status", default=False)
    is_active = models.BooleanField("active", default=True, help_text="Unselect this instead of deleting the account.")
    created_at = models.DateTimeField("created", default=timezone.now, editable=False)
    updated_at = models.DateTimeField("changed", auto_now=True)

    objects: ClassVar[UserManager] = UserManager()

    untracked_fields = ("password", "last_login")
    extra_history_fields: ClassVar = {"group_names": models.JSONField("groups", default=list)}

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        base_manager_name = "objects"
        ordering = (Alphabetical("email"), "pk")
        constraints = (
            models.UniqueConstraint(
                Lower("email"),
                name="accounts_user_email_without_case",
                violation_error_message="A user with this e-mail address exists.",
            ),
        )

    def __str__(self) -> str:
        return self.email

    @classmethod
    def extra_states(cls, keys: Collection[Any], *, using: str) -> dict[Any, State]:
        """The groups of users by name: a group that was deleted has no number."""
        states: dict[Any, State] = {key: {"group_names": []} for key in keys}
        pairs = cls.groups.through._default_manager.using(using).filter(user__in=keys)
        for key, name in pairs.order_by("group__name").values_list("user_id", "group__name"):
            states[key]["group_names"].append(name)
        return states

    @classmethod
    def write_extra_state(cls, key: Any, state: State, *, using: str) -> None:
        """Those groups that there are still."""
        groups = Group.objects.using(using)
        memberships = cls.groups.through._default_manager.using(using)
        memberships.filter(user=key).delete()
        found = groups.filter(name__in=state["group_names"])
        memberships.bulk_create([cls.groups.through(user_id=key, group_id=group.pk) for group in found])

    def get_full_name(self) -> str:
        return self.full_name

    def get_short_name(self) -> str:
        return self.full_name.partition(" ")[0] or self.email

    def email_user(self, subject: str, message: str, from_email: str | None = None, **kwargs: Any) -> None:
        send_mail(subject, message, from_email, [self.email], **kwargs)
