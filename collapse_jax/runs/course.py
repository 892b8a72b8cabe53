"""How far a run has come among all that its arms have to do, also where it goes on from what an earlier process did."""

from collections.abc import Sequence
from typing import NamedTuple

from collapse_jax.runs.directory import RunDirectory, Shard
from collapse_jax.runs.job import Job
from collapse_jax.studies.plan import Plan

_DRAWING = 0.1  # of a run's work, about: figures and verdicts


class Progress(NamedTuple):
    """How far a run has come, for a progress bar.

    Attributes:
        label: of the arm at work.
        generation: that all of its seeds have reached.
        num_generations: where it ends.
        num_seeds: chains of it.
        notice: something that whoever watches must know; the rest then says nothing.
        share: of the whole run's work that is done, in [0, 1].
        begun: the share that was done before this process began.
        drawing: whether the chains have ended, and figures and verdicts are made.
    """

    label: str
    generation: int
    num_generations: int
    num_seeds: int
    notice: str = ""
    share: float = 0.0
    begun: float = 0.0
    drawing: bool = False


class Course:
    """Where a run is among all that its arms have to do, counted in generations of chains."""

    def __init__(self, directory: RunDirectory, plan: Plan, job: Job, shards: Sequence[Shard]) -> None:
        config, name = job.config, job.study.name
        self.chains = plan.num_lanes or config.seeds
        self.lasts = [config.generations if arm.generations is None else arm.generations for arm in plan.arms]
        reached = [[directory.checkpoints.reached(shard.label(i)) for shard in shards] for i in range(len(plan.arms))]
        self.begun = [max(min(of_shards, default=0), 0) for of_shards in reached]
        wheres = [arm.value if plan.dim is None else f"{plan.dim}={arm.value}" for arm in plan.arms]
        self.labels = [f"{name} {where}" for where in wheres] if len(wheres) > 1 else [name]

    def at(self, arm: int, generation: int) -> Progress:
        """Return how far the run has come where an arm has reached a generation, and those before it their ends."""
        ahead = sum(self.begun[arm + 1 :])  # of a run that goes on, where arms were cut short
        done = sum(self.lasts[:arm]) + generation + ahead
        shares = [(1 - _DRAWING) * num / max(sum(self.lasts), 1) for num in (done, sum(self.begun))]
        return Progress(
            self.labels[arm], generation, self.lasts[arm], self.chains, share=shares[0], begun=shares[1]
        )
