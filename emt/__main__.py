"""``python -m emt``: the same as the command ``emt``."""

import sys

from emt_workbench import main

if __name__ == "__main__":
    sys.exit(main())
