"""Triton kernels for Hopper GPUs; `fast_lm` puts them together, and the plain modules beside it say what they mean.

Only `fast_lm` imports this package, and only where there is a GPU: Triton comes with torch's CUDA wheels alone.
"""
