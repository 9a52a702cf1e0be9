"""A helper."""

value = 1 / 0
