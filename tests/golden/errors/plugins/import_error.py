"""A plug-in."""

import no_such_distribution

from edgepipe.stage import Stage
