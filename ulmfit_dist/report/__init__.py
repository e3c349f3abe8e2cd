"""The run's report: one self-contained HTML file made from the files of a run directory, and from nothing else."""
