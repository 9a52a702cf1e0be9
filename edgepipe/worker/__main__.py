"""``python -m edgepipe.worker DESCRIPTOR`` serves jobs, and writes messages to the descriptor."""

import sys

from edgepipe.worker import main

main(int(sys.argv[1]))
