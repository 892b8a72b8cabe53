"""The regimes that a study's configuration can name."""

from collapse_jax.core.protocol import Regime
from collapse_jax.core.regimes import (
    accumulate,
    add_real,
    compose,
    original,
    replace,
    replace_with_real,
    subsample,
    weight_real,
    window,
)
from collapse_jax.types import ArrayLike
from collapse_jax.validation import check_choice, is_concrete


def named_regime(
    name: str, *, real_fraction: ArrayLike, window_size: int, num_samples: int, generations: int
) -> Regime:
    """Return the regime that a configuration names.

    Args:
        name: as in the studies' configurations.
        real_fraction: the share of original data for "replace-part" and "weight-real"; may be traced.
        window_size: batches for "window".
        num_samples: M, for "accumulate-subsample".
        generations: how many batches accumulating regimes must hold.

    Raises:
        ValueError: a share outside [0, 1], an unknown name, or a share given to a regime that has none.
    """
    if is_concrete(real_fraction) and real_fraction != 0 and name not in ("replace-part", "weight-real"):
        raise ValueError(
            f"`real_fraction` {real_fraction} has no meaning under regime '{name}'; "
            "use --regime replace-part or weight-real."
        )
    makers = {
        "replace": replace,
        "accumulate": lambda: accumulate(generations),
        "accumulate-subsample": lambda: compose(accumulate(generations), subsample(num_samples)),
        "window": lambda: window(window_size),
        "replace-part": lambda: replace_with_real(original(), fraction=real_fraction),
        "add": lambda: add_real(original()),
        "weight-real": lambda: weight_real(original(), weight=real_fraction),
    }
    return makers[check_choice("regime", name, makers)]()
