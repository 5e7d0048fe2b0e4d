import sys

from tasks.cli.main import script

sys.exit(script())
