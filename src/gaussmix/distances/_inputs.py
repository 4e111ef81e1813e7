"""What the distances take: mixtures, samples, and weights of mixtures that share a basis.

Weights of many pairs of mixtures on one basis: in as (..., n), out as (...).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gaussmix._typing import FloatArray
from gaussmix.density.basis import GaussianBasis
from gaussmix.density.discrete import LatticeMixture1D
from gaussmix.density.mixture import GaussianMixture1D
from gaussmix.density.reflection import finite_or_not

SUM_TOLERANCE = 1e-6  # how far weights may be from the sum 1; they are then divided by their sum


Function = TypeVar("Function", bound=Callable[..., Any])
_OF_SCIPY = {"u_values": "a", "v_values": "b", "u_weights": "a_weights", "v_weights": "b_weights"}


class Sample(NamedTuple):
    """Point masses: values (N,) in the order they came, masses (N,) with sum 1, or None where all are 1/N."""

    values: FloatArray
    masses: FloatArray | None


Law = GaussianMixture1D | Sample
Weights = ArrayLike | None  # of a sample's numbers (N,)


def hint_at_names(function: Function) -> Function:
    """The function, whose TypeError for an argument by SciPy's name says what it is called here."""

    @wraps(function)
    def hinting(*args: Any, **options: Any) -> Any:
        for name in options.keys() & _OF_SCIPY.keys():
            raise TypeError(f"{function.__name__} has no {name}, as SciPy calls it; here it is {_OF_SCIPY[name]}")
        return function(*args, **options)

    return hinting  # pyright: ignore[reportReturnType]


def as_law(value: Any, name: str, weights: ArrayLike | None = None) -> Law:
    """A mixture, a fitted one-column `GMMExpansion`'s mixture, or a sample (N,) with ``weights`` (N,) >= 0.

    Weights of a sample need not sum to 1. Raises TypeError and ValueError, naming the argument ``name``.
    """
    if hasattr(type(value), "distribution_"):
        try:
            value = value.distribution_
        except AttributeError as error:  # not fitted, or of several columns: it says what to do
            raise ValueError(f"{name} has no distribution to compare: {error}") from error
    if isinstance(value, GaussianMixture1D):
        if weights is not None:
            raise TypeError(f"{name}_weights are for samples, but {name} is a mixture, which has its own")
        return value
    values = _unmasked(value, name)
    if values.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} is a {type(value).__name__}; give a GaussianMixture1D, a fitted GMMExpansion or numbers (N,)"
        )
    if values.ndim != 1:
        raise ValueError(
            f"{name} has shape {values.shape}; give numbers (N,), such as one column, or with basis= weights (..., n)"
        )
    if values.size == 0:
        raise ValueError(f"{name} is empty; give at least one number")
    values = np.ascontiguousarray(values, np.float64)
    check_finite(values, name, "leave it out or give a number")
    return Sample(values, None if weights is None else _masses(weights, values.size, f"{name}_weights"))


def as_mixture(value: Any, name: str, weights: ArrayLike | None = None) -> GaussianMixture1D:
    """Like `as_law`, but a sample, which has no density, is learnt first: `GMMExpansion()` with its default rule.

    As there, integer weights are frequencies, and a thousand of one number tell more than one; floats are importances;
    and numbers of integer type are discrete.
    """
    law = as_law(value, name, weights)
    if isinstance(law, GaussianMixture1D):
        return law
    from gaussmix.density.model import DensityModel

    numbers = law.values if np.asarray(value).dtype.kind == "f" else value
    return DensityModel().fit(numbers, sample_weight=weights).distribution_


def as_densities(
    a: Any, b: Any, a_weights: Weights = None, b_weights: Weights = None
) -> tuple[GaussianMixture1D, GaussianMixture1D]:
    """`as_mixture` of both; and of a discrete one beside one that is not, the smooth density behind it."""
    first, second = as_mixture(a, "a", a_weights), as_mixture(b, "b", b_weights)
    if isinstance(first, LatticeMixture1D) and continuous_share(second) > SUM_TOLERANCE:
        first = first.continuous
    elif isinstance(second, LatticeMixture1D) and continuous_share(first) > SUM_TOLERANCE:
        second = second.continuous
    return first, second


def with_values_of(law: LatticeMixture1D, other: GaussianMixture1D) -> GaussianMixture1D:
    """The law with some probability at the atoms of another too, where they lie on its lattice: that of its `pdf`."""
    values = np.union1d(law.values, other.atoms.positions)
    if values.size == law.values.size:
        return law
    p = law.pdf(values)
    return GaussianMixture1D([1.0], [values[0]], [law.step], atoms=(values[p > 0], p[p > 0] / p.sum()))


