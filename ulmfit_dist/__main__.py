"""`python -m ulmfit_dist` is `ulmfit`."""

from ulmfit_dist.cli import main

main()
