"""A plug-in."""

from edgepipe.stage import Stage


def helper():
    return undefined_name


VALUE = helper()
