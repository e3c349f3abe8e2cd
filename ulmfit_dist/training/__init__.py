"""Training loops for language models and classifiers: pure schedules and plans, exact losses under DDP, checkpoints.

The loops know neither Ray nor commands: they get a group of ranks, a checkpoint folder and a reporter. Shape suffixes
as in `models`: T time, B batch, E embedding, V vocabulary, C classes, N tokens in one row.
"""
