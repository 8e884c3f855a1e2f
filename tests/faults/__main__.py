"""The fault campaigns: `python tests/faults --full --seed 0`."""

import os
import sys
from pathlib import Path

# Sums over another number of threads round differently; a fork must find no threads at all.
os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from faults.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
