"""Whether a training is alive, which is asked before anything of it is kept; and what can be done when it is not."""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dtrm_jax.errors import InputError
from dtrm_jax.run_directory.checkpoints import Checkpoints
from dtrm_jax.training.setup import Experiment
from dtrm_jax.training.step import TrainState, sum_of_squares

# Root mean square of all parameters from which on they are said to have exploded. That of trained models is below 1,
# and AdamW changes a parameter by about the learning rate in a step.
EXPLODED = 1e4
NOT_FINITE = "the parameters, or the optimizer's moments, are not finite"
_SHOWN = 5  # conversations that an error names


@jax.jit
def measured(state: TrainState) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """Returns the root mean square of the parameters, and whether they and the optimizer's state are all finite."""
    leaves = jax.tree.leaves(state.params)
    size = sum(leaf.size for leaf in leaves)
    moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in (*leaves, *moments)]).all()
    return jnp.sqrt(sum_of_squares(state.params) / max(size, 1)), finite


def ailment(state: TrainState) -> str:
    """Returns what is wrong with a state; empty if nothing is."""
    norm, finite = jax.device_get(measured(state))
    if not finite:
        return NOT_FINITE
    if not norm < EXPLODED:
        return f"the parameters have exploded: expected a root mean square below {EXPLODED:g}, found {norm:.2g}"
    return ""


class Watch:
    """Keeps a dead state from being saved, and says what there is to go on with."""

    def __init__(self, experiment: Experiment, checkpoints: Checkpoints, start: int):
        """Begins after step ``start``, whose state was alive."""
        self._experiment, self._checkpoints, self._alive = experiment, checkpoints, start

    def check(self, step: int, state: TrainState) -> None:
        """Raises InputError if the state after ``step`` must not be kept; it names the newest good checkpoint."""
        if step == self._alive:
            return
        if problem := ailment(state):
            raise self.diverged(step, problem, since=self._alive, skippable=problem == NOT_FINITE)
        self._alive = step

    def diverged(self, step: int, problem: str, *, since: int | None = None, skippable: bool = True) -> InputError:
        """Returns the error of a training that cannot go on.

        Args:
            step: The step that it was noticed after.
            problem: What is wrong.
            since: The last step after which nothing was wrong. If None, it is the one before.
            skippable: Whether the step would have been left out, had that been admitted.
        """
        self._checkpoints.wait()
        kept = self._checkpoints.latest()
        since = step - 1 if since is None else since
        when = f"step {step}" if since == step - 1 else f"steps {since + 1} to {step}"
        exactly = "" if self._alive == step - 1 else "; --config.train.save_every_steps=1 finds the first bad step"
        left = "no checkpoint was written yet" if kept is None else f"the newest good checkpoint is step {kept}"
        more = max(10, 10 * self._experiment.config.train.skip_nonfinite_steps)
        skip = f", or let the same command leave out such steps with --config.train.skip_nonfinite_steps={more}"
        skip = skip if skippable else ""
        return InputError(
            f"{when}: {problem}, after training on {self._conversations(step)}{exactly}; {left}; lower the learning "
            f"rates or clip the gradients (config.optimizer.gradient_clip) in another --workdir{skip}"
        )

    def _conversations(self, step: int) -> str:
        """Returns the names of the conversations that a step trained on."""
        train = self._experiment.dataset.splits["train"]
        members: Iterable[int] = (index for pack in self._experiment.plan.steps[step - 1] for index in pack.members)
        names = [train[index].id for index in members]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"the conversations {', '.join(map(repr, names[:_SHOWN]))}{more}"
