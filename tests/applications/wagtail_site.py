"""wagtail: a tree of pages with revisions, streams, tags, translations, forms, images, documents and a search index."""

import datetime as dt
import io
from typing import Any

from django.contrib.auth.models import User
from django.core.files.images import ImageFile
from django.core.management import call_command
from django.db import connection, models
from django.http import QueryDict
from modelcluster.contrib.taggit import ClusterTaggableManager
from modelcluster.fields import ParentalKey
from PIL import Image as Picture
from taggit.models import TaggedItemBase
from wagtail import blocks
from wagtail.contrib.forms.models import AbstractForm, AbstractFormField, FormSubmission
from wagtail.contrib.redirects.models import Redirect
from wagtail.documents.models import Document
from wagtail.fields import RichTextField, StreamField
from wagtail.images.models import Image
from wagtail.models import Collection, Locale, Orderable, Page, ReferenceIndex, Revision, Site, TranslatableMixin
from wagtail.search import index
from wagtail.search.backends import get_search_backend
from wagtail.snippets.models import register_snippet

TITLES = [
    "Größe",
    "日本",
    "\\N",
    "it's %s {}",
    "e\u0301",
    "x" * 255,
    "fat cats sat: on & a | mat!",
    "'quoted' \"words\"",
]
LONG = "Straße Größe " * 20000


class PageTag(TaggedItemBase):
    content_object = ParentalKey("ArticlePage", related_name="tagged_items")


class ArticlePage(Page):
    body = RichTextField(blank=True)
    parts = StreamField(
        [
            ("text", blocks.RichTextBlock()),
            ("number", blocks.FloatBlock()),
            ("price", blocks.DecimalBlock()),
            ("day", blocks.DateTimeBlock()),
            (
                "rows",
                blocks.ListBlock(
                    blocks.StructBlock([("key", blocks.CharBlock()), ("page", blocks.PageChooserBlock())])
                ),
            ),
        ],
        blank=True,
    )
    day = models.DateField(null=True, blank=True)
    tags = ClusterTaggableManager(through=PageTag, blank=True)
    search_fields = (*Page.search_fields, index.SearchField("body"), index.AutocompleteField("body"))


class RelatedLink(Orderable):
    page = ParentalKey(ArticlePage, on_delete=models.CASCADE, related_name="links")
    url = models.URLField(max_length=500, blank=True)


class ContactField(AbstractFormField):
    page = ParentalKey("ContactPage", on_delete=models.CASCADE, related_name="form_fields")


class ContactPage(AbstractForm):
    pass


@register_snippet
class Advert(index.Indexed, TranslatableMixin, models.Model):
    text = models.TextField()
    search_fields = (index.SearchField("text"),)


