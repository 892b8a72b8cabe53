"""From what is known of a study to the study itself: of the package, of a user's file, swept over a grid."""

from collapse_jax.studies.axes import Grid
from collapse_jax.studies.registry import Entry
from collapse_jax.studies.study import Study, package_study
from collapse_jax.studies.sweep import swept
from collapse_jax.studies.user_study import user_study


def load(entry: Entry, grid: Grid | None = None) -> Study:
    """Return a study, ready to be built.

    Args:
        entry: what is known of it.
        grid: to sweep over; None for the study itself.
    """
    study = package_study(entry) if entry.file is None else user_study(entry, entry.file)
    return study if grid is None else swept(study, grid)
