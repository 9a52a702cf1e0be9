"""A plug-in."""

from edgepipe.stage import Context, Field, Stage


class Bad(Stage):
    """Bad."""

    count = Field(3, description="has no type")

    def run(self, ctx: Context) -> None: ...
