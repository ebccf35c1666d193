"""What experiments that train an ensemble share: options, problem and plan, and the training."""

import contextlib
import dataclasses
import datetime
import errno
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal

import jax
import tyro
import xarray as xr

from experiments import command_line, data_sets
from experiments.growth import groups
from experiments.jobs import JobOptions, leave_to_first
from experiments.options import COUNT, UINT32, expanded, flag, within
from experiments.progress import Progress, phase
from experiments.results import ResultOptions
from sgd_diffusion._processes import Processes
from sgd_diffusion.dynamics import measurements
from sgd_diffusion.dynamics.run import Plan, run_ensemble
from sgd_diffusion.errors import InputError, StorageError, invalid
from sgd_diffusion.problems import models, objectives
from sgd_diffusion.problems.datasets import Dataset
from sgd_diffusion.problems.label_noise import with_fresh_label_noise, with_label_noise
from sgd_diffusion.storage import files
from sgd_diffusion.storage.merged_runs import merge_runs, new_members
from sgd_diffusion.storage.run_directories import RunDirectory

# One for all runs, so that members, runs and experiments have the same wrong labels.
LABEL_NOISE_SEED = 0
ADDING = command_line.ADDING
MAX_WINDOW = 100_000  # updates, whose matrix of products takes 75 GiB

