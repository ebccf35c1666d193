"""The CIFAR ResNet in PyTorch, for comparison on the same machine in the same run.

PyTorch is no dependency.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from sgd_diffusion._types import ArrayLike, PyTree


def network(depth: int, channels: int) -> Any:
    """Return the CIFAR ResNet with its usual widths, for images of `channels` and ten classes."""
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(outputs)
            self.shortcut = nn.Sequential()
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x):
            y = functional.relu(self.norm1(self.conv1(x)))
            return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    blocks, width = [], 16
    for stage in range(3):
        for block in range((depth - 2) // 6):
            outputs = 16 * 2**stage
            blocks.append(Block(width, outputs, 2 if stage and not block else 1))
            width = outputs
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 10),
    )


def load_weights(model: Any, params: PyTree, state: PyTree) -> None:
    """Give a `network` the parameters and running averages of a `ResNet` of the same depth."""
    import torch

    def copy(target, source):
        with torch.no_grad():
            target.copy_(torch.tensor(np.asarray(source)))

    def convolution(module, name, params):
        copy(module.weight, np.transpose(params[name]["kernel"], (3, 2, 0, 1)))

    def norm(module, name, params, averages):
        for target, source in (
            (module.weight, params[name]["scale"]),
            (module.bias, params[name]["bias"]),
            (module.running_mean, averages[name]["mean"]),
            (module.running_var, averages[name]["var"]),
        ):
            copy(target, source)

    averages = state["batch_stats"]
    convolution(model[0], "stem", params)
    norm(model[1], "stem_norm", params, averages)
    for block, name in zip(
        model[3:-3], sorted(name for name in params if name.startswith("stage")), strict=True
    ):
        for number in (1, 2):
            convolution(getattr(block, f"conv{number}"), f"conv{number}", params[name])
            norm(getattr(block, f"norm{number}"), f"norm{number}", params[name], averages[name])
        if len(block.shortcut):
            convolution(block.shortcut[0], "shortcut", params[name])
            norm(block.shortcut[1], "shortcut_norm", params[name], averages[name])
    copy(model[-1].weight, np.transpose(params["linear"]["kernel"]))
    copy(model[-1].bias, params["linear"]["bias"])


def as_tensors(images: ArrayLike, labels: ArrayLike) -> tuple[Any, Any]:
    """Return images (B, H, W, C) float32 and labels as PyTorch takes them."""
    import torch

    return torch.tensor(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels).long()


def training_step(
    depth: int, images: np.ndarray, labels: np.ndarray, *, learning_rate: float, channels_last: bool
) -> Callable[[], None]:
    """Return a function that makes one SGD step in eager PyTorch on a fixed batch.

    Args:
        depth: of the network.
        images: (B, H, W, C) float32.
        labels: (B,) integers.
        learning_rate: step size.
        channels_last: memory layout.
    """
    import torch
    from torch.nn import functional

    model, (batch, target) = network(depth, images.shape[-1]), as_tensors(images, labels)
    if channels_last:
        model, batch = (
            model.to(memory_format=torch.channels_last),
            batch.to(memory_format=torch.channels_last),
        )
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)

    def step():
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model(batch), target).backward()
        optimizer.step()

    return step
