"""How a reading is logged and told."""

import math

from collapse_jax.monitor.monitor import Monitor, Reading


def logged(monitor: Monitor) -> dict[str, float]:
    """Return what is logged of the last reading: what is not finite is left out.

    Returns:
        `collapse/<statistic>`, `collapse/evidence` (a share of what raises the alarm), and `collapse/generations_left`
        (checks until half of the reference's variance), where it can be told.
    """
    reading = monitor.readings[-1]
    values = {one.name: one.value for one in reading.measured}
    values |= {"evidence": reading.evidence, "generations_left": monitor.forecast().generations}
    return {f"collapse/{name}": float(value) for name, value in values.items() if math.isfinite(value)}


def told(reading: Reading) -> str:
    """Return a sentence on why the alarm is raised."""
    shown = [one for one in reading.measured if one.name in reading.raised_by]
    reasons = "; ".join(f"{one.name} is {one.value:.4g}, usual {one.low:.4g} to {one.high:.4g}" for one in shown)
    return f"Collapse: check {reading.generation} has raised the alarm ({reasons or ', '.join(reading.raised_by)})."
