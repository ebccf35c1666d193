"""Questions about training: how members are mapped, how many at once, precision, and windows."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.questions.question import (
    Candidate,
    Made,
    Question,
    choice,
    compared,
    differ,
    judged,
    of_all,
    ratio,
)
from experiments.benchmarks.questions.sizes import SHAPES, Sizes
from sgd_diffusion._platforms import platform
from sgd_diffusion.dynamics.ensemble import Ensemble
from sgd_diffusion.dynamics.measurements import Schema, default_measurements
from sgd_diffusion.dynamics.members import default_members_at_once
from sgd_diffusion.dynamics.plan import Plan
from sgd_diffusion.dynamics.sgd import Carry, initial_carry, sgd
from sgd_diffusion.problems import models
from sgd_diffusion.problems.convolution import convolution
from sgd_diffusion.problems.datasets import gaussian
from sgd_diffusion.problems.objectives import Problem, classification

LEARNING_RATE = 0.01
# Shares of the time of what they belong to that reports and copies may take.
ALLOWED = 0.05
# Seconds that the compilation of a window may take before a cache on disk would be worth it.
WORTH_KEEPING = 60
MEMBERS = "sgd_diffusion.dynamics.members.default_members_at_once"


class Training(NamedTuple):
    """Training of an ensemble.

    Attributes:
        images: name of their size.
        members: of the ensemble.
        at_once: members side by side.
        formulation: of all convolutions; None for the default.
        precision: of the training.
        window: whether a window is recorded, with the measurements of a run.
        report: whether it reports to the host.
    """

    images: str
    members: int
    at_once: int
    formulation: str | None = None
    precision: str = "default"
    window: bool = False
    report: bool = False

    @property
    def name(self) -> str:
        """Return what is done, and how."""
        mapping = (
            "map"
            if self.at_once == 1
            else "vmap"
            if self.at_once >= self.members
            else f"groups of {self.at_once}"
        )
        parts = [
            self.images,
            "1 member" if self.members == 1 else f"{self.members} members",
            mapping,
            *([] if self.formulation is None else [f"by {self.formulation}"]),
            *([] if self.precision == "default" else [self.precision]),
            *["window"] * self.window,
            *["reporting"] * self.report,
        ]
        return ", ".join(parts)

    def candidate(self, sizes: Sizes) -> Candidate:
        """Return it as a candidate."""
        return Candidate(self.name, "member-steps", functools.partial(self._made, sizes))

    def steps(self, sizes: Sizes) -> int:
        """Return the updates of a member in a run."""
        return sizes.window if self.window else sizes.steps

    def ensemble(self, sizes: Sizes) -> Ensemble:
        """Return the ensemble."""
        problem = network(sizes, self.images, self.formulation)
        plan = Plan(
            seeds=range(self.members),
            learning_rates=(LEARNING_RATE,),
            window=self.steps(sizes),
            batch_size=sizes.batch_size,
            precision=self.precision,
        )
        measure = Schema(plan, default_measurements(problem, plan)).measure_path
        return Ensemble(
            problem,
            plan,
            measure_path=measure,
            members_at_once=self.at_once,
            report=(lambda step, loss: None) if self.report else None,
        )

    def _made(self, sizes: Sizes) -> Made:
        ensemble, steps = self.ensemble(sizes), self.steps(sizes)
        problem, members = ensemble.problem, self.members
        own = (*map(jnp.asarray, ensemble.plan.members()), start(sizes, self.images, members))
        program, _ = ensemble.programs()["window" if self.window else "advance"]
        shared = (
            (problem.examples, problem.probe, jnp.int32(0))
            if self.window
            else (problem.examples, jnp.int32(0), jnp.int32(steps))
        )
        # The Gram matrix of a window is beside its loop, and a last group may be smaller. On CPU a
        # vmapped convolution is a loop in the loop.
        loops = platform() == "cpu" and self.at_once > 1 and self.formulation is None
        alike = not self.window and members % self.at_once == 0 and not loops
        passes = steps * members / self.at_once if alike else None
        return Made(program, (shared, own), amount=steps * members, passes=passes)


@functools.lru_cache(maxsize=4)
def network(sizes: Sizes, images: str, formulation: str | None = None) -> Problem:
    """Return the problem of the network on random images of a size."""
    model = models.model(sizes.model)
    if formulation is not None:
        model = model.clone(convolution=functools.partial(convolution, formulation=formulation))
    data = gaussian(train_size=2 * sizes.batch_size, test_size=1, shape=SHAPES[images])
    return classification(model, data, augment=None)


@functools.lru_cache(maxsize=2)
def _first(sizes: Sizes, images: str) -> Carry:
    """Return where a member starts."""
    problem = network(sizes, images)
    return jax.jit(lambda key: initial_carry(problem, sgd(), key))(jax.random.key(0))


def start(sizes: Sizes, images: str, members: int) -> Carry:
    """Return the carries of members that start at one point."""
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (members, *leaf.shape)), _first(sizes, images)
    )


def default(sizes: Sizes, images: str, members: int | None = None) -> Training:
    """Return training as an experiment does it on this platform."""
    members = sizes.members if members is None else members
    return Training(images, members, default_members_at_once(members, platform()))


def mapping(sizes: Sizes, images: str) -> Question:
    """Ask how members are to be mapped."""
    members, chosen = sizes.members, default(sizes, images)
    ways = {
        each.name: each
        for each in (
            chosen,
            Training(images, members, 1),
            Training(images, members, min(sizes.group, members)),
            Training(images, members, members),
            # vmapped convolutions are grouped ones in XLA, which libraries may do badly.
            Training(images, members, members, formulation="patches"),
        )
    }
    rivals = [name for name in ways if name != chosen.name]
    return Question(
        f"mapping of members, {images}",
        "Do members run side by side (vmap), one after the other (map), or in groups? "
        "Are the grouped convolutions of vmapped members slow?",
        chosen.name,
        MEMBERS,
        tuple(way.candidate(sizes) for way in ways.values()),
        choice(chosen.name, rivals),
    )


def numbers(sizes: Sizes, images: str) -> Question:
    """Ask how many members are worth running at once."""
    several = [default(sizes, images, members) for members in sorted(sizes.ensembles)]
    return Question(
        f"size of the ensemble, {images}",
        "Does the device do more member-steps a second, the more members it has at once?",
        "all members of an ensemble at once on an accelerator",
        MEMBERS,
        tuple(each.candidate(sizes) for each in several),
        choice(several[-1].name, [each.name for each in several[:-1]]),
    )


def precision(sizes: Sizes, images: str) -> Question:
    """Ask what training without rounding would cost."""
    chosen = default(sizes, images)
    exact = chosen._replace(precision="float32")
    return Question(
        f"precision of the training, {images}",
        "How much faster is training with products that the platform rounds?",
        "the precision of the platform",
        "sgd_diffusion.dynamics.plan.Plan.precision",
        (chosen.candidate(sizes), exact.candidate(sizes)),
        choice(chosen.name, [exact.name]),
    )


def report(sizes: Sizes, images: str) -> Question:
    """Ask what the progress bar costs."""
    silent = default(sizes, images)._replace(window=True)
    chosen = silent._replace(report=True)

    @of_all
    def verdict(rows):
        with_report, without = rows[chosen.name], rows[silent.name]
        if not differ(with_report, without):
            return compared(chosen.name, silent.name, rows)
        share = ratio(with_report, without) - 1
        return judged(share <= ALLOWED, f"reports make a window {share:+.1%} longer")

    return Question(
        f"reports from a window, {images}",
        "What does the callback of the progress bar cost, every 50 updates of every member?",
        f"windows report, as long as that takes at most {ALLOWED:.0%}",
        "experiments.progress.Progress.report",
        (silent.candidate(sizes), chosen.candidate(sizes)),
        verdict,
    )


def after_a_window(sizes: Sizes, images: str) -> Question:
    """Ask what it costs to bring a window's results and carries to the host."""
    window = default(sizes, images)._replace(window=True)
    copies = Candidate(
        f"{images}, results and carries to the host", "windows", lambda: _copies(sizes, window)
    )

    @of_all
    def verdict(rows):
        one = rows[window.name]
        share = rows[copies.name]["median"] / one["median"]
        return judged(share <= ALLOWED, f"copies take {share:.2%} of a window")

    return Question(
        f"results of a window, {images}",
        f"How long does the device wait for the host after a window of {sizes.window} updates?",
        f"windows and copies take turns, as long as copies take at most {ALLOWED:.0%}",
        "sgd_diffusion.dynamics.ensemble.Ensemble.window",
        (window.candidate(sizes), copies),
        verdict,
    )


def _copies(sizes: Sizes, window: Training) -> Made:
    """Return the transfer of what a window leaves, without the window."""
    program, arguments = window.ensemble(sizes).programs()["window"]
    shapes = jax.eval_shape(program, *arguments)
    with jax.enable_x64(True):  # some results are float64
        left = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    # The copy on the host is kept with an array; a new array has none.
    return Made(lambda: jax.tree.map(lambda leaf: np.asarray(leaf.copy()), left), ())


def compilation(sizes: Sizes, images: str) -> Question:
    """Ask whether compiled windows are worth keeping."""
    window = default(sizes, images)._replace(window=True)

    @of_all
    def verdict(rows):
        row = rows[window.name]
        updates = row["compile"] / row["median"] * window.steps(sizes)
        return judged(
            row["compile"] <= WORTH_KEEPING,
            f"a window compiles in {row['compile']:.3g} s, as long as {updates:.3g} updates take",
        )

    return Question(
        f"compilation of a window, {images}",
        "How long does a window compile, and how many updates could be made in that time?",
        f"each process compiles its window, as long as that takes at most {WORTH_KEEPING} s",
        "sgd_diffusion.dynamics.ensemble.Ensemble.compile",
        (window.candidate(sizes),),
        verdict,
    )
