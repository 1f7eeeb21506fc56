"""The columns of whole numbers and truth values that `turns` is handed: what does not fit them is an error.

NumPy cuts 3.7 down to 3 where it is put into a part of an int64 array, and makes a uint64 beyond 2**63 negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError


class Held(np.ndarray[Any, Any]):
    """An int64 or bool column whose parts take what fits exactly. Results of arithmetic with it are such arrays, too.

    `about` are the field, as Class.name, and the ids of its agents; None for what was made of one.
    """

    about: tuple[str, NDArray[np.int32]] | None = None

    def __setitem__(self, key: Any, value: Any) -> None:
        """Raises ScenarioError, naming class, field and agent, for a value that is cut."""
        given = np.asarray(value)
        kind = self.dtype.kind
        fine = given.dtype.kind in ("b" if kind == "b" else "bi") or (kind not in "bi")
        if not fine:
            self._check(key, given)
        super().__setitem__(key, value)

    def _check(self, key: Any, given: NDArray[Any]) -> None:
        if given.dtype.kind not in "biuf":
            return  # NumPy raises
        with np.errstate(invalid="ignore"):
            cut = given.astype(self.dtype)
            wrong = np.asarray(cut.astype(given.dtype) != given)
        if self.dtype.kind == "i" and given.dtype.kind == "f":
            wrong |= ~(np.abs(given) < 2.0**63)
        if given.dtype.kind == "u" and self.dtype.kind == "i":
            wrong |= given > np.uint64(2**63 - 1)
        if wrong.any():
            what, ids = self.about or ("an array made of a field", None)
            whose = ""
            if ids is not None:
                rows = np.broadcast_to(wrong, ids[key].shape) if wrong.ndim <= ids[key].ndim else wrong
                whose = f" of agent {np.atleast_1d(ids[key])[np.atleast_1d(rows)][0]}"
            bad = np.atleast_1d(given)[np.atleast_1d(wrong)][0]
            holds = "a whole number of 64 bits" if self.dtype.kind == "i" else "True or False"
            raise ScenarioError(
                f"{what}{whose} holds {holds}, and turns put {bad} into it: round it (`np.rint(...).astype(int)`), or "
                "declare the field as float"
            )


def held(what: str, ids: NDArray[np.int32], column: NDArray[Any]) -> NDArray[Any]:
    """A column as `turns` is handed it; floats as they are."""
    if column.dtype.kind == "f":
        return column
    found = column.view(Held)
    found.about = what, ids
    return found
