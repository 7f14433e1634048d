"""`python -m timecoin` is the command `timecoin`."""

from timecoin.cli import main

main()
