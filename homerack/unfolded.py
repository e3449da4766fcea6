"""django-unfold's admin classes with the types of Django's, which they extend. Admin modules take them from here.

`ModelAdmin[Rack]` is for type checkers; at run time it is the class itself.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.auth.admin import UserAdmin
    from django.forms import ModelForm
else:
    from django import forms
    from django.contrib.auth import admin as auth
    from unfold import admin

    class ModelAdmin(admin.ModelAdmin):
        def __class_getitem__(cls, model: Any) -> type:
            return cls

    class UserAdmin(auth.UserAdmin, ModelAdmin):
        pass

    class TabularInline(admin.TabularInline):
        def __class_getitem__(cls, model: Any) -> type:
            return cls

    class ModelForm(forms.ModelForm):
        def __class_getitem__(cls, model: Any) -> type:
            return cls


__all__ = ["ModelAdmin", "ModelForm", "TabularInline", "UserAdmin"]
