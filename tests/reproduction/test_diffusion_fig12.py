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
    READINGS,
    SIDE,
    WORKING,
    compare_losses,
    loss_names,
    over_all,
    unmatched_lead,
)
from reproduction.diffusion.networks import MOMENTUM, ErrorCurves, Split, TrainingGrid, _start, train, tune
from reproduction.page import PAGES


def pictures(seed: int, n: int = 40) -> Split:
    rng = np.random.default_rng(seed)
    return Split(
        torch.tensor(rng.normal(size=(n, 3)), dtype=torch.float32),
        torch.tensor(rng.integers(0, 2, (n, 4)), dtype=torch.float32),
    )


def squared(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (logits.sigmoid() - targets).square().sum(-1)


def test_networks_train_as_one_by_itself() -> None:
    """A network written out, with PyTorch's own optimizer, gives the errors of its rate and seed among six."""
    fit, valid, test = (pictures(seed) for seed in (0, 1, 2))
    how = TrainingGrid(rates=(0.01, 0.3), seeds=(4, 5, 6), n_steps=7, batch_size=8, n_hidden=5, every=3)
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


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_diverges_is_not_chosen() -> None:
    steps = np.array([0, 1, 2])
    valid = np.array([[[4.0, 4.0], [4, 4]], [[3, 3], [1, 2]], [[2, 2], [np.inf, 1]]])
    tuned = tune(ErrorCurves(steps, valid, valid + 10, valid / 10), (0.1, 1.0))
    assert tuned == {
        "rate": 0.1,
        "test_error": 12,
        "standard_deviation": 0,
        "early_stopped": 11.5,
        "early_stopped_at": 1,
        "largest_finite_rate": 0.1,
        "test_error_there": 12,
        "from_0_or_1_there": 0.2,
    }
    both = tune(ErrorCurves(steps[:2], valid[:2], valid[:2], valid[:2] / 10), (0.1, 1.0))
    largest = [both[key] for key in ("largest_finite_rate", "test_error_there", "from_0_or_1_there")]
    assert largest == [1.0, 1.5, pytest.approx(0.15)]
    ends = np.array([[[np.inf, 1.0]]])
    assert tune(ErrorCurves(steps[:1], ends, ends, ends), (0.1,))["test_error"] is None


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


HOW = TrainingGrid(rates=(0.01, 0.1), seeds=(0, 1), n_steps=300, batch_size=32, n_hidden=8, every=50)


@pytest.mark.parametrize("kind", ["constant", "picture"])
def test_only_losses_with_the_right_fixed_point_learn(kind: str) -> None:
    calls: list[None] = []
    part, shown = compare_losses(faces(), kind, HOW, 1.0, lambda: calls.append(None))
    assert len(calls) == len(loss_names(kind)) + 2
    errors = {name: one["test_error"] for name, one in part["losses"].items()}
    best = part["training_frequencies"] if kind == "constant" else 0.2
    for name in (BCE, *WORKING, LEARNS):
        assert errors[name] < best + 0.1
    assert min(errors[name] for name in LITERAL) > part["training_frequencies"] + 0.1
    if kind == "constant":
        right = {name for name in READINGS if errors[name] < best + 0.1}
        assert right == {LEARNS, LEARNS.replace("y - p, Eq. 13", "p - y, Eq. 14")}
    y = torch.from_numpy(faces().attributes.astype(np.float32))[np.random.default_rng(0).permutation(600)]
    valid_and_test, fit = y[:120], y[120:]
    test = valid_and_test[60:]
    assert part["training_frequencies"] == pytest.approx(float((fit.mean(0) - test).square().sum(-1).mean()), rel=1e-5)
    assert part["test_frequencies"] == pytest.approx(float(test.var(0, correction=0).sum()), rel=1e-5)
    assert part["zeros"] == pytest.approx(float(test.sum(1).mean()), rel=1e-5)
    assert (part["halves"], part["pictures"], part["attributes"], part["early_step"]) == (1.0, 600, 4, 0)
    assert part["best_literal"] == part["losses"][part["best_literal_reading"]]
    assert part["best_literal_reading"] in LITERAL
    matched = {key: curve[-1].mean() for key, curve in shown["matched"].items()}
    assert matched == pytest.approx(
        {"literal": part["best_literal"]["test_error"]} | {key: errors[key] for key in (BCE, LEARNS, WORKING[2])}
    )
    assert part["unmatched"]["0.1"]["end"]["BCE"] == shown["unmatched"]["BCE"][-1, 1]
    assert shown["unmatched"]["mean"].shape == (7, 2)


def test_up_to_which_rate_the_unmatched_loss_is_ahead() -> None:
    bce = np.array([[4.0, 3, 2, np.inf], [4, 3, 2, 1]])
    mean = np.array([[3.9, 2, 3, 1], [4.1, 2, 1, 0]])
    found = unmatched_lead({"BCE": bce, "mean": mean, "sum": mean - 2}, (0.001, 0.01, 0.1, 1.0))
    assert found["mean"] == {"early": 0.01, "end": None}
    assert found["sum"] == {"early": 1.0, "end": 1.0}
    assert found["largest"] == {"rate": 1.0, "BCE": None, "mean": 1, "sum": -1}


def test_over_all_data_and_inputs() -> None:
    def case(error: float, **changes: float) -> dict:
        row = {"rate": 0.1, "early_stopped_at": 5, "test_error": error, "test_error_there": 9, "from_0_or_1_there": 0.1}
        losses = dict.fromkeys((BCE, *LITERAL), row) | {LITERAL[0]: row | changes}
        return {"losses": losses, "best_literal": {"test_error": error + 1}}

    ours = {
        "a, constant": case(3.0, rate=0.01, early_stopped_at=0),
        "a, picture": case(1.0, rate=1.0, test_error_there=20, from_0_or_1_there=0.2),
    }
    assert over_all(ours, (0.01, 0.1, 1.0)) == {
        "gain": {"a": {"BCE": 2.0, "best_literal": 2.0}},
        "losses": 18,
        "at_edge": 2,
        "at_edge_and_best_untrained": 1,
        "largest_from_0_or_1": 0.2,
        "test_error_there": [9, 20],
    }


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
    measured = diffusion_fig12.measure(small, done.append)
    assert done == list(range(1, small.n_steps + 1))
    assert list(measured.ours) == [
        "avatars, constant",
        "avatars, picture",
        "celeba, constant",
        "celeba, picture",
        "all",
    ]
    assert measured.ours["celeba, picture"]["pictures"] == 40
    assert str(tmp_path) not in str(measured)

    monkeypatch.setenv("GAUSSMIX_CELEBA", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="nothing does not exist"):
        diffusion_fig12.measure(small, done.append)

    without = diffusion_fig12.measure(replace(small, celeba=""), done.append).ours
    assert without["celeba, picture"].keys() == without["avatars, picture"].keys()
    assert without["celeba, picture"]["losses"][BCE]["test_error"] is None
    assert without["all"]["gain"]["celeba"] == {"BCE": None, "best_literal": None}


def test_the_page_has_the_networks_parameters() -> None:
    page = (PAGES / "diffusion-fig12.md").read_text()
    how = TrainingGrid((1.0,), (0,), n_steps=1, batch_size=1, n_hidden=diffusion_fig12.Config().n_hidden, every=1)
    for inputs, attributes in ((SIDE**2, 16), (SIDE**2, 40), (1, 16), (1, 40)):
        weights = _start(Split(torch.zeros(1, inputs), torch.zeros(1, attributes)), how)
        assert f"{sum(each.numel() for each in weights):,}" in page
