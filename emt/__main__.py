"""``python -m emt``: the same as the command ``emt``."""

import sys

from emt.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
