"""Makes the scripts that run under torchrun, and cases, importable from the tests beside them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
