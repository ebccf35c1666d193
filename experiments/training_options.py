"""Options of experiments that train an ensemble: what is trained, by which SGD, and for how long.

What they make, the problem and the plan, is imported when it is made, so that --help is quick.
"""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments import data_sets
from experiments.command_line import ADDING
from experiments.jobs import JobOptions
from experiments.options import COUNT, UINT32, expanded, flag, within
from sgd_diffusion.errors import invalid

if TYPE_CHECKING:
    import jax

    from sgd_diffusion.dynamics.plan import Plan
    from sgd_diffusion.problems.datasets import Dataset
    from sgd_diffusion.problems.objectives import Problem

# One for all runs, so that members, runs and experiments have the same wrong labels.
LABEL_NOISE_SEED = 0
MAX_WINDOW = 100_000  # updates, whose matrix of products takes 75 GiB


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
        from sgd_diffusion.problems import models

        super().check()
        expanded("--dataset", pathlib.Path(self.dataset))
        self.plan()
        check_growth(self)
        models.model(self.model, initialization=self.initialization)

    def problem(self, data: "Dataset | None" = None) -> "Problem":
        """Return the problem: data, network and loss.

        Args:
            data: the data set of the options, where it has been loaded already.
        """
        import jax

        from sgd_diffusion.problems import models, objectives
        from sgd_diffusion.problems.label_noise import with_fresh_label_noise, with_label_noise

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

    def devices(self, most: int | None = None) -> "list[jax.Device]":
        """Return the devices that share the members.

        Args:
            most: how many at most; one for each member by default.

        Raises:
            InputError: there are fewer than asked for.
        """
        import jax

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

    def plan(self) -> "Plan":
        """Return the members and how long they run."""
        from sgd_diffusion.dynamics.plan import Plan

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
