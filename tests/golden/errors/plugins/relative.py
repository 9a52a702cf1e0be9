"""relative: imports its helper as if plug-ins were a package."""

from ._helper import number  # noqa: TID252
