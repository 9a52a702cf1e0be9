"""text.upper: capitals."""

from __future__ import annotations

from _values import Words, trace

from edgepipe.stage import Context, Field, Stage, UserCode, UserPath


class Upper(Stage):
    """A file's text in capitals, or as the user's function has it."""

    outputs = {"words": Words}

    file: UserPath | None = Field(None, description="a text file, or a folder of them")
    code: UserCode | None = Field(None, description="a function from text to text")

    def run(self, ctx: Context) -> None:
        from pathlib import Path

        trace(ctx, "start")
        path = Path(self.file) if self.file else None
        files = [] if path is None else [path] if path.is_file() else sorted(path.rglob("*"))
        words = " ".join(file.read_text() for file in files if file.is_file())
        convert = str.upper if self.code is None else ctx.user_object(self.code)
        ctx.save("words", convert(words))
        trace(ctx, "end")
