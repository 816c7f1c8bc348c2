"""Makes ``toys`` and the scripts beside it importable from the tests of the training loop."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
