"""A WSGI application for `gunicorn --preload`; the master uses its producers too."""

from __future__ import annotations

from tests.scenarios.programs import served
from tests.scenarios.programs.wsgi_app import application

__all__ = ["application"]

served.use_in_master()
