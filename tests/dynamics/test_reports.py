"""Reports come to the host from every member, each to its own function, and what one raises ends
the program.
"""

import jax
import jax.numpy as jnp
import pytest

from sgd_diffusion.dynamics import reports
from sgd_diffusion.dynamics.reports import report_to_host


def test_each_program_reports_to_its_own_function():
    seen = {"first": [], "second": []}
    told = {name: lambda *given, name=name: seen[name].append(given) for name in seen}

    def program(name, step, loss):
        report_to_host(told[name], step, loss)
        return loss

    for name, step in (("first", 1), ("second", 2), ("first", 3)):
        jax.jit(program, static_argnums=0)(name, step, 0.5).block_until_ready()
    assert seen == {"first": [(1, 0.5), (3, 0.5)], "second": [(2, 0.5)]}


@pytest.mark.parametrize("over", [jax.vmap, lambda f: lambda xs: jax.lax.map(f, xs)])
def test_members_report_each(over):
    seen = []

    def member(loss):
        return jax.lax.fori_loop(0, 2, lambda step, loss: told(step, loss), loss)

    def told(step, loss):
        jax.lax.cond(
            step == 1,
            lambda: report_to_host(lambda *given: seen.append(given), step, loss),
            lambda: None,
        )
        return loss + 1

    jax.jit(over(member))(jnp.arange(3.0)).block_until_ready()
    assert sorted(seen) == [(1, 1.0), (1, 2.0), (1, 3.0)]


def test_an_xla_of_another_version_gets_a_callback(monkeypatch):
    seen = []
    monkeypatch.setattr(reports, "API_VERSION", (9, 0))
    monkeypatch.setattr(reports, "TARGET", "sgd_diffusion_report_of_another_version")
    jax.jit(lambda loss: report_to_host(lambda *given: seen.append(given), 1, loss))(0.5)
    jax.effects_barrier()
    assert not reports._registered(reports.TARGET) and seen == [(1, 0.5)]


def test_what_a_report_raises_ends_the_program():
    def report(step, loss):
        raise KeyError("no such bar")

    @jax.jit
    def program(loss):
        report_to_host(report, 0, loss)
        return loss

    with pytest.raises(jax.errors.JaxRuntimeError, match="KeyError: 'no such bar'"):
        program(1.0).block_until_ready()
