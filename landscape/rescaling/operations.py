"""What operations do to scales. An operation that is not listed here is not understood, and what it touches unscaled.

Each rule takes the call and its arguments, tensors as `Scaled`, and returns the scale of the outcome where the inputs
have theirs. Where it does not understand the arguments it raises ValueError, or whatever comes of them; equations made
before that only leave fewer layers to be rescaled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from .scales import UNSCALED, Form, Scales, combined


@dataclass(frozen=True)
class Scaled:
    """A tensor, and the logarithm of its scale."""

    tensor: Tensor
    form: Form


@dataclass(frozen=True)
class Call:
    """One call, by its name in the graph; `rectified` lists the ReLU and their scales."""

    name: str
    scales: Scales
    rectified: list[tuple[str, Form]]


Rule = Callable[..., Form]


def passing(_: Call, input: Scaled, *args: Any, **kwargs: Any) -> Form:
    """Positively homogeneous of degree one: pools, movements, sums over axes; of one tensor."""
    if any(isinstance(leaf, Scaled) for leaf in pytree.tree_leaves((args, kwargs))):
        raise ValueError("several tensors")
    return input.form


def rectifying(call: Call, input: Scaled, *args: Any, **kwargs: Any) -> Form:
    """ReLU and its leaky kin."""
    form = passing(call, input, *args, **kwargs)
    call.rectified.append((call.name, form))
    return form


def prelu(call: Call, input: Scaled, weight: Scaled) -> Form:
    """PReLU: its slopes stay."""
    call.scales.equate(weight.form, UNSCALED)
    return rectifying(call, input)


def clamp(call: Call, input: Scaled, min: Any = None, max: Any = None) -> Form:
    """ReLU, where it is the maximum with zero."""
    if isinstance(min, Tensor | Scaled) or min != 0 or max is not None:
        raise ValueError("bounds that are not scaled")
    return rectifying(call, input)


def adding(call: Call, one: Any, other: Any, *, alpha: Any = 1) -> Form:  # noqa: ARG001 - the signature of the operation
    """Sums and extrema of two: both of one scale, and a constant unscaled but for the number zero."""
    return _joined(call, [operand for operand in (one, other) if isinstance(operand, Scaled) or operand != 0])


def concatenating(call: Call, tensors: Any, dim: int = 0) -> Form:  # noqa: ARG001 - the signature of the operation
    """Tensors one after the other: all of one scale."""
    return _joined(call, tensors)


def _joined(call: Call, operands: Any) -> Form:
    forms = [_form(operand) for operand in operands]
    for form in forms[1:]:
        call.scales.equate(forms[0], form)
    return forms[0]


def multiplying(_: Call, one: Any, other: Any) -> Form:
    """Products of numbers or of matrices."""
    return combined(_form(one), _form(other))


def dividing(_: Call, one: Any, other: Any) -> Form:
    """one / other."""
    return combined(_form(one), _form(other), -1)


def _form(operand: Any) -> Form:
    return operand.form if isinstance(operand, Scaled) else UNSCALED


def affine(call: Call, input: Scaled, weight: Scaled, bias: Scaled | None = None, *_: Any, **__: Any) -> Form:
    """Dense layers and convolutions: x * W + b."""
    form = combined(input.form, weight.form)
    if bias is not None:
        call.scales.equate(bias.form, form)
    return form


def embedding(_: Call, input: Any, weight: Scaled, padding_idx: Any = None, max_norm: Any = None, *__: Any) -> Form:  # noqa: ARG001
    """Rows of a table by number."""
    if max_norm is not None:
        raise ValueError("rows that are cut to a length")
    return weight.form


def padding(_: Call, input: Scaled, pad: Any, mode: str = "constant", value: Any = None) -> Form:  # noqa: ARG001
    """Zeros, or what is there already, at the ends of axes."""
    if mode == "constant" and value not in (None, 0):
        raise ValueError("padded by a constant")
    return input.form


def normalising(call: Call, input: Scaled, weight: Scaled | None = None, bias: Scaled | None = None) -> Form:
    """The constant added to the variance is not scaled, so the input must not be; weight and bias are one scale."""
    call.scales.equate(input.form, UNSCALED)
    form = _form(weight)
    if bias is not None:
        call.scales.equate(bias.form, form)
    return form


def norm_of_statistics(
    call: Call,
    input: Scaled,
    running_mean: Any = None,  # noqa: ARG001 - the signature of the operation
    running_var: Any = None,  # noqa: ARG001
    weight: Scaled | None = None,
    bias: Scaled | None = None,
    *_: Any,
    **__: Any,
) -> Form:
    """Batch and instance norm."""
    return normalising(call, input, weight, bias)


def norm_of_sample(
    call: Call,
    input: Scaled,
    shape: Any = None,  # noqa: ARG001 - the signature of the operation
    weight: Scaled | None = None,
    bias: Scaled | None = None,
    eps: Any = None,  # noqa: ARG001
) -> Form:
    """Layer, group and root-mean-square norm."""
    return normalising(call, input, weight, bias)


def attribute(call: Call, input: Scaled, name: str) -> Form:
    """The transpose, written as an attribute."""
    if name not in ("T", "mT"):
        raise ValueError("an attribute that is not understood")
    return passing(call, input)


def of_layer(rule: Rule) -> Rule:
    """The rule of a layer that the trace takes as a whole: weight and bias are its own."""

    def of_own(call: Call, input: Scaled, *_: Any, weight: Any = None, bias: Any = None, **__: Any) -> Form:
        return rule(call, input, weight=weight, bias=bias)

    return of_own
