"""`python -m imagereg` is the command line."""

from imagereg.cli import main

main()
