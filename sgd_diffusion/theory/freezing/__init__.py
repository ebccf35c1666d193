"""Transient freezing: when it is decided in which valley SGD ends (Yang et al., arXiv:2601.10962).

A slow coordinate y grows as training goes on, and with it the barrier between a flat and a sharp
valley of a fast coordinate x, `TwoValleys`. The gradient noise has the covariance 2 sigma H, with
the Hessian H and with sigma about one over the batch size. So each valley has a temperature of its
own, and the flat one is colder. Early in training walkers hop between the valleys and are mostly in
the flat one. Hops become rare, and the occupation that there is then stays: it freezes.

At a fixed y, more noise selects the flat valley less (`flat_occupation`). But more noise also
freezes later, at a higher barrier, and the endpoint is more often flat (`adiabatic_occupation`).

`fixed_y` has the exact law of SGD with finite steps. For small learning rates it becomes that of
the noise `Delta_S = learning_rate * sigma` alone, in the reading of Ito. `flat_occupation`,
`hop_rates` and `escape_times` have this limit in closed form, and the forms of the paper, which
read the noise otherwise. Times are s = learning_rate * steps.

Everything is computed in float64, in and out of 64-bit mode. `fixed_y`, `adiabatic_occupation` and
`last_crossing` compute on the host. All else can be jitted, mapped and differentiated; traced
arguments that are out of range give NaN.
"""

from sgd_diffusion.theory.freezing.adiabatic import (
    LastCrossing,
    adiabatic_occupation,
    last_crossing,
)
from sgd_diffusion.theory.freezing.effective import effective_potential
from sgd_diffusion.theory.freezing.fixed_y import FixedYOperator, fixed_y
from sgd_diffusion.theory.freezing.freezing_point import (
    FreezingPoint,
    freezing_constant,
    freezing_point,
)
from sgd_diffusion.theory.freezing.occupation import escape_times, flat_occupation, hop_rates
from sgd_diffusion.theory.freezing.two_valleys import BothValleys, TwoValleys

__all__ = [
    # landscape
    "BothValleys",
    "TwoValleys",
    "effective_potential",
    # at a fixed slow coordinate
    "FixedYOperator",
    "escape_times",
    "fixed_y",
    "flat_occupation",
    "hop_rates",
    # on the way
    "FreezingPoint",
    "LastCrossing",
    "adiabatic_occupation",
    "freezing_constant",
    "freezing_point",
    "last_crossing",
]
