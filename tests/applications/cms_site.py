"""django-cms and django-filer: pages in two languages with trees of plugins, folders, files and images in a tree."""

import io
from typing import Any

from cms.models import CMSPlugin, Page, PageContent, PageUrl, Placeholder
from django.contrib.auth.models import User
from django.contrib.sites.models import Site
from django.core.files.base import ContentFile
from django.db import models, transaction
from easy_thumbnails.files import get_thumbnailer
from filer.fields.image import FilerImageField
from filer.models import Clipboard, File, Folder, Image
from PIL import Image as Picture

TITLES = ["Größe", "日本", "\\N", "it's %s {}", "e\u0301", "x" * 200, "a\tb"]


class Passage(CMSPlugin):
    text = models.TextField(blank=True)
    image = FilerImageField(null=True, on_delete=models.SET_NULL)
    options = models.JSONField(default=dict)


def fill() -> None:
    user = User.objects.create_superuser("änna", password="secret")
    Site.objects.update_or_create(pk=1, defaults={"domain": "example.org", "name": "Größe"})
    fill_files(user)
    with transaction.atomic():
        fill_pages(user)


def fill_files(user: User) -> None:
    root = Folder.objects.create(name="Größe", owner=user)
    file = io.BytesIO()
    Picture.new("RGB", (30, 20)).save(file, "PNG")
    folders = [root]
    for number, title in enumerate(TITLES):
        folders.append(Folder.objects.create(name=title, parent=folders[number // 2]))
        content = ContentFile(file.getvalue(), name=f"ä {number}.png")
        image = Image.objects.create(name=title, file=content, folder=folders[-1], owner=user, original_filename=title)
        image.description = title * 100
        image.save()
        get_thumbnailer(image.file).get_thumbnail({"size": (3, 2)})
        File.objects.create(
            name=title, file=ContentFile(b"\x00" * number, name="ä.bin"), folder=None, is_public=number % 2
        )
    folders[4].parent = folders[6]
    folders[4].save()
    Image.objects.get(name="\\N").delete()
    clipboard = Clipboard.objects.create(user=user)
    clipboard.append_file(File.objects.non_polymorphic().last())


def fill_pages(user: User) -> None:
    from cms.api import add_plugin, create_page, create_page_content  # noqa: PLC0415  # needs the models

    made: list[Page] = []
    for number, title in enumerate(TITLES):
        parent = made[number // 2] if made else None
        page = create_page(
            title,
            "page.html",
            "en",
            slug=f"page-{number}",
            parent=parent and Page.objects.get(pk=parent.pk),
            created_by=user,
            in_navigation=bool(number % 2),
            meta_description=title * 5,
            reverse_id=title[:40],
        )
        create_page_content("de", f"{title[:200]} de", page, slug=f"seite-{number}", created_by=user)
        made.append(page)
        content = PageContent.admin_manager.get(page=page, language="en")
        placeholder = content.get_placeholders()[0]
        image = Image.objects.filter(name=title).first()
        outer = add_plugin(
            placeholder, "PassagePlugin", "en", text=title * 1000, image=image, options={"ä": [1.5, None]}
        )
        for text in TITLES[:number]:
            inner = add_plugin(placeholder, "PassagePlugin", "en", "first-child", outer, text=text)
            add_plugin(placeholder, "PassagePlugin", "en", target=inner, text="")
        add_plugin(placeholder, "PassagePlugin", "de", text="nur deutsch")
    Page.objects.get(pk=made[3].pk).move_page(Page.objects.get(pk=made[2].pk), "first-child")
    Page.objects.get(pk=made[4].pk).copy_with_descendants(
        target_page=Page.objects.get(pk=made[0].pk), position="last-child", user=user
    )
    Page.objects.get(pk=made[5].pk).delete()


def check() -> dict[str, Any]:
    return {
        "problems": Page.find_problems(),
        "tree": [
            [page.path, page.depth, page.numchild, page.get_title("en")] for page in Page.objects.order_by("path")
        ],
        "urls": sorted([url.language, url.path, url.slug] for url in PageUrl.objects.all()),
        "absolute": [page.get_absolute_url("de") for page in Page.objects.order_by("path")],
        "plugins": [
            [[plugin.position, plugin.plugin_type, child_texts(plugin)] for plugin in plugins(placeholder)]
            for placeholder in Placeholder.objects.order_by("pk")
        ],
        "contents": [[c.title, c.language] for c in PageContent.admin_manager.order_by("page__path", "language")],
        "found": Page.objects.search("Größe", language="en").count(),
        "folders": [[folder.name, folder.pretty_logical_path] for folder in Folder.objects.order_by("pk")],
        "files": [type(file).__name__ for file in File.objects.order_by("pk")],
        "sizes": [[image.width, image.height, image.sha1] for image in Image.objects.order_by("pk")],
        "thumbnails": [
            thumbnailer.get_existing_thumbnail({"size": (3, 2)}) is not None for thumbnailer in thumbnailers()
        ],
        "clipboard": Clipboard.objects.get().files.count(),
    }


def plugins(placeholder: Placeholder) -> list[CMSPlugin]:
    return list(placeholder.get_plugins().order_by("language", "position"))


def child_texts(plugin: CMSPlugin) -> list[str]:
    return [str(child.get_bound_plugin().text) for child in plugin.get_children()]


def thumbnailers() -> list[Any]:
    return [get_thumbnailer(image.file) for image in Image.objects.order_by("pk")]


def change() -> None:
    Page.objects.get(reverse_id="日本").delete()
    Folder.objects.get(name="日本").delete()
    Passage.objects.update(text="changed")
