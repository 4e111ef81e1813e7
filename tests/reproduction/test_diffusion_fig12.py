"""D Figure 12: the networks against a loop, tuning, what the losses lead to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data.layouts import write_celeba

from gaussmix.data.base import AttributeDataset, DataError
from reproduction.diffusion import fig12 as diffusion_fig12
from reproduction.diffusion.fig12 import (
    BCE,
    LEARNS,
    LITERAL,
    MOMENTUM,
    READINGS,
    WORKING,
    Curves,
    Pictures,
    Training,
    n_trainings,
    study,
    train,
    tune,
)


def pictures(seed: int, n: int = 40) -> Pictures:
    rng = np.random.default_rng(seed)
    return Pictures(
        torch.tensor(rng.normal(size=(n, 3)), dtype=torch.float32),
        torch.tensor(rng.integers(0, 2, (n, 4)), dtype=torch.float32),
    )


def squared(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (logits.sigmoid() - targets).square().sum(-1)


def test_networks_train_as_one_by_itself() -> None:
    """A network written out, with PyTorch's own optimizer, gives the errors of its rate and seed among six."""
    fit, valid, test = (pictures(seed) for seed in (0, 1, 2))
    how = Training(rates=(0.01, 0.3), seeds=(4, 5, 6), n_steps=7, batch_size=8, n_hidden=5, every=3)
    curves = train(squared, fit, valid, test, how)
    assert curves.steps.tolist() == [0, 3, 6, 7]
    assert curves.test.shape == curves.undecided.shape == (4, 2, 3)

    generator = torch.Generator().manual_seed(5)
    first, last = torch.nn.Linear(3, 5), torch.nn.Linear(5, 4)
    net = torch.nn.Sequential(first, torch.nn.ReLU(), last)
    with torch.no_grad():
        first.weight.copy_((torch.randn(3, 5, generator=generator) * (2 / 3) ** 0.5).T)
        last.weight.copy_((torch.randn(5, 4, generator=generator) * 0.1 / 5**0.5).T)
        first.bias.zero_()
        last.bias.zero_()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3, momentum=MOMENTUM)
    rng = np.random.default_rng([5, 1])
    found = []
    for step in range(8):
        if step in (0, 3, 6, 7):
            with torch.no_grad():
                p = net(test.x).sigmoid()
                undecided = (0.5 - (p - 0.5).abs()).mean()
                errors = [squared(net(part.x), part.y).mean() for part in (valid, test)]
                found.append([float(value) for value in (*errors, undecided)])
        rows = torch.from_numpy(rng.integers(0, 40, 8))
        optimizer.zero_grad()
        squared(net(fit.x[rows]), fit.y[rows]).mean().backward()
        optimizer.step()
    np.testing.assert_allclose(np.stack([curves.valid, curves.test, curves.undecided], -1)[:, 1, 1], found, rtol=1e-5)


def test_what_diverges_is_not_chosen() -> None:
    steps = np.array([0, 1, 2])
    valid = np.array([[[4.0, 4.0], [4, 4]], [[3, 3], [1, 2]], [[2, 2], [np.inf, 1]]])
    tuned = tune(Curves(steps, valid, valid + 10, valid / 10), (0.1, 1.0))
    assert tuned.rate == 0.1
    assert tuned.last.tolist() == [12, 12]
    assert tuned.curve.tolist() == [[14, 14], [13, 13], [12, 12]]
    assert tuned.stop == 1
    assert tuned.stopped.tolist() == [11, 12]
    assert (tuned.pushed, tuned.pushed_error, tuned.pushed_undecided) == (0.1, 12, 0.2)
    both = tune(Curves(steps[:2], valid[:2], valid[:2], valid[:2] / 10), (0.1, 1.0))
    assert (both.pushed, both.pushed_error, both.pushed_undecided) == (1.0, 1.5, pytest.approx(0.15))


def faces(n: int = 600) -> AttributeDataset:
    """Attribute k is whether the grey of stripe k is high; one is rare and one in half of the pictures."""
    rng = np.random.default_rng(3)
    attributes = (rng.uniform(size=(n, 4)) < [0.05, 0.2, 0.5, 0.8]).astype(np.uint8)
    images = np.repeat(np.repeat(attributes, 8, 1)[:, :, None], 32, 2)[..., None] * 100 + rng.integers(
        0, 100, (n, 32, 32, 1)
    )
    split = np.arange(n) % 3
    return AttributeDataset(
        "stripes", images.repeat(3, 3).astype(np.uint8), attributes, tuple("abcd"), split.astype(np.uint8), ""
    )


HOW = Training(rates=(0.01, 0.1), seeds=(0, 1), n_steps=300, batch_size=32, n_hidden=8, every=50)


@pytest.mark.parametrize("kind", ["constant", "picture"])
def test_only_losses_with_the_right_fixed_point_learn(kind: str) -> None:
    calls: list[None] = []
    part = study(faces(), kind, HOW, 1.0, lambda: calls.append(None))
    assert len(calls) == n_trainings(kind)
    errors = {name: one.last.mean() for name, one in part.tuned.items()}
    best = part.constant if kind == "constant" else 0.2
    for name in (BCE, *WORKING, LEARNS):
        assert errors[name] < best + 0.1
    assert min(errors[name] for name in LITERAL) > part.constant + 0.1
    if kind == "constant":
        right = {name for name in READINGS if errors[name] < best + 0.1}
        assert right == {LEARNS, LEARNS.replace("y - p, Eq. 13", "p - y, Eq. 14")}
    y = torch.from_numpy(faces().attributes.astype(np.float32))[np.random.default_rng(0).permutation(600)]
    valid_and_test, fit = y[:120], y[120:]
    test = valid_and_test[60:]
    assert part.constant == pytest.approx(float((fit.mean(0) - test).square().sum(-1).mean()), rel=1e-5)
    assert part.least == pytest.approx(float(test.var(0, correction=0).sum()), rel=1e-5)
    assert part.zeros == pytest.approx(float(test.sum(1).mean()), rel=1e-5)


def test_celeba_is_taken_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = diffusion_fig12.Config()
    monkeypatch.delenv("GAUSSMIX_CELEBA", raising=False)
    assert config.folder is None
    trainings = config.n_steps
    monkeypatch.setenv("GAUSSMIX_CELEBA", str(write_celeba(tmp_path / "celeba", 40)))
    assert config.folder == tmp_path / "celeba"
    assert config.n_steps == 2 * trainings
    assert config.quick().folder is None

    done: list[int] = []
    small = replace(
        config.quick(), celeba="$GAUSSMIX_CELEBA", avatars=30, training_steps=3, rates=(0.01,), batch_size=4
    )
    result = diffusion_fig12.run(small, done.append)
    assert done == list(range(1, small.n_steps + 1))
    assert list(result.ours) == ["avatars, constant", "avatars, picture", "celeba, constant", "celeba, picture"]
    assert "CelebA (40 pictures)" in result.readings[0]
    assert str(tmp_path) not in str(result)

    monkeypatch.setenv("GAUSSMIX_CELEBA", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="nothing does not exist"):
        diffusion_fig12.run(replace(small, avatars=30), done.append)
