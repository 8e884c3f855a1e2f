"""A tiny network and its data, for commands that are killed, stopped or kept from writing. Used by path, as a SPEC."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from landscape.resume import points as work

# More saves than one a second: more of the kills fall into one.
work.SAVE_EVERY = float(os.environ.get("FAULTS_SAVE_EVERY", work.SAVE_EVERY))


class Slow(nn.Module):
    """Sleeps in each call; says when the work begins, and sends itself SIGTERM in the call that is named."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 3))
        self.calls = 0

    def forward(self, inputs):
        self.calls += 1
        if self.calls == 2 and "FAULTS_BEGUN" in os.environ:  # the first is to see whether data and model fit
            Path(os.environ["FAULTS_BEGUN"]).touch()
        time.sleep(float(os.environ.get("FAULTS_SLEEP", "0")))
        if self.calls == int(os.environ.get("FAULTS_STOP_AT", "0")):
            os.kill(os.getpid(), signal.SIGTERM)
        return self.layers(inputs)


class Normed(Slow):
    """The same with a batch norm."""

    def __init__(self):
        super().__init__()
        self.layers.insert(2, nn.BatchNorm1d(8))


def points():
    """Three classes of noise."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(24, 32, generator=generator), torch.arange(24) % 3
