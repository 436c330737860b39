"""``python -m onelook`` is the same as ``onelook``."""

from onelook.cli import main

main()
