"""D Eq. 18 in all its readings against a loop, where each leads, and the losses that work."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import binary_cross_entropy_with_logits

from gaussmix.nn import KernelBrierLoss, KernelGradientLoss, NGMGEntropyLoss
from gaussmix.nn.losses import index_kernel

ORIENTATIONS, SIGNS = ("target_minus_prediction", "prediction_minus_target"), ("eq13", "eq14")
READINGS = [
    {"orientation": o, "sign": s, "detach": d, "diagonal": g, "two_sided": t}
    for o, s, d, g, t in itertools.product(ORIENTATIONS, SIGNS, (True, False), (False, True), (False, True))
]
A = 5


def batch(seed: int, n: int = 4) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, A)), requires_grad=True), torch.tensor(
        rng.integers(0, 2, (n, A)).astype(float)
    )


def correlation(seed: int) -> Tensor:
    return torch.tensor(np.corrcoef(np.random.default_rng(seed).normal(size=(A, 40)) + 0.5))


def literal(z: Any, y: Any, sigma: float, reading: dict[str, Any]) -> float:
    """Eq. 18 of one picture, term by term."""
    p = [1 / (1 + math.exp(-value)) for value in z]
    total = 0.0
    for j in range(A):
        ngmg = 0.0
        for i in range(A):
            if i == j and not reading["diagonal"]:
                continue
            L = y[i] - p[i] if reading["orientation"] == "target_minus_prediction" else p[i] - y[i]
            if L > 0 and not reading["two_sided"]:
                L = 0.0
            ngmg += L * math.exp(-((j - i) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
        if reading["sign"] == "eq14":
            ngmg = -ngmg
        total -= ngmg * math.log(p[j])
    return total


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_eq18_is_the_loop(reading: dict[str, Any]) -> None:
    z, y = batch(0)
    expected = [literal(z[b].tolist(), y[b].tolist(), 1.7, reading) for b in range(len(z))]
    values = {
        reduction: NGMGEntropyLoss(A, sigma=1.7, reduction=reduction, **reading).double()(z, y)
        for reduction in ("none", "sum", "mean")
    }
    np.testing.assert_allclose(values["none"].detach(), expected, rtol=1e-6)
    assert values["sum"].item() == pytest.approx(sum(expected), rel=1e-6)
    assert values["mean"].item() == pytest.approx(sum(expected) / len(z), rel=1e-6)
    kernel = index_kernel(A, 1.7)
    given = NGMGEntropyLoss(kernel, reduction="none", **reading)(z, y)
    np.testing.assert_allclose(given.detach(), expected, rtol=1e-6)


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_eq18_gradients(reading: dict[str, Any]) -> None:
    z, y = batch(1)
    loss = NGMGEntropyLoss(A, **reading).double()
    if not reading["detach"]:
        assert gradcheck(lambda logits: loss(logits, y), (z,))
        return
    p = z.detach().sigmoid()
    difference = y - p if reading["orientation"] == "target_minus_prediction" else p - y
    factor = (difference if reading["two_sided"] else difference.clamp(max=0)) @ loss.kernel
    factor = factor if reading["sign"] == "eq13" else -factor
    (slope,) = torch.autograd.grad(loss(z, y), z)
    torch.testing.assert_close(slope, -factor * (1 - p) / len(z))


def settled(
    loss: Any, frequencies: Tensor, start: float = 0.5, *, steps: int = 1000, slow_below: float = 0.0
) -> Tensor:
    """p after descent with a logit for each attribute, on all 2^A targets weighted by their probability.

    A step is 0.1 long in the logit that moves most, also where gradients vanish, or shorter where their largest is
    below `slow_below`. Logits stop at -30 and 30.
    """
    y = torch.tensor(list(itertools.product((0.0, 1.0), repeat=A)), dtype=torch.float64)
    mass = torch.where(y > 0, frequencies, 1 - frequencies).prod(-1)
    z = torch.full((A,), math.log(start / (1 - start)), dtype=torch.float64)
    z = (z + 0.01 * torch.arange(A)).requires_grad_()
    for _ in range(steps):
        (slope,) = torch.autograd.grad(mass @ loss(z.expand(len(y), A), y), z)
        slope[(z.detach().abs() >= 30) & (slope * z.detach() < 0)] = 0
        if not slope.any():
            break
        with torch.no_grad():
            z -= slope * 0.1 / max(slow_below, float(slope.abs().max()))
            z.clamp_(-30, 30)
    return z.detach().sigmoid()


FREQUENCIES = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.2], dtype=torch.float64)


@pytest.mark.parametrize("reading", [r for r in READINGS if not r["two_sided"]], ids=str)
def test_one_sided_readings_end_at_0_and_1(reading: dict[str, Any]) -> None:
    """The docstring's table."""
    loss = NGMGEntropyLoss(A, reduction="none", **reading).double()
    p = settled(loss, FREQUENCIES)
    assert torch.minimum(p, 1 - p).max() < 0.02
    ends = (p > 0.5).tolist()
    towards_prediction = reading["orientation"] == "prediction_minus_target"
    if reading["detach"] or towards_prediction:
        assert ends == [reading["sign"] == "eq14"] * A
    elif reading["sign"] == "eq13":
        assert 0 < sum(ends) < A
    else:
        assert ends == [True] * A
        low = settled(loss, FREQUENCIES, start=0.05)
        assert low.max() < 0.05


