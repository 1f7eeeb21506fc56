"""`python -m populace.cli`."""

from populace.cli import main

main()