def weight_rows(
    a: ArrayLike,
    b: ArrayLike,
    basis: GaussianBasis,
    a_weights: Weights = None,
    b_weights: Weights = None,
    *,
    names: tuple[str, str] = ("a", "b"),
    checked: bool = True,
) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Weights (..., n) on a basis, broadcast against each other: both as contiguous (B, n), and the shape before n.

    If not ``checked``, only shapes are looked at. Raises, with the arguments' ``names``, ValueError for another n, for
    shapes that do not broadcast and what are no weights, TypeError for no numbers and for weights of samples.
    """
    if a_weights is not None or b_weights is not None:
        raise TypeError("a_weights and b_weights are for samples; with basis=, a and b are the weights")
    if not isinstance(basis, GaussianBasis):
        raise TypeError(f"basis is a {type(basis).__name__}; give the GaussianBasis that the weights belong to")
    first, second, shape = broadcast_rows(a, b, basis.n_components, "with basis=, give weights", names)
    if checked:
        first, second = check_weight_rows(first, names[0]), check_weight_rows(second, names[1])
    return first, second, shape


def broadcast_rows(
    a: ArrayLike, b: ArrayLike, n: int | None, need: str, names: tuple[str, str] = ("a", "b")
) -> tuple[FloatArray, FloatArray, tuple[int, ...]]:
    """Numbers (..., n), broadcast against each other: both as contiguous (B, n), and the shape before n.

    Raises, with the arguments' ``names``, TypeError for no numbers, where ``need`` says what to give, ValueError for
    another n than that of a basis and for shapes that do not broadcast.
    """
    rows = []
    for name, values in zip(names, (a, b), strict=True):
        row = np.atleast_1d(_unmasked(values, name))
        if row.dtype.kind not in "fiub":
            raise TypeError(f"{name} is a {type(values).__name__}; {need} (n,) or (B, n)")
        if n is not None and row.shape[-1] != n:
            raise ValueError(
                f"{name} has shape {row.shape}, but the basis has {n} components: give weights (..., {n}); weights of "
                "another basis need their own mixtures"
            )
        rows.append(row)
    try:
        both = np.broadcast_arrays(*rows)
    except ValueError:
        raise ValueError(
            f"{names[0]} has shape {rows[0].shape} and {names[1]} {rows[1].shape}, which do not broadcast"
        ) from None
    shape = both[0].shape
    first, second = (np.ascontiguousarray(row, np.float64).reshape(-1, shape[-1]) for row in both)
    return first, second, shape[:-1]


def check_weight_rows(rows: FloatArray, name: str) -> FloatArray:
    """(B, n) finite, at least 0, with sum 1 to `SUM_TOLERANCE`; normalised exactly. Raises ValueError."""
    _check_not_negative(rows, name)
    sums = rows.sum(axis=1, keepdims=True)
    off = np.abs(sums - 1) > SUM_TOLERANCE
    if off.any():
        raise ValueError(f"{name} has weights that sum to {sums[off][0]:.9g}; they must sum to 1: divide by their sum")
    return rows / np.where(np.abs(sums - 1) <= 4 * np.finfo(float).eps, 1.0, sums)


def _unmasked(values: ArrayLike, name: str) -> NDArray[Any]:
    """As an array, if nothing in it is masked."""
    if np.ma.is_masked(values):
        raise ValueError(f"{name} has masked entries, which cannot be measured: leave them out, and their weights")
    return np.asarray(values)


def check_finite(values: FloatArray, name: str, advice: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        raise ValueError(f"{name} contains {values[~finite].flat[0]}; {advice}")


def _check_not_negative(weights: FloatArray, name: str) -> None:
    check_finite(weights, name, "weights are finite")
    if weights.size and weights.min() < 0:
        raise ValueError(f"{name} contains {weights.min():.6g}; weights must not be negative")


def _masses(weights: ArrayLike, n: int, name: str) -> FloatArray:
    masses = np.ascontiguousarray(_unmasked(weights, name), np.float64)
    if masses.shape != (n,):
        raise ValueError(f"{name} has shape {masses.shape}; give one weight for each of the {n} numbers")
    _check_not_negative(masses, name)
    largest = masses.max()
    if largest == 0:
        raise ValueError(f"{name} sums to 0; at least one weight must be positive")
    masses = masses / largest  # whose sum does not overflow
    return masses / masses.sum()


def shaped(values: FloatArray, shape: tuple[int, ...]) -> float | FloatArray:
    """(B,) in the caller's shape: a float where that is ()."""
    return values.reshape(shape) if shape else float(values[0])


def is_lattice(basis: GaussianBasis) -> bool:
    """Whether all components are alike and equally far from their neighbours: neither warped nor bounded."""
    return basis.scale is None and not np.isfinite(finite_or_not(basis.bounds)).any()


def continuous_share(law: GaussianMixture1D) -> float:
    """The probability that atoms leave."""
    return max(0.0, 1 - float(law.atoms.masses.sum()))


def near_zero(a: Law, b: Law) -> tuple[Law, Law]:
    """Both moved together to the neighbourhood of 0, where double precision is finest, if that can be done exactly.

    It can where no place is more than twice as far from 0 as another: differences of such numbers are not rounded.
    """
    places = np.concatenate([_places(a), _places(b)])
    near, far = sorted((float(places.min()), float(places.max())), key=abs)
    if near * far > 0 and abs(far) <= 2 * abs(near):
        return _moved(a, near), _moved(b, near)
    return a, b


def _places(law: Law) -> FloatArray:
    """Ends of everything in the law that has a place."""
    if isinstance(law, Sample):
        return np.array([law.values.min(), law.values.max()])
    guard = [law.tail.loc] if law.tail.mass else []
    bounds = [end for end in law.bounds if np.isfinite(end)]
    return np.concatenate([[law.means.min(), law.means.max()], law.atoms.positions, guard, bounds])


def _moved(law: Law, origin: float) -> Law:
    """The law of X - origin."""
    return law._replace(values=law.values - origin) if isinstance(law, Sample) else law.affine(1.0, -origin)