def fill() -> None:
    user = User.objects.create_superuser("änna", password="secret")
    root = Page.objects.get(depth=1)
    home = root.add_child(instance=ArticlePage(title="Home", slug="heim-ä", body="<p>Hello</p>"))
    Site.objects.update(root_page=home, site_name="Größe")
    made = []
    for number, title in enumerate(TITLES):
        page = ArticlePage(
            title=title,
            slug=f"größe-{number}",
            body=f"<p>{title} &amp; more</p>" if number else LONG,
            day=dt.date(9999, 12, 31) if number % 2 else dt.date(1, 1, 1),
            expire_at=dt.datetime(9998, 12, 31, tzinfo=dt.UTC),
            go_live_at=dt.datetime(2026, 10, 25, number % 2, 30, tzinfo=dt.UTC),
            links=[RelatedLink(url=f"https://example.org/ä?{n}", sort_order=-n) for n in range(number)],
        )
        page.parts = [
            ("text", blocks.RichTextBlock().to_python("<p>ä\u2028\\N</p>")),
            ("number", -0.1),
            ("price", "0.10"),
            ("day", dt.datetime(2026, 3, 29, 1, 30, tzinfo=dt.UTC)),
            ("rows", [{"key": title, "page": made[-1] if made else None}]),
        ]
        parent = made[number // 2] if made else home
        type(parent).objects.get(pk=parent.pk).add_child(instance=page)
        page.tags.add(title[:100], "shared", "Shared")
        page.save()
        made.append(page)
        for version in range(3):
            page.title = f"{title[:240]} {version}"
            page.save_revision(user=user, log_action=True, approved_go_live_at=page.go_live_at if version else None)
        if number % 2:
            page.save_revision(user=user).publish()
    ArticlePage.objects.get(pk=made[3].pk).move(ArticlePage.objects.get(pk=made[2].pk), pos="first-child", user=user)
    ArticlePage.objects.get(pk=made[2].pk).copy(
        recursive=True, update_attrs={"slug": "copy", "title": "Copy"}, user=user
    )
    ArticlePage.objects.get(pk=made[7].pk).delete(user=user)
    german = Locale.objects.create(language_code="de")
    ArticlePage.objects.get(pk=home.pk).copy_for_translation(german)
    Advert.objects.create(text="Große Werbung", locale=german)
    Advert.objects.create(text=LONG, locale=Locale.objects.get(language_code="en"))
    fill_media(user)
    fill_form(ArticlePage.objects.get(pk=home.pk))
    Redirect.objects.create(old_path="/ä", redirect_page=made[3], site=Site.objects.get())
    call_command("rebuild_references_index", verbosity=0)
    call_command("wagtail_update_index", verbosity=0)


def fill_media(user: User) -> None:
    inner = Collection.get_first_root_node().add_child(name="Größe").add_child(name="")
    file = io.BytesIO()
    Picture.new("RGB", (3, 2)).save(file, "PNG")
    for title in TITLES:
        content = ImageFile(io.BytesIO(file.getvalue()), name="ä b.png")
        image = Image.objects.create(
            title=title, file=content, collection=inner, uploaded_by_user=user, focal_point_x=1
        )
        image.tags.add(title[:100])
        image.get_rendition("width-1")
        Document(title=title, file_size=2**31 - 1, collection=inner, file_hash="ä").save()


def fill_form(parent: Page) -> None:
    page = parent.add_child(instance=ContactPage(title="Contact", slug="contact"))
    ContactField.objects.create(page=page, label="Größe", field_type="singleline", clean_name="groesse")
    form = page.get_form(QueryDict("groesse=ä"), page=page, user=User.objects.get())
    assert form.is_valid(), form.errors
    page.process_form_submission(form)
    for value in ({}, {"groesse": ["\\", 1.5, None, 10**20]}, {"a": LONG}):
        FormSubmission.objects.create(page=page, form_data=value)


def check() -> dict[str, Any]:
    if connection.vendor == "postgresql":
        call_command("wagtail_update_index", verbosity=0)
    home = Page.objects.get(slug="heim-ä")
    newest = Revision.objects.filter(object_str__startswith="fat cats").latest("pk").as_object()
    return {
        "problems": Page.find_problems(),
        "tree": [[page.title, page.depth, page.numchild, page.url_path] for page in Page.objects.order_by("path")],
        "kinds": [type(page).__name__ for page in Page.objects.order_by("pk").specific()],
        "descendants": home.get_descendants().count(),
        "search": {
            words: sorted(page.title for page in ArticlePage.objects.search(words))
            for words in ("cats", "Größe", "日本", "missing", "Copy")
        },
        "adverts": [advert.locale.language_code for advert in get_search_backend().search("Werbung", Advert)],
        "revision": [newest.title, newest.parts.get_prep_value(), sorted(newest.tags.names())],
        "revisions": [revision.as_object().title for revision in Revision.page_revisions.order_by("pk")],
        "tagged": sorted(page.slug for page in ArticlePage.objects.filter(tags__name="shared")),
        "links": [[link.url for link in page.links.all()] for page in ArticlePage.objects.order_by("pk")],
        "references": [ReferenceIndex.get_references_to(page).count() for page in Page.objects.order_by("pk")],
        "translations": [page.locale.language_code for page in home.get_translations()],
        "collections": [image.collection.get_ancestors().count() for image in Image.objects.order_by("pk")],
        "renditions": sum(image.renditions.count() for image in Image.objects.all()),
        "forms": [sorted(found.get_data()) for found in FormSubmission.objects.order_by("pk")],
        "redirects": [redirect.link for redirect in Redirect.objects.order_by("pk")],
    }


def change() -> None:
    ArticlePage.objects.filter(slug="größe-3")[0].delete()
    Page.objects.get(slug="contact").move(Page.objects.get(slug="größe-2"), pos="first-child")
    Revision.objects.all().delete()
