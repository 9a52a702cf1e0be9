#!python
"""The command ``edgepipe``. An installer puts its interpreter into the first line.

The launcher that it would write by itself may import ``re``, which takes as long as all that a run
without work does.
"""

from edgepipe.cli import leave, main

if __name__ == "__main__":
    leave(main())
