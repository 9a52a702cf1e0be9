"""``python -m edgepipe`` is ``edgepipe``."""

from edgepipe.cli import main

raise SystemExit(main())