Measure = Callable[[objectives.Problem, Plan], Sequence[Any]]
"""The measurements of an experiment, for a problem and a plan."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions(JobOptions):
    """What is trained, by which SGD, and for how long."""

    dataset: str = "digits"
    """digits (comes with scikit-learn), mnist, cifar10 (both through tensorflow-datasets),
    gaussian, PATH.npz with train_images, train_labels, test_images, test_labels (or x_train,
    y_train, x_test, y_test), or package.module:function, which returns such arrays.
    """
    data_dir: pathlib.Path | None = None
    """Where tensorflow-datasets keeps its data; its own default if not given."""
    augment: Literal["standard", "none"] = "standard"
    """standard: crop-4 and flip for cifar10, one-pixel shifts for digits, nothing for others."""
    model: str = "resnet14"
    """resnetD with D = 6n + 2, resnet18[-imagenet], wrnD-K with D = 6n + 4, vgg11, vgg13, vgg16,
    vgg19, vit[-small][-patchP] or fcL; after residual networks -noshort, after these and vgg
    -nobatchnorm, after all -widthW. Or package.module:factory, which makes a flax.linen or
    flax.nnx module.
    """
    initialization: Literal["paper", "pytorch"] = "paper"
    """paper: Kaiming normal, last layer N(0, 0.001^2); pytorch: PyTorch's defaults."""
    loss: Literal["cross_entropy", "kl", "mse"] = "cross_entropy"
    """cross_entropy, kl (against smoothed labels) or mse (softmax against one-hot)."""
    label_noise: Annotated[float, *within(0, 1)] = 0.0
    """Probability that a training example gets a label drawn uniformly from all classes, once and
    for all; test labels stay.
    """
    fresh_label_noise: Annotated[float, *within(0, 1)] = 0.0
    """The same, but drawn anew at every update: a gradient noise that nothing learns by heart."""
    start_from: pathlib.Path | None = None
    """Run directory of this model. Every seed starts at the weights of the same seed at the newest
    checkpoint there, with momentum zero; of the same learning rate, if it has several.
    """

    seeds: Annotated[tuple[int, ...], *within(0, UINT32, fewest=1)] = (0, 1, 2)
    """One member for each seed and learning rate."""
    learning_rates: Annotated[
        tuple[float, ...], *within(1e-20, 1e4, "for steps that float32 holds", fewest=1)
    ] = (0.02, 0.1)
    """Step sizes, constant in time without a schedule."""
    add_seeds: Annotated[tuple[int, ...], *within(0, UINT32)] = ()
    """With --resume: seeds that the run is to have besides. Only what is new is trained."""
    add_learning_rates: Annotated[
        tuple[float, ...], *within(1e-20, 1e4, "for steps that float32 holds")
    ] = ()
    """With --resume: learning rates that the run is to have besides, with all of its seeds."""
    num_windows: Annotated[int, *within(1, 100_000)] = 5
    """Number of consecutive windows."""
    window: Annotated[int, *within(2, MAX_WINDOW)] = 1000
    """Updates in a window."""
    waiting_times: Annotated[tuple[int, ...] | None, *within(0, 2**31, fewest=1)] = None
    """Updates at which the windows begin, if they are not consecutive, in place of their number;
    what lies between is trained, not recorded.
    """
    batch_size: Annotated[int, *within(1, COUNT)] = 32
    """Examples in a mini-batch."""
    momentum: Annotated[float, *within(0, 0.9999)] = 0.0
    """Heavy-ball coefficient of sgd, sam and rmsprop."""
    weight_decay: Annotated[float, *within(0, 1000)] = 0.0
    """Coefficient of the weights: added to the gradient (sgd, sam), or subtracted beside the step
    (adamw, lion).
    """
    sampling: Literal["epochs", "replacement"] = "epochs"
    """epochs: reshuffled, without replacement, full batches; replacement: independent draws."""

    optimizer: Literal["sgd", "adam", "adamw", "rmsprop", "lion", "sam"] = "sgd"
    """The step, with optax's constants; sam takes the gradient uphill of the point."""
    sam_radius: Annotated[float | None, *within(1e-20, 1e4)] = None
    """Distance uphill at which sam takes the gradient; by default 0.05."""
    schedule: Literal["constant", "cosine", "step", "warmup-cosine"] = "constant"
    """How the learning rate changes: not at all; as a cosine to 0; by 0.1 after a half and after
    three quarters; or as a cosine after a linear rise over the first 20th.
    """
    schedule_steps: Annotated[int | None, *within(4, 2**31 - 1)] = None
    """Updates of the schedule; by default those of all windows. A run that is to be continued for
    longer needs those of the longest.
    """
    clip_norm: Annotated[float | None, *within(1e-20, 1e20)] = None
    """Scale longer gradients down to this Euclidean norm."""
    noise: Literal["minibatch", "none", "white", "gaussian"] = "minibatch"
    """Gradient noise. none: the full-batch gradient; white: it with isotropic normal noise as
    strong as that of mini-batches; gaussian: it with normal noise of their covariance (without
    batch norm). All but minibatch cost examples / batch_size times as much.
    """
    noise_variance: Annotated[float | None, *within(1e-30, 1e30)] = None
    """Variance of every coordinate of white noise, in place of that of mini-batches."""
    average: Literal["ema", "swa"] | None = None
    """Average of the weights, a second path: ema (exponential) or swa (of all points)."""
    average_decay: Annotated[float | None, *within(1e-6, 0.999999)] = None
    """Decay of ema; by default 0.999."""
    precision: Literal["default", "float32"] = "default"
    """Of products in the training. default: that of the platform, which is bfloat16 on TPU, TF32 on
    NVIDIA and float32 on CPU; float32: everywhere. Measurements have float32 or more.
    """

    probe_size: Annotated[int, *within(0, COUNT)] = 0
    """Training examples on which the loss of every visited point is evaluated."""
    gradient_samples: Annotated[int, *within(0, COUNT)] = 0
    """Coordinates at which every mini-batch gradient is kept; every layer gives some of them."""
    gradient_layers: Annotated[tuple[str, ...] | None, *within(fewest=1)] = None
    """Top-level layers that give these coordinates; by default all."""
    frozen_passes: Annotated[int, *within(0, 1000)] = 0
    """Passes over the training examples at the weights where every window ends. They keep all
    mini-batch gradients at these coordinates; each costs as much as an epoch.
    """
    by_layer: bool = False
    """Keep the MSD of every top-level layer too."""
    sketch_dim: Annotated[int | None, *within(1, COUNT)] = None
    """Project the increments to so many random dimensions, for models too large to hold them."""
    full_batch_twin: bool = False
    """Also descend from every window's start by full-batch gradient descent, the control for drift:
    costs examples / batch_size times the training.
    """
    keep_step_gram: bool = False
    """Keep every step Gram matrix: 8 T^2 bytes a member and window."""
    members_at_once: Annotated[int | None, *within(1, 10_000)] = None
    """Members side by side on a device; by default 1 on CPU, all on an accelerator."""
    num_devices: Annotated[int | None, *within(1, 10_000)] = None
    """Devices that share the members; by default all. On CPU the cores count as devices."""
    devices_per_member: Annotated[int, *within(1, 10_000)] = 1
    """Devices that share one member, for models too large for one: parts of every batch and of the
    increments of the weights.
    """
    memory: Literal["here", "tpu-v5e", "tpu-v6e", "h100"] | None = None
    """Only print the memory that a window needs of a device, and what makes it fit: of those here,
    or of chips of this kind, as many as are named to share the members.
    """

    def check(self) -> None:
        """Refuse what cannot be trained, as far as that is known without the data."""
        super().check()
        expanded("--dataset", pathlib.Path(self.dataset))
        self.plan()
        check_growth(self)
        models.model(self.model, initialization=self.initialization)

    def problem(self, data: Dataset | None = None) -> objectives.Problem:
        """Return the problem: data, network and loss.

        Args:
            data: the data set of the options, where it has been loaded already.
        """
        data = with_label_noise(
            jax.random.key(LABEL_NOISE_SEED),
            data or data_sets.load(self.dataset, self.data_dir),
            self.label_noise,
        )
        network = models.model(
            self.model, num_classes=data.num_classes, initialization=self.initialization
        )
        problem = objectives.classification(
            network,
            data,
            loss=self.loss,
            probe_size=self.probe_size,
            augment="standard" if self.augment == "standard" else None,
        )
        return with_fresh_label_noise(problem, self.fresh_label_noise)

    def devices(self, most: int | None = None) -> list[jax.Device]:
        """Return the devices that share the members.

        Args:
            most: how many at most; one for each member by default.

        Raises:
            InputError: there are fewer than asked for.
        """
        present = jax.devices()
        if self.distributed:
            if self.num_devices not in (None, len(present)):
                raise invalid(
                    "--num-devices",
                    f"is {self.num_devices} with --distributed",
                    f"{len(present)}, all devices of the job",
                    "leave it out",
                )
            return present
        wanted = len(present) if self.num_devices is None else self.num_devices
        if not 1 <= wanted <= len(present):
            raise invalid(
                "--num-devices", f"is {wanted}", f"1 to {len(present)}, the devices of this machine"
            )
        members = self.plan().num_members if most is None else most
        groups = min(wanted // self.devices_per_member, members)
        if not groups:
            raise invalid("--devices-per-member", f"is {self.devices_per_member}", f"1 to {wanted}")
        return present[: groups * self.devices_per_member]

    def plan(self) -> Plan:
        """Return the members and how long they run."""
        return Plan(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Plan)})


