"""The loss of normalised logits against its formula in NumPy."""

import numpy as np
import pytest
import torch
from problems import DTYPE, problem

from landscape import Objective
from landscape.errors import InputError
from landscape.losses import of_normalized_logits, resolve_loss


def test_normalized_logits_are_blind_to_the_scale_of_the_last_layer():
    p = problem("tanh-mlp")
    loss = of_normalized_logits(resolve_loss("cross_entropy"))
    data = (p.inputs, p.targets)
    before = Objective(p.model, loss, data, dtype=DTYPE).value()
    plain = p.objective().value()
    with torch.no_grad():
        for param in list(p.model.parameters())[-2:]:
            param *= 2
    assert Objective(p.model, loss, data, dtype=DTYPE).value() == pytest.approx(before, rel=1e-12)
    assert p.objective().value() != pytest.approx(plain, rel=1e-3)
    logits = p.model(p.inputs).detach().numpy()
    logits = (logits - logits.mean(1, keepdims=True)) / logits.std(1, keepdims=True)
    truth = np.log(np.exp(logits).sum(1)) - logits[np.arange(50), p.targets.numpy()]
    assert before == pytest.approx(truth.mean(), rel=1e-12)


def test_logits_of_a_users_loss_are_not_normalized():
    with pytest.raises(InputError, match="normalise those"):
        of_normalized_logits(resolve_loss(lambda outputs, targets: outputs.mean()))
