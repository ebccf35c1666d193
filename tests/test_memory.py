"""How much memory a device can still give."""

import types

import jax
import pytest

from sgd_diffusion._memory import available_bytes
from sgd_diffusion._platforms import traced_on


def device(stats):
    return types.SimpleNamespace(platform="gpu", memory_stats=stats)


def not_at_hand():
    raise jax.errors.JaxRuntimeError("MemoryStats is only supported for addressable devices")


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (lambda: {"bytes_limit": 100, "bytes_in_use": 30}, 70),
        (lambda: {"bytes_limit": 100}, 100),
        (lambda: {}, None),
        (lambda: None, None),
        (not_at_hand, None),
    ],
)
def test_of_a_device_is_what_it_says(stats, expected):
    assert available_bytes(device(stats)) == expected


def test_of_a_host_is_known():
    assert available_bytes("host") > 0


def test_of_the_platform_of_a_program_is_asked():
    assert available_bytes() == pytest.approx(available_bytes("host"), rel=0.2)
    with traced_on("tpu"):
        assert available_bytes() is None
