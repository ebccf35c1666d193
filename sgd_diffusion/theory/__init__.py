"""What the theories say that a network should do, in closed form, to stand beside what it does."""

from sgd_diffusion.theory import escape, flatness, freezing, limiting

__all__ = ["escape", "flatness", "freezing", "limiting"]
