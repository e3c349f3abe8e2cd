"""What happens when the loss is no number: stop, and say where in the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from ulmfit_dist.errors import DataError
from ulmfit_dist.files import write_json


def refuse_non_finite(path: Path, numbers: dict[str, float], place: dict[str, Any], documents: list[str]) -> NoReturn:
    """Write what is known to `path` and raise DataError naming step, epoch and the documents of the window.

    The weights are as they were before the step.
    """
    found = {name: str(value) for name, value in numbers.items()}
    write_json(path, {**place, "numbers": found, "documents": documents})
    where = ", ".join(f"{name} {value}" for name, value in place.items())
    named = ", ".join(documents[:5]) + (f" and {len(documents) - 5} more" if len(documents) > 5 else "")
    raise DataError(
        f"the loss or its gradient is not a finite number ({where})",
        found=f"{found}, in documents {named}; all of them in {path}",
        do="lower the learning rate or the clip norm, or look at those documents",
    )
