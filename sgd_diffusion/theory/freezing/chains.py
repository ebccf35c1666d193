"""Markov chains whose rarest transitions keep all their digits."""

from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

__all__ = ["Chain", "factorized"]


class Chain(NamedTuple):
    """A chain that ends, in the two triangular factors of 1 - T.

    T[i, j] is the probability of the step from i to j. `upper @ lower` is 1 - T.
    """

    upper: Float[np.ndarray, "state state"]
    lower: Float[np.ndarray, "state state"]

    def times(self, costs: Float[np.ndarray, "state"]) -> Float[np.ndarray, "state"]:
        """Return the mean sum of the costs of the states on the way to the end, by start."""
        halfway = scipy.linalg.solve_triangular(self.upper, costs)
        return scipy.linalg.solve_triangular(self.lower, halfway, lower=True)

    def visits(self, starts: Float[np.ndarray, "state"]) -> Float[np.ndarray, "state"]:
        """Return the mean numbers of visits, for numbers of walkers that start in each state."""
        halfway = scipy.linalg.solve_triangular(self.lower, starts, trans="T", lower=True)
        return scipy.linalg.solve_triangular(self.upper, halfway, trans="T")


def factorized(
    transitions: Float[np.ndarray, "state state"], endings: Float[np.ndarray, "state"]
) -> Chain:
    """Return a chain from the probabilities of its steps and of its end, out of each state.

    1 - T is never formed: its diagonal is the sum of the probabilities of leaving, as in the
    elimination of Grassmann, Taksar and Heyman (1985). No two numbers are subtracted, so results
    have the relative errors of the probabilities, even of those that are below the rounding of 1.
    Probabilities of staying, on the diagonal, are not used.
    """
    matrix, endings = transitions.copy(), endings.copy()
    leaving = np.empty_like(endings)
    for state in reversed(range(len(endings))):
        leaving[state] = endings[state] + matrix[state, :state].sum()
        matrix[:state, state] /= leaving[state]
        matrix[:state, :state] += np.outer(matrix[:state, state], matrix[state, :state])
        endings[:state] += matrix[:state, state] * endings[state]
    upper = np.eye(len(endings)) - np.triu(matrix, 1)
    return Chain(upper, np.diag(leaving) - np.tril(matrix, -1))
