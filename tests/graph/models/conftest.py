"""Makes ``dense_ncn`` and ``ncn_cases`` importable from the tests of the models."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
