"""A plug-in."""
