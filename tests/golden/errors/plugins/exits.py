"""A plug-in."""

import sys

sys.exit("bye")
