"""`python -m cohortlake`."""

from cohortlake.cli import main

main()
