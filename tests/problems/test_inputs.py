"""Every integer option and every array that the problems take, in all kinds of numbers and all
modes.
"""

import jax
import numpy as np
from input_table import Argument, Integers, Number, Option, input_tests, mode_tests

from sgd_diffusion.problems.augmentation import compose, random_crop, random_flip
from sgd_diffusion.problems.datasets import channel_statistics, gaussian
from sgd_diffusion.problems.image_forms import read_arrays
from sgd_diffusion.problems.label_noise import with_fresh_label_noise, with_label_noise
from sgd_diffusion.problems.labeled_images import ARRAYS, Dataset, Examples, checked
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.models import model
from sgd_diffusion.problems.objectives import (
    classification,
    cross_entropy,
    smoothed_kl,
    softmax_mse,
)
from sgd_diffusion.problems.resnet import ResNet18
from sgd_diffusion.problems.vgg import VGG
from sgd_diffusion.problems.vit import ViT
from sgd_diffusion.problems.wide_resnet import WideResNet

IMAGES = (np.arange(96.0) % 7).reshape(3, 4, 4, 2)
PEOPLES = (np.arange(150.0) % 7).reshape(3, 2, 5, 5)  # channels first
LABELS = np.array([0, 2, 1])
LOGITS = (np.arange(12.0) % 5).reshape(3, 4)
KEY = jax.random.key(0)


def noise(**options):
    return gaussian(**{"train_size": 3, "test_size": 2, "shape": (2, 2, 1)} | options)


def loaded(images):
    return checked(Examples(images, LABELS), Examples(images, LABELS), "mine")


def as_people_have(images):
    found = dict(zip(ARRAYS, (images, LABELS, images, LABELS), strict=True))
    found = read_arrays(found, "mine", "mine", "arrays")
    # The types differ: unsigned bytes stay as they are.
    return found._replace(train=found.train._replace(images=found.train.images.astype("float32")))


def problem(**options):
    small = Dataset(Examples(IMAGES, LABELS), Examples(IMAGES, LABELS), 3, "mine")
    found = classification(MLP((3,)), small, **options)
    return found.examples, found.probe


def noisy(labels=LABELS, share=0.5):
    small = Dataset(Examples(IMAGES, labels), Examples(IMAGES, LABELS), 101, "mine")
    return with_label_noise(KEY, small, share).train.labels


def freshly(share):
    small = Dataset(Examples(IMAGES, LABELS), Examples(IMAGES, LABELS), 3, "mine")
    found = with_fresh_label_noise(classification(MLP((3,)), small), share)
    return found.augment(KEY, found.examples).labels


ENTRIES = [
    *(
        Option(f"gaussian({name})", lambda value, name=name: noise(**{name: value}), 7)
        for name in ("train_size", "test_size", "num_classes", "seed")
    ),
    Option("gaussian(shape)", lambda value: noise(shape=(value, 2, 1)), 3),
    Option("classification(probe_size)", lambda value: problem(probe_size=value), 2),
    Option(
        "random_crop(padding)", lambda value: random_crop(value)(KEY, IMAGES.astype("float32")), 1
    ),
    Option("model(num_classes)", lambda value: model("fc2", num_classes=value).features, 7),
    Number("with_label_noise(share)", lambda share: noisy(share=share), 0.5),
    Number("with_fresh_label_noise(share)", freshly, 0.5),
    Integers("with_label_noise(labels)", lambda labels: noisy(labels), np.array([5, 100, 0])),
    Option("MLP(features)", lambda value: MLP((value, 3)).features, 7),
    Option("VGG(depth)", lambda value: VGG(value).depth, 13),
    Option("VGG(width)", lambda value: VGG(11, width=value).width, 7),
    Option("WideResNet(depth)", lambda value: WideResNet(value).depth, 16),
    Option("WideResNet(widening)", lambda value: WideResNet(16, value).widening, 7),
    Option("WideResNet(width)", lambda value: WideResNet(16, width=value).width, 7),
    Option("ResNet18(width)", lambda value: ResNet18(width=value).width, 7),
    Option("ViT(patch)", lambda value: ViT(value).patch, 7),
    Option("ViT(depth)", lambda value: ViT(depth=value).depth, 7),
    Option("ViT(heads)", lambda value: ViT(heads=value).heads, 4),
    Option("ViT(width)", lambda value: ViT(width=value).width, 16),
    Number("ViT(dropout)", lambda value: ViT(dropout=value).dropout, 0.5),
    Argument(
        "checked(images)", lambda images: loaded(images).train.images.astype("float32"), IMAGES
    ),
    Argument("read_arrays(images)", lambda images: as_people_have(images).train.images, PEOPLES),
    Argument(
        "channel_statistics(images)", lambda images: channel_statistics(loaded(images)), IMAGES
    ),
    Argument("random_flip(images)", lambda images: random_flip(KEY, images), IMAGES),
    Argument(
        "compose(random_crop)(images)", lambda images: compose(random_crop(1))(KEY, images), IMAGES
    ),
    *(
        Argument(f"{loss.__name__}(logits)", lambda logits, loss=loss: loss(logits, LABELS), LOGITS)
        for loss in (cross_entropy, smoothed_kl, softmax_mse)
    ),
]
test_inputs = input_tests(ENTRIES)
test_modes = mode_tests(ENTRIES)
