"""A plug-in."""

from _broken_helper import value
