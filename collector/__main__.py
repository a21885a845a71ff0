"""``python -m collector`` is ``affidavit``."""

import sys

from collector.cli import main

sys.exit(main())
