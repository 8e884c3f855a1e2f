"""The two LeNets: the convolutional one, and the perceptron of two hidden layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from .checks import require_images
from .networks import mlp


def lenet(*, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """LeNet-5 in today's form: two of [conv 5x5, ReLU, max-pool 2] with 6 and 16 channels, then 120 - 84 - classes.

    LeCun, Bottou, Bengio & Haffner (1998, section II.B), with ReLU for the scaled tanh, max-pooling for the trainable
    subsampling, all of the 6 channels for each of the 16, and a linear output for the radial basis functions. The first
    convolution pads by 2, which takes 28 x 28 to the paper's 32 x 32. Images of any channels, 12 x 12 pixels or more;
    61,706 params at (1, 28, 28) and 10 classes. Raises InputError for other inputs.
    """
    planes, height, breadth = require_images("lenet", input_shape, pixels=12)
    # The second convolution does not pad, so a side of s pixels ends as (s // 2 - 4) // 2.
    rows, columns = ((side // 2 - 4) // 2 for side in (height, breadth))
    return nn.Sequential(
        nn.Conv2d(planes, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * rows * columns, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, num_classes),
    )


def lenet300(*, input_shape: Sequence[int], num_classes: int) -> nn.Module:
    """LeNet-300-100: a perceptron with ReLU layers of 300 and 100 units.

    LeCun et al. (1998, section III.C), with the ReLU of Frankle, Dziugaite, Roy & Carbin (2020), who call it LeNet.
    Inputs of any shape; 266,610 params at 784 inputs and 10 classes.
    """
    return mlp((300, 100), input_shape=input_shape, num_classes=num_classes)
