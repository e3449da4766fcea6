"""The plugin of `cms_site`; django-cms looks for it in the project's app."""

from cms.plugin_base import CMSPluginBase
from cms.plugin_pool import plugin_pool
from shop.models import Passage


@plugin_pool.register_plugin
class PassagePlugin(CMSPluginBase):
    model = Passage
    name = "Passage"
    allow_children = True
    render_template = "passage.html"
