"""The corpus: sources that become documents, documents in Parquet, token streams in HDF5, lanes that a trainer reads.

Nothing here knows a model or a cluster; order and bytes depend on the data and the seed alone (DESIGN section 5).
"""
