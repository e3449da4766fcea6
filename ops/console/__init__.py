"""The pages of `ops` in the admin of any Django project, on django-unfold."""
