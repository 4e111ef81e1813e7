"""A conditional model's file: arrays of all parts as safetensors, the rest as JSON; nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

import numpy as np

from gaussmix._files import Tensors, read_tensors, write_tensors
from gaussmix._guard import reading
from gaussmix._typing import FloatArray
from gaussmix.conditional.bases import AtomProbabilities, Lattice
from gaussmix.conditional.boosting import BoostedWeights
from gaussmix.conditional.calibration import ConditionalReport
from gaussmix.conditional.features import TableFeatures
from gaussmix.conditional.forest import ForestExpansion
from gaussmix.conditional.kernel_ridge import KernelRidge
from gaussmix.conditional.learning import PARTS, Parts
from gaussmix.conditional.location import Location, Scale
from gaussmix.conditional.model import ConditionalModel, Units
from gaussmix.conditional.network import Networks, NetworkWeights
from gaussmix.conditional.stacking import SHARPEST
from gaussmix.conditional.trees import Trees

KIND = "ConditionalGMMExpansion"
_MOST_VALUES = 10_000_000  # of a lattice
_LARGEST = 1e150  # of a number, whose square is one too


def usable(path: str | Path) -> AbstractContextManager[None]:
    """Around what reads and tries a model: whatever is raised becomes a sentence that names the file."""
    return reading(path, "holds no usable conditional model", "; fit and save it again")


def write(
    path: str | Path,
    learned: ConditionalModel,
    parameters: dict[str, Any],
    names: list[str] | None,
    target: str | None = None,
) -> None:
    """Write a model with a location of our own.

    Raises ValueError for one with a regressor of the user's, which only its library can save.
    """
    tensors: Tensors = {"pit": learned.pit, "units": np.array(astuple(learned.units))}
    tensors["bounds"] = np.array(learned.bounds)
    if learned.parts is not None:
        if learned.parts.location.regressors:
            kind = type(learned.parts.location.regressors[0].regressor).__name__
            raise ValueError(f"a model with its own regressor, a {kind}, cannot be saved without pickle; save that one")
        _add(tensors, "parts.", _parts_to_tensors(learned.parts))
    if learned.atoms is not None:
        tensors |= {"atoms.positions": learned.atoms.positions, "atoms.log_shares": learned.atoms.log_shares}
        _add(tensors, "atoms.members.", _nested(learned.atoms.members))
    about = {
        "parameters": json.dumps(parameters),
        "features": json.dumps(learned.features.to_dict()),
        "lattice": json.dumps(learned.lattice and asdict(learned.lattice)),
        "report": json.dumps(learned.report.to_dict()),
        "names": json.dumps(names),
        "target": json.dumps(target),
    }
    write_tensors(path, tensors, KIND, about)


def read(path: str | Path) -> tuple[ConditionalModel, dict[str, Any], list[str] | None, str | None]:
    """What `write` wrote. Raises ValueError, naming the file, for one that is damaged or of another kind."""
    with usable(path):
        tensors, about = read_tensors(path, KIND)
        features = TableFeatures.from_dict(json.loads(about["features"]))
        parameters, names = json.loads(about["parameters"]), json.loads(about["names"])
        if not isinstance(parameters, dict) or (names is not None and names != list(features.names)):
            raise ValueError("its names of columns are not those of its features")
        target = json.loads(about["target"])
        if not (target is None or isinstance(target, str)):
            raise ValueError(f"its target is {target!r:.40}")
        parts = _part(tensors, "parts.")
        units = Units(*(float(each) for each in tensors["units"]))
        small = (units.spread, units.far_std)
        if not all(1 / _LARGEST < each < _LARGEST for each in (*small, abs(units.center) + 1)):
            raise ValueError(f"its units are {units.center} and {units.spread}")
        low, high = (float(each) for each in tensors["bounds"])
        if not (low < high and 0 <= units.far < 1):
            raise ValueError(f"its bounds are {low} and {high}")
        pit = np.asarray(tensors["pit"], np.float64)
        if pit.ndim != 1 or not (len(pit) and ((pit >= 0) & (pit <= 1)).all()):
            raise ValueError("its transforms are not between 0 and 1")
        learned = ConditionalModel(
            features,
            _parts_from_tensors(parts, max(len(features.kept), 1)) if parts else None,
            units,
            (low, high),
            _atoms(_part(tensors, "atoms."), max(len(features.kept), 1)),
            _lattice(json.loads(about["lattice"])),
            ConditionalReport.from_dict(json.loads(about["report"])),
            pit,
        )
        if learned.parts is None and learned.atoms is None:
            raise ValueError("it has neither densities nor point masses")
        return learned, parameters, names, target


def _parts_to_tensors(parts: Parts) -> Tensors:
    out: Tensors = {
        "shares": parts.shares,
        "sharpness": np.array([parts.sharpness]),
        "location.weights": parts.location.weights,
    }
    for name in ("boosting", "extra_trees", "kernel", "networks"):
        part = getattr(parts.location, name)
        if part is not None:
            _add(out, f"location.{name}.", part.to_tensors())
    out["scale.constant"] = np.array([parts.scale.constant, parts.scale.least])
    _add(out, "scale.members.", _nested([parts.scale.members]))
    for name, array in zip(("weights", "means", "stds"), parts.residuals, strict=True):
        out[f"residuals.{name}"] = array
    if parts.boosting is not None and parts.basis is not None:
        out |= {"basis.means": parts.basis[0], "basis.stds": parts.basis[1]}
        out["boosting.log_prior"] = parts.boosting.log_prior
        _add(out, "boosting.members.", _nested([parts.boosting.members]))
    for name in ("residual_forest", "value_forest"):
        forest: ForestExpansion | None = getattr(parts, name)
        if forest is not None:
            _add(out, f"{name}.", forest.to_tensors())
    if parts.network is not None:
        _add(out, "network.", parts.network.to_tensors())
    return out


def _parts_from_tensors(tensors: Tensors, n_features: int) -> Parts:
    location = _part(tensors, "location.")
    boosting = _trees(_part(location, "boosting."), n_features)
    extra_trees = _trees(_part(location, "extra_trees."), n_features)
    kernel, networks = _part(location, "kernel."), _part(location, "networks.")
    found = Location(
        _finite(location["weights"]),
        boosting,
        extra_trees,
        KernelRidge.from_tensors(kernel) if kernel else None,
        Networks.from_tensors(networks, n_features, 1) if networks else None,
    )
    if len(found.weights) != sum(each is not None for each in (boosting, extra_trees, found.kernel, found.networks)):
        raise ValueError("its location has more weights than members")
    (scales,) = _members(_part(tensors, "scale.members."), n_features + 1) or ((),)
    basis = weights = None
    prior = _part(tensors, "boosting.")
    if prior:
        basis = _finite(tensors["basis.means"]), _positive(tensors["basis.stds"])
        (members,) = _members(_part(prior, "members."), n_features + 1)
        weights = BoostedWeights(_finite(prior["log_prior"]), members)
        if any(trees.values.shape[1:] != basis[0].shape for trees in members) or len(basis[0]) != len(
            weights.log_prior
        ):
            raise ValueError("its boosted weights do not fit their basis")
    forests = []
    for name in ("residual_forest", "value_forest"):
        forest = _part(tensors, f"{name}.")
        forests.append(ForestExpansion.from_tensors(forest) if forest else None)
        if forests[-1] is not None:
            forests[-1].trees.check_features(n_features + 1)
    network = _part(tensors, "network.")
    constant, least = (float(each) for each in _positive(tensors["scale.constant"]))
    residuals = tuple(_finite(tensors[f"residuals.{name}"]) for name in ("weights", "means", "stds"))
    shares = _finite(tensors["shares"])
    if shares.shape != (len(PARTS),) or not (shares.min() >= 0 and abs(shares.sum() - 1) < 1e-9):
        raise ValueError(f"its shares are {shares.tolist()}")
    sharpness = float(_positive(tensors["sharpness"])[0])
    if not 1 <= sharpness <= SHARPEST:
        raise ValueError(f"its sharpness is {sharpness}")
    return Parts(
        found,
        Scale(constant, scales, least),
        (residuals[0], residuals[1], _positive(residuals[2])),
        basis,
        weights,
        forests[0],
        forests[1],
        shares,
        sharpness,
        NetworkWeights.from_tensors(network, n_features) if network else None,
    )


def _lattice(facts: dict[str, Any] | None) -> Lattice | None:
    if facts is None:
        return None
    found = Lattice(float(facts["origin"]), float(facts["step"]), facts["n"])
    if type(found.n) is not int or not (1 <= found.n <= _MOST_VALUES and found.step > 0):
        raise ValueError(f"its lattice has {found.n!r:.40} values, {found.step} apart")
    if not abs(found.origin) + found.n * found.step < _LARGEST:
        raise ValueError(f"its lattice begins at {found.origin}")
    return found


def _atoms(tensors: Tensors, n_features: int) -> AtomProbabilities | None:
    if not tensors:
        return None
    members = _members(_part(tensors, "members."), n_features)
    return AtomProbabilities(_finite(tensors["positions"]), _finite(tensors["log_shares"]), members)


def _nested(groups: Any) -> Tensors:
    """Tensors of trees in groups, named by both numbers."""
    out: Tensors = {}
    for i, group in enumerate(groups):
        for j, trees in enumerate(group):
            _add(out, f"{i}.{j}.", trees.to_tensors())
    return out


def _members(tensors: Tensors, n_features: int) -> tuple[tuple[Trees, ...], ...]:
    """What `_nested` was given."""
    groups: dict[int, dict[int, Tensors]] = {}
    for name, value in tensors.items():
        i, j, field = name.split(".", 2)
        groups.setdefault(int(i), {}).setdefault(int(j), {})[field] = value
    return tuple(
        tuple(_known(_trees(group[j], n_features)) for j in sorted(group)) for _, group in sorted(groups.items())
    )


def _known(trees: Trees | None) -> Trees:
    if trees is None:
        raise ValueError("trees are missing")
    return trees


def _trees(tensors: Tensors, n_features: int) -> Trees | None:
    if not tensors:
        return None
    trees = Trees.from_tensors(tensors)
    trees.check_features(n_features)
    return trees


def _add(tensors: Tensors, prefix: str, more: Mapping[str, Any]) -> None:
    tensors |= {prefix + name: value for name, value in more.items()}


def _part(tensors: Mapping[str, Any], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _finite(values: Any) -> FloatArray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not (np.abs(values) < _LARGEST).all():
        raise ValueError("some of its numbers are not finite")
    return values


def _positive(values: Any) -> FloatArray:
    values = _finite(values)
    if not (values > 0).all():
        raise ValueError("some of its standard deviations are not positive")
    return values
