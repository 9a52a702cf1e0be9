"""A plug-in."""

from edgepipe.stage import Context, Stage


class One(Stage):
    """One."""

    def run(self, ctx: Context) -> None: ...


class Two(Stage):
    """Two."""

    def run(self, ctx: Context) -> None: ...