@pytest.mark.parametrize("reading", [r for r in READINGS if r["two_sided"]], ids=str)
def test_two_sided_readings(reading: dict[str, Any]) -> None:
    """Only the detached ones with the diagonal, in one of the two directions, find the frequencies."""
    forward = (reading["orientation"] == "target_minus_prediction") == (reading["sign"] == "eq13")
    loss = NGMGEntropyLoss(A, reduction="none", **reading).double()
    p = settled(loss, FREQUENCIES, slow_below=0.02)
    learns = reading["detach"] and reading["diagonal"] and forward
    assert ((p - FREQUENCIES).abs().max() < 1e-3) == learns
    z = FREQUENCIES.logit()[None].requires_grad_()
    y = FREQUENCIES[None]  # L is linear in y, two-sided: the expectation is the value at the frequencies
    (slope,) = torch.autograd.grad(loss(z, y).sum(), z)
    assert (slope.abs().max() < 1e-12) == reading["detach"]  # p = f is a fixed point


@pytest.mark.parametrize("kernel", [index_kernel(A, 0.7), correlation(0)], ids=["index", "correlation"])
@pytest.mark.parametrize("make", [KernelGradientLoss, KernelBrierLoss])
def test_the_working_ones_find_the_frequencies(make: Any, kernel: Tensor) -> None:
    loss = make(kernel.double(), reduction="none")
    for start in (0.5, 0.02):
        assert (settled(loss, FREQUENCIES, start, slow_below=0.02) - FREQUENCIES).abs().max() < 1e-4


def test_kernel_gradient() -> None:
    z, y = batch(2)
    loss = KernelGradientLoss(A, sigma=0.8).double()
    value = loss(z, y)
    expected = binary_cross_entropy_with_logits(z, y, reduction="sum") / len(z)
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    (slope,) = torch.autograd.grad(value, z)
    torch.testing.assert_close(slope, (z.sigmoid() - y) @ loss.kernel / len(z))
    identity = KernelGradientLoss(torch.eye(A, dtype=torch.float64))
    (plain,) = torch.autograd.grad(identity(z, y), z)
    torch.testing.assert_close(plain, torch.autograd.grad(expected, z)[0])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_kernel_gradient_lowers_the_cross_entropy(seed: int) -> None:
    """Along its own direction the expected cross-entropy falls, whatever the kernel and the frequencies."""
    rng = np.random.default_rng(seed)
    f = torch.tensor(rng.uniform(0.02, 0.98, (1, A)))
    z = torch.tensor(rng.normal(scale=2, size=(1, A)), requires_grad=True)
    (slope,) = torch.autograd.grad(KernelGradientLoss(correlation(seed))(z, f), z)
    (of_entropy,) = torch.autograd.grad(binary_cross_entropy_with_logits(z, f, reduction="sum"), z)
    assert float((slope * of_entropy).sum()) > 0


