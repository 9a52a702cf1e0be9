"""A plug-in."""

from edgepipe.stage import Stage


class Broken(Stage):
    def run(self, ctx)
        pass
