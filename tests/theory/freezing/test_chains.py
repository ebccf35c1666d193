"""Markov chains: closed forms, linear algebra, and transitions below the rounding of 1."""

import numpy as np
import pytest

from sgd_diffusion.theory.freezing.chains import factorized


def test_it_is_linear_algebra():
    random = np.random.default_rng(0)
    steps = random.random((6, 7))
    steps /= steps.sum(axis=1, keepdims=True)
    inside, ends = steps[:, :6], steps[:, 6]
    chain = factorized(inside, ends)
    np.testing.assert_allclose(chain.upper @ chain.lower, np.eye(6) - inside, atol=1e-15)
    inverse = np.linalg.inv(np.eye(6) - inside)
    costs = random.random(6)
    np.testing.assert_allclose(chain.times(costs), inverse @ costs, rtol=1e-13)
    np.testing.assert_allclose(chain.visits(costs), costs @ inverse, rtol=1e-13)


@pytest.mark.parametrize("up", [0.5, 0.2, 1e-7])
def test_gamblers_who_hardly_ever_win(up):
    """Mean times up n stairs with a wall at the lowest, sum_k (k + 1) (down / up)^(n-1-k) / up."""
    count, down = 12, 1 - up
    steps = np.diag(np.full(count - 1, up), 1) + np.diag(np.full(count - 1, down), -1)
    chain = factorized(steps, np.append(np.zeros(count - 1), up))
    ratio = down / up
    from_stair = [sum(ratio**j for j in range(k + 1)) / up for k in range(count)]
    np.testing.assert_allclose(chain.times(np.ones(count))[0], sum(from_stair), rtol=1e-13)
