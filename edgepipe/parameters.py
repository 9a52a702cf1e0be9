"""Where the fields of stages come from: pydantic, or in another environment what stands in for it.

The parent process has validated the parameters with pydantic. A worker in another environment
only needs them as attributes, and pydantic may be missing there, or of a version that the
environment's own packages ask for: it never uses that one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

__all__ = ["PLAIN", "BaseModel", "ConfigDict", "Field"]

PLAIN = "EDGEPIPE_PLAIN_PARAMETERS"
"""The environment variable that asks for the stand-in, whatever is installed."""

# Nobody extends parameters of stages by pydantic's plug-ins; to look for some among everything that
# is installed takes longer than to make the models.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

if TYPE_CHECKING:
    from pydantic import BaseModel, ConfigDict, Field
elif os.environ.get(PLAIN):
    from edgepipe.plainmodel import BaseModel, ConfigDict, Field
else:
    from pydantic import BaseModel, ConfigDict, Field
