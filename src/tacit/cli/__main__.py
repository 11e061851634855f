"""`python -m tacit.cli`, which is what `torchrun -m tacit.cli train ...` starts."""

import sys

from tacit.cli import main

if __name__ == "__main__":
    sys.exit(main())
