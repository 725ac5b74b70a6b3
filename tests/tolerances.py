"""The one table of numerical tolerances. A test names what it compares; it never writes a number of its own.

Each entry is (relative, absolute) and has its reason. A tolerance is widened only with a new
reason, not because a test failed.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """rtol, atol : as in numpy.testing.assert_allclose.    reason : why not less."""

    rtol: float
    atol: float
    reason: str


TOLERANCES: dict[tuple[str, str], Tolerance] = {
    ("weights_after_training", "float64"): Tolerance(
        0.0,
        1e-9,
        "sums in another order differ by 1e-16 a step; AdamW's division by sqrt(v) amplifies that in a few steps",
    ),
    ("step_loss", "float32"): Tolerance(
        1e-4, 1e-4, "AdamW amplifies rounding where a gradient is near zero, so weights drift and the loss is compared"
    ),
    ("logits_same_weights", "float32"): Tolerance(
        1e-5, 1e-5, "one forward pass, other batch shapes: sums of up to 1536 products in another order"
    ),
    ("logits_same_weights", "float64"): Tolerance(1e-12, 1e-12, "as for float32, with 2**-53 in the place of 2**-24"),
    ("logits_same_weights", "bfloat16"): Tolerance(5e-2, 5e-2, "8 bits of mantissa through some ten layers"),
    ("folded_head", "float32"): Tolerance(
        1e-5, 1e-5, "a weight divided by a scale, and W c / s taken from the bias: both rounded once more"
    ),
    ("folded_head", "float64"): Tolerance(1e-9, 1e-9, "as for float32, with room for features far from 0"),
    ("another_runtime", "float32"): Tolerance(
        0.0, 1e-4, "twelve layers by another library's kernels; measured 2.3e-5 where values reach 8"
    ),
    ("metric", "float64"): Tolerance(1e-12, 1e-12, "means over at most 1e5 rows in another order"),
    ("optimum", "float64"): Tolerance(1e-6, 1e-6, "two solvers stop at different points of one flat minimum"),
}


def tolerance(what: str, dtype: str) -> dict[str, float]:
    """Keyword arguments for assert_allclose or torch.testing.assert_close."""
    entry = TOLERANCES[what, dtype]
    return {"rtol": entry.rtol, "atol": entry.atol}