def test_kernel_brier() -> None:
    z, y = batch(3)
    kernel = correlation(1)
    loss = KernelBrierLoss(kernel, reduction="none")
    error = (z.sigmoid() - y).detach()
    expected = [sum(float(e[i] * kernel[i, j] * e[j]) for i in range(A) for j in range(A)) / 2 for e in error]
    torch.testing.assert_close(loss(z, y).detach(), torch.tensor(expected, dtype=torch.float64))
    assert gradcheck(lambda logits: loss(logits, y), (z,))
    assert gradgradcheck(lambda logits: loss(logits, y), (z,))
    plain = KernelBrierLoss(torch.eye(A, dtype=torch.float64), reduction="sum")(z, y)
    assert plain.item() == pytest.approx(float((error**2).sum() / 2), rel=1e-12)


@pytest.mark.parametrize("make", [NGMGEntropyLoss, KernelGradientLoss, KernelBrierLoss])
def test_extreme_logits_float32_and_leading_shapes(make: Any) -> None:
    loss = make(A)
    z = torch.tensor([[-200.0, 200, -50, 50, 0]], requires_grad=True)
    y = torch.tensor([[1, 0, 1, 0, 1]])
    value = loss(z, y)
    assert value.isfinite()
    assert torch.autograd.grad(value, z)[0].isfinite().all()
    rows, targets = (part.float() for part in batch(4, 6))
    flat = make(A, reduction="none")(rows, targets)
    assert flat.shape == (6,)
    torch.testing.assert_close(make(A, reduction="none")(rows.view(2, 3, A), targets.view(2, 3, A)), flat.view(2, 3))
    assert list(loss.state_dict()) == ["kernel"]
    assert "attributes=5" in repr(loss)


@pytest.mark.parametrize("make", [NGMGEntropyLoss, KernelGradientLoss, KernelBrierLoss])
def test_bad_input(make: Any) -> None:
    z, y = batch(5)
    with pytest.raises(ValueError, match=r"logits have shape \(4, 5\) and targets \(4, 4\); both must be \(..., 5\)"):
        make(A)(z, y[:, :4])
    with pytest.raises(ValueError, match=r"both must be \(..., 6\)"):
        make(6)(z, y)
    with pytest.raises(ValueError, match=r"targets reach from 0 to 2; they must lie in \[0, 1\]"):
        make(A)(z, 2 * y)
    with pytest.raises(ValueError, match=r"reduction is 'avg'; choose one of 'mean', 'sum', 'none'"):
        make(A, reduction="avg")
    with pytest.raises(ValueError, match="sigma is -1"):
        make(A, sigma=-1.0)
    with pytest.raises(ValueError, match="number of attributes is 0"):
        make(0)
    with pytest.raises(ValueError, match=r"kernel has shape \(2, 3\); it must be \(A, A\)"):
        make(torch.ones(2, 3))
    with pytest.raises(ValueError, match="kernel differs from its transpose by up to 1"):
        make(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="kernel contains NaN"):
        make(torch.full((2, 2), torch.nan))
    with pytest.raises(TypeError, match="sigma is 'a'; give a positive standard deviation, in attributes"):
        KernelBrierLoss(3, sigma="a")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"sigma is 2.0, but the kernel is given"):
        make(torch.eye(2), sigma=2.0)
    with pytest.raises(TypeError, match="give the number of attributes or a tensor"):
        make([[1.0]])


def test_kernels_that_learn_nothing_are_refused() -> None:
    for make in (KernelGradientLoss, KernelBrierLoss):
        with pytest.raises(ValueError, match=r"is not positive definite to rounding; use a smaller sigma"):
            make(40, sigma=10.0)
        with pytest.raises(ValueError, match="eigenvalues from -1 to 3"):
            make(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))


def test_unknown_readings() -> None:
    with pytest.raises(ValueError, match="orientation is 'p_minus_y'; choose one of 'target_minus_prediction'"):
        NGMGEntropyLoss(A, orientation="p_minus_y")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="sign is 'eq12'; choose one of 'eq13', 'eq14'"):
        NGMGEntropyLoss(A, sign="eq12")  # pyright: ignore[reportArgumentType]
