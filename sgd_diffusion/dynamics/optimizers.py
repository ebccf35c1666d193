"""The steps that a plan can name, as optax transformations up to the learning rate."""

import optax

from sgd_diffusion._arrays import number
from sgd_diffusion._types import NumberLike
from sgd_diffusion.dynamics.sgd import sgd
from sgd_diffusion.errors import invalid

__all__ = ["OPTIMIZERS", "optimizer"]

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "lion", "sam")
"""The names that `optimizer` knows."""

# Those that have a momentum of their own, a decay of the weights beside the gradient, or neither.
_OWN_MOMENTUM = ("adam", "adamw", "lion")
_BESIDE = ("adamw", "lion")
_WITHOUT_DECAY = ("adam", "rmsprop")


def optimizer(
    name: str,
    *,
    momentum: NumberLike = 0.0,
    weight_decay: NumberLike = 0.0,
    clip_norm: NumberLike | None = None,
) -> optax.GradientTransformation:
    r"""Return the step of a name as an optax transformation, up to the learning rate.

    Its update, times the learning rate, is added to the weights. Constants that are not named here
    are those of optax.

    | name | update | source |
    | --- | --- | --- |
    | `sgd` | heavy-ball SGD, see `sgd` | Polyak 1964 |
    | `sam` | the same, by the gradient uphill of the point | Foret et al., arXiv:2010.01412 |
    | `adam` | `optax.scale_by_adam` | Kingma & Ba, arXiv:1412.6980 |
    | `adamw` | the same, and weight decay beside it | Loshchilov & Hutter, arXiv:1711.05101 |
    | `rmsprop` | `optax.scale_by_rms`, and then the momentum of `sgd` | Tieleman & Hinton 2012 |
    | `lion` | `optax.scale_by_lion`, and weight decay beside it | Chen et al., arXiv:2302.06675 |

    Args:
        name: one of `OPTIMIZERS`.
        momentum: in [0, 1), of `sgd`, `sam` and `rmsprop`; the others have their own.
        weight_decay: at least 0. `sgd` and `sam` add so much of the weights to the gradient.
            `adamw` and `lion` subtract it from the update, so that it does not go through their
            averages. `adam` and `rmsprop` have none.
        clip_norm: the largest Euclidean norm of a gradient, above 0; a longer one is scaled down to
            it before all else. None for no limit.

    Raises:
        InputError: the name is unknown, a number is outside its range, or the optimizer has no such
            number.
    """
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise invalid("optimizer", f"is {name!r:.100}", f"one of {', '.join(OPTIMIZERS)}")
    momentum = number("momentum", momentum, at_least=0, below=1)
    weight_decay = number("weight_decay", weight_decay, at_least=0)
    _check_numbers(name, momentum, weight_decay)
    parts = []
    if clip_norm is not None:
        parts = [optax.clip_by_global_norm(number("clip_norm", clip_norm, above=0))]
    if name in ("sgd", "sam"):
        step = sgd(momentum=momentum, weight_decay=weight_decay)
        return optax.chain(*parts, step) if parts else step
    if name == "rmsprop":
        parts += [optax.scale_by_rms(), *([optax.trace(decay=momentum)] if momentum else [])]
    else:
        parts += [optax.scale_by_lion() if name == "lion" else optax.scale_by_adam()]
    if name in _BESIDE and weight_decay:
        parts += [optax.add_decayed_weights(weight_decay)]
    return optax.chain(*parts, optax.scale(-1.0))


def _check_numbers(name: str, momentum: float, weight_decay: float) -> None:
    """Refuse numbers that an optimizer does not have, rather than leave them unused."""
    if momentum and name in _OWN_MOMENTUM:
        raise invalid(
            "momentum",
            f"is {momentum:g} while the optimizer is {name}",
            "0",
            f"{name} averages gradients by constants of its own; sgd, sam and rmsprop have one",
        )
    if weight_decay and name in _WITHOUT_DECAY:
        raise invalid(
            "weight_decay",
            f"is {weight_decay:g} while the optimizer is {name}",
            "0",
            "take adamw, whose decay does not go through its averages",
        )
    if name == "adamw" and not weight_decay:
        raise invalid(
            "weight_decay",
            "is 0 while the optimizer is adamw",
            "a positive number, such as 1e-4",
            "without it this is adam",
        )