def check_growth(options: Any) -> None:
    """Refuse members that are to be added to no run.

    Raises:
        InputError: there are some without --resume.
    """
    for name in ADDING:
        if getattr(options, name) and not getattr(options, "resume", True):
            raise invalid(
                flag(name), "was given without --resume", "both", "say which run is to grow"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(ResultOptions):
    """Where the results go."""

    preset: str = "default"
    """Settings to start from, one of those named above; other options override them."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Short for --preset quick."""
    directory: pathlib.Path | None = None
    """Run directory; by default a new one below runs/."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Continue the run that the directory holds, with its options."""


def train(
    options: Any,
    experiment: str,
    measure: Measure,
    *,
    problem: objectives.Problem | None = None,
    at_ends: str = "",
) -> tuple[xr.Dataset, pathlib.Path]:
    """Train what the options say under a progress bar.

    Args:
        options: `TrainingOptions` and `RunOptions` in one.
        experiment: its name, stored with the results.
        measure: gives the measurements; those of the options are added.
        problem: that of the options, where it has been loaded already.
        at_ends: names the measurements that take long where a window ends.

    Returns:
        The results and the run directory.
    """
    plan = options.plan()
    processes = Processes(options.devices())
    at_ends = ", ".join(
        filter(
            None,
            [
                at_ends or "measuring",
                "frozen passes" * bool(options.frozen_passes),
                "full-batch twin" * options.full_batch_twin,
            ],
        )
    )
    name = data_sets.folder_name(options.dataset, options.model)
    with usable_directory(options.directory, name, processes) as directory:
        problem = processes.by_all("data", lambda: problem or loaded(options))
        chosen = chosen_measurements(options, measure, problem)
        run = functools.partial(_run, options, experiment, problem, chosen, at_ends)
        dataset = run(plan, directory, options.devices())
        adding = [getattr(options, name) for name in ADDING]
        added_to = RunDirectory(directory)
        if any(adding) or processes.by_first("added members", added_to.added):
            with processes.held_by_first("lock of added members", added_to.locked):
                for path, group in processes.by_first(
                    "groups of members", lambda: list(groups(directory, plan, *adding))
                ):
                    devices = options.devices(group.num_members)
                    added = run(group, path, devices, resume=True)
                    dataset = merge_runs([dataset, new_members(dataset, added)])
    leave_to_first()
    return dataset, directory


def chosen_measurements(options: Any, measure: Measure, problem: objectives.Problem) -> list[Any]:
    """Return what is measured: what the experiment needs, and what the options add."""
    grams = [measurements.step_grams()] if options.keep_step_gram else []
    return [*measure(problem, options.plan()), measurements.test_accuracy(), *grams]


def _run(
    options: Any,
    experiment: str,
    problem: objectives.Problem,
    chosen: Sequence[Any],
    at_ends: str,
    plan: Plan,
    directory: pathlib.Path,
    devices: Sequence[jax.Device],
    *,
    resume: bool | None = None,
) -> xr.Dataset:
    """Train the members of a plan, those of the options or those that are added to them."""
    print(
        f"{options.model} on {problem.description['dataset']}: {len(plan.seeds)} seeds x "
        f"{len(plan.learning_rates)} learning rates, {plan.num_windows} windows of "
        f"{plan.window} updates -> {directory}",
        flush=True,
    )
    members = {"seeds": plan.seeds, "learning_rates": plan.learning_rates}
    stored = dataclasses.replace(options, **members, **dict.fromkeys(ADDING, ()))
    ends = [start + plan.window for start in plan.starts()]
    with contextlib.closing(Progress(ends, plan.num_members, at_ends=at_ends)) as progress:
        return run_ensemble(
            problem,
            plan,
            directory,
            measurements=chosen,
            start_from=options.start_from,
            resume=options.resume if resume is None else resume,
            members_at_once=options.members_at_once,
            devices=devices,
            devices_per_member=options.devices_per_member,
            metadata={"experiment": experiment, "options": command_line.options_as_json(stored)},
            report=progress.report,
            on_window=progress.window,
        )


def loaded(options: TrainingOptions) -> objectives.Problem:
    """Return the problem of the options, and say that it is being loaded."""
    with phase(f"loading {options.dataset}"):
        return options.problem()


@contextlib.contextmanager
def usable_directory(
    given: pathlib.Path | None, name: str, processes: Processes | None = None
) -> Iterator[pathlib.Path]:
    """Yield a directory that is there and can be written to, before anything that takes time.

    What was made for it is removed again if the work within is refused.

    Args:
        given: the directory of the options; None for a new one below runs/.
        name: of a new one, as for `new_directory`.
        processes: that use it together; None for this one alone.

    Raises:
        StorageError: it cannot be used.
    """
    processes = processes or Processes()
    directory, made = processes.by_first("run directory", lambda: _made(given, name))
    try:
        yield directory
    except (InputError, StorageError):
        if processes.first:
            with contextlib.suppress(OSError):  # not empty
                for path in made:
                    path.rmdir()
        raise


def _made(given: pathlib.Path | None, name: str) -> tuple[pathlib.Path, list[pathlib.Path]]:
    """Return the directory, and all directories that were made for it, the last one first."""
    wanted = given or pathlib.Path("runs")
    try:
        made = [path for path in (wanted, *wanted.parents) if not path.exists()]
        wanted.mkdir(parents=True, exist_ok=True)
        if not os.access(wanted, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StorageError(
            f"Cannot write to {wanted}: {error.strerror}. Choose another --directory."
        ) from error
    if given:
        return given, made
    directory = new_directory(name)
    return directory, [directory, *made]


def new_directory(name: str) -> pathlib.Path:
    """Make a new directory below runs/, named after what is run and when.

    Raises:
        StorageError: that is not possible.
    """
    try:
        return files.new_directory(
            pathlib.Path("runs") / f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
        )
    except StorageError as error:
        raise StorageError(f"{error} Name one with --directory.") from error
