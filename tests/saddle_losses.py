"""A loss with three minima and two saddles between them, shared by the tests of saddles."""

import jax
import jax.numpy as jnp
import numpy as np

A = np.array([-2.0, -1.0, -1.7, 0.15])
XX, XY, YY = np.array([[-1, -1, -6.5, 0.7], [0, 0, 11, 0.6], [-10, -10, -6.5, 0.7]])
X, Y = np.array([[1, 0, -0.5, -1], [0, 0.5, 1.5, 1]])
MINIMA = np.array([[-0.558224, 1.441726], [-0.050011, 0.466694], [0.623499, 0.028038]])


def muller_brown(point):
    """The potential of Muller and Brown (Theor. Chim. Acta 53, 75, 1979), over 100."""
    x, y = point[0] - X, point[1] - Y
    return (A * jnp.exp(XX * x**2 + XY * x * y + YY * y**2)).sum()


def on_host(function):
    """A compiled function with results as NumPy arrays, with which JAX computes in any mode."""
    compiled = jax.jit(function)
    return lambda *args: jax.tree.map(np.asarray, compiled(*args))


def gradients(points):
    """Gradients (n, 2) of `muller_brown` at points (n, 2), in float64."""
    with jax.enable_x64(True):
        return np.asarray(GRADIENTS(points))


GRADIENTS = jax.jit(jax.vmap(jax.grad(muller_brown)))
