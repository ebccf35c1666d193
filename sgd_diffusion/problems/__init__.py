"""What SGD optimizes: a loss on a pytree of parameters and its examples, data sets and networks."""

from sgd_diffusion.problems.augmentation import random_crop, random_flip, standard_augmentation
from sgd_diffusion.problems.datasets import Dataset, Examples, gaussian, load
from sgd_diffusion.problems.frozen_state import with_frozen_state
from sgd_diffusion.problems.label_noise import with_fresh_label_noise, with_label_noise
from sgd_diffusion.problems.losses import cross_entropy, smoothed_kl, softmax_mse
from sgd_diffusion.problems.mlp import MLP
from sgd_diffusion.problems.models import model
from sgd_diffusion.problems.objectives import Problem, accuracy, classification
from sgd_diffusion.problems.resnet import ResNet, ResNet18
from sgd_diffusion.problems.vgg import VGG
from sgd_diffusion.problems.vit import ViT
from sgd_diffusion.problems.wide_resnet import WideResNet

__all__ = [
    # any loss
    "Problem",
    "with_frozen_state",
    # classification
    "classification",
    "accuracy",
    "cross_entropy",
    "smoothed_kl",
    "softmax_mse",
    "random_crop",
    "random_flip",
    "standard_augmentation",
    # data
    "load",
    "gaussian",
    "with_label_noise",
    "with_fresh_label_noise",
    "Dataset",
    "Examples",
    # networks
    "model",
    "MLP",
    "ResNet",
    "ResNet18",
    "WideResNet",
    "VGG",
    "ViT",
]
