"""``python -m edgepipe`` is ``edgepipe``."""

from edgepipe.cli import leave, main

leave(main())
