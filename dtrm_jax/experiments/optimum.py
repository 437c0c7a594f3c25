"""The best possible accuracy of a row on planted conversations, beside which its own is shown."""

from dtrm_jax.config import Config
from dtrm_jax.data import corpus, readers
from dtrm_jax.models import architecture
from dtrm_jax.models.dialogue_trm.fusions import FUSIONS
from dtrm_jax.models.dialogue_trm.model import DialogueTRM
from dtrm_jax.planted import Information, optimal_accuracy


def optimum(config: Config) -> float | None:
    """Returns the best possible accuracy for all that a row's model may know of the past.

    Args:
        config: The row's.

    Returns:
        None where it is not known: of conversations that are not planted, of a model that sees later turns, and of one
        that knows other information than whole turns.
    """
    if not readers.find(config.data.name).knows_optimum or not architecture(config).is_causal(config):
        return None
    remembered = _remembered(config)
    if remembered is None:
        return None
    test = corpus.load(config.data).splits["test"]  # with all features, whatever the model takes
    return optimal_accuracy(test, config.data.planted, Information(config.model.modalities, remembered)).accuracy


def _remembered(config: Config) -> str | None:
    """Returns the modalities of all earlier turns that a model knows; None if it is not all or nothing of each."""
    model = config.model
    joins_turns = len(model.modalities) > 1 and FUSIONS[model.fusion.kind].sees_other_turns
    if joins_turns or architecture(config) is not DialogueTRM:  # the others have no context settings
        return model.modalities
    context = {"u": model.context.utterance, "a": model.context.acoustic, "v": model.context.visual}
    has_transformer = model.intra_modal.layers > 0  # without it no representation knows of another
    remembered = "".join(one for one in model.modalities if has_transformer and context[one] == "dependent")
    if model.reads_text and config.tokens.indi_context and "u" not in remembered:
        return None  # the token sequence has the speaker's own earlier text, and nobody else's
    return remembered
