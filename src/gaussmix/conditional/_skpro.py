"""A distribution a row as skpro has it: indexed like a pandas table of one column.

skpro and pandas are loaded when one is asked for. skpro checks, aligns and names what goes in and comes out; the
numbers are those of `ConditionalMixture`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from gaussmix._typing import FloatArray
from gaussmix.conditional.distribution import ConditionalMixture


@lru_cache(maxsize=1)
def distribution_class() -> Any:
    """The class of `ConditionalMixture` as a distribution of skpro's."""
    import pandas as pd
    from skpro.distributions.base import BaseDistribution  # pyright: ignore[reportMissingImports]

    class ConditionalDistribution(BaseDistribution):
        """The distributions ``rows`` of N rows as a skpro distribution of shape (N, 1).

        Parameters
        ----------
        rows : ConditionalMixture
            N distributions.
        index, columns : Index
            Their names, and that of what is predicted.
        """

        _tags = {  # noqa: RUF012, as skpro has it
            "capabilities:approx": ["energy", "pdfnorm"],
            "capabilities:exact": ["mean", "var", "pdf", "log_pdf", "cdf", "ppf"],
            "distr:measuretype": "mixed",
            "broadcast_init": "off",
        }

        def __init__(self, rows: ConditionalMixture, index: Any = None, columns: Any = None):
            self.rows = rows
            super().__init__(
                pd.RangeIndex(len(rows)) if index is None else index, pd.Index([0]) if columns is None else columns
            )

        def _iloc(self, rowidx: Any = None, colidx: Any = None) -> Any:
            chosen = np.arange(len(self.rows)) if rowidx is None else np.atleast_1d(np.arange(len(self.rows))[rowidx])
            return ConditionalDistribution(self.rows[chosen], self.index.take(chosen), self.columns)

        _iat = _iloc

        def _pdf(self, x: FloatArray) -> FloatArray:
            return self.rows.pdf(x[:, 0])[:, None]

        def _log_pdf(self, x: FloatArray) -> FloatArray:
            return self.rows.logpdf(x[:, 0])[:, None]

        def _cdf(self, x: FloatArray) -> FloatArray:
            return self.rows.cdf(x[:, 0])[:, None]

        def _ppf(self, p: FloatArray) -> FloatArray:
            return self.rows._quantiles(p)

        def _mean(self) -> FloatArray:
            return self.rows.mean()[:, None]

        def _var(self) -> FloatArray:
            return self.rows.var()[:, None]

        def sample(self, n_samples: int | None = None) -> pd.DataFrame:
            """Draw a table of one column; of ``n_samples`` tables one below the other."""
            drawn = self.rows.rvs(n_samples or 1)
            tables = [pd.DataFrame(column, self.index, self.columns) for column in drawn.T]
            return tables[0] if n_samples is None else pd.concat(tables, keys=range(n_samples))

    return ConditionalDistribution
