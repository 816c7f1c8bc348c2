"""``python -m graphseq``, and ``torchrun -m graphseq``."""

import sys

from graphseq.cli import main

if __name__ == "__main__":
    sys.exit(main())
