"""Transient freezing: when it is decided in which valley SGD ends (Yang et al., arXiv:2601.10962).

The walker moves in a landscape of two valleys.
"""

from sgd_diffusion.theory.freezing.two_valleys import TwoValleys

__all__ = [
    # landscape
    "TwoValleys",
]
