"""``{% command "manage.py backup_database" %}``, and the filter ``commands`` for texts that contain commands."""

from django import template

from ops.utils.shell_commands import show_command, show_commands

register = template.Library()
register.simple_tag(show_command, name="command")
register.filter("commands", show_commands)
