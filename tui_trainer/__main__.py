"""`python -m tui_trainer`: the same as `mltrainer-tui`."""

import sys

from tui_trainer.cli import main

if __name__ == "__main__":
    sys.exit(main())
