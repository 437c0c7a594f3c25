"""The model card: what the model is, what it was trained on and how, its scores, and its limits."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
from huggingface_hub import EvalResult, ModelCardData

import dtrm_jax
from dtrm_jax.inference.places import without_places
from dtrm_jax.inference.trained import Trained
from dtrm_jax.provenance import trained_with
from dtrm_jax.replacing import replacing
from dtrm_jax.sharing.evaluations import Evaluation
from dtrm_jax.sharing.rounding import Rounding
from dtrm_jax.tasks import METRICS

CARD = "README.md"
_TEMPLATES = Path(__file__).parent / "templates"
_ESCAPED = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;", "`": "'", "\n": " ", "\r": " "})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Owner:
    """What only the person who shares a model can say.

    Attributes:
        name: The model's name; empty for that of the experiment.
        license: An identifier of the hub, such as ``mit``; empty if none is said.
        languages: Codes of the languages of the conversations, such as ``en``.
        tags: Further tags for the hub.
    """

    name: str = ""
    license: str = ""
    languages: Sequence[str] = ()
    tags: Sequence[str] = ()


def write_card(
    file: Path,
    trained: Trained,
    evaluations: Sequence[Evaluation],
    *,
    starts: Sequence[dict[str, Any]],
    owner: Owner,
    rounding: Rounding | None,
) -> None:
    """Writes the card, with the metadata that the Hugging Face hub reads in front.

    Args:
        file: Where to.
        trained: The model.
        evaluations: Of these parameters.
        starts: Of the training (``run_directory.starts``).
        owner: What its owner says.
        rounding: What the type of the stored parameters changes; None if they are exact.
    """
    trained = without_places(trained)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = lambda text: str(text).translate(_ESCAPED)
    name = owner.name or trained.name
    text = environment.get_template("model_card.md").render(
        metadata=_metadata(name, trained, evaluations, owner).to_yaml().strip(),
        name=name,
        owner=owner,
        trained=trained,
        config=trained.config,
        task=trained.task,
        model=trained.model(trained.manifest.shape),
        metric=METRICS[trained.config.train.select_by],
        evaluations=evaluations,
        origin=trained_with(starts),
        rounding=rounding,
        limits=[limit.translate(_ESCAPED) for limit in _limits(trained, evaluations)],
        version=dtrm_jax.__version__,
    )
    with replacing(file) as opened:
        opened.write(text)


def _metadata(name: str, trained: Trained, evaluations: Sequence[Evaluation], owner: Owner) -> ModelCardData:
    config, corpus = trained.config, trained.manifest.corpus
    tags = ["emotion-recognition-in-conversations", "dialogue", "jax", config.model.architecture, *owner.tags]
    pretrained = config.model.encoder.pretrained if config.model.reads_text else ""
    results = [
        EvalResult(
            task_type="text-classification",
            task_name="emotion recognition in conversations",
            dataset_type=one.metrics.get("source") or corpus,
            dataset_name=one.metrics.get("source") or corpus,
            dataset_split=one.metrics["split"],
            metric_type=score.metric.name,
            metric_name=score.metric.title,
            metric_value=round(score.metric.scale * score.value, 4),
        )
        for one in evaluations
        for score in one.scores
    ]
    return ModelCardData(
        license=owner.license or None,
        language=list(owner.languages) or None,
        library_name="dtrm_jax",
        pipeline_tag="text-classification" if trained.config.model.reads_text else None,
        tags=list(dict.fromkeys(tags)),
        base_model=pretrained if "/" in pretrained else None,
        metrics=list(dict.fromkeys(score.metric.name for one in evaluations for score in one.scores)) or None,
        model_name=name,
        eval_results=results or None,
    )


def _limits(trained: Trained, evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Yields what the model cannot do, or what is not known of it, as far as the run tells."""
    config, corpus = trained.config, trained.manifest.corpus
    yield (
        f"It has learned the labels of {corpus}, which are not what a person feels. It should decide nothing about a "
        "person."
    )
    yield f"Its scores are those on {corpus}; on other speakers, other languages or other topics they may be far lower."
    yield f"It is one training run, with seed {config.train.seed}; other seeds give other scores."
    if not evaluations:
        yield "These parameters were not evaluated before they were exported."
    for one in evaluations[:1]:
        if found := _weakest(one.metrics):
            name, recall = found
            yield f"Of the turns that are {name} it finds {100 * recall:.0f} % ({one.name}), the smallest share."
        calibration = (one.analysis or {}).get("calibration", {}).get("expected_calibration_error")
        if calibration is not None:
            yield (
                f"Its probabilities differ from the share of turns that are right by {100 * calibration:.1f} points on "
                f"average ({one.name})."
            )
    if not trained.is_causal:
        yield "It judges a turn by later turns too, so that it cannot follow a live conversation."
    for name, size in trained.normalization.sizes:
        yield f"It takes {size} {name} features per turn, computed as in {corpus}; others mean nothing to it."
    if config.model.reads_text:
        yield f"Of an utterance with its context it reads at most {config.tokens.max_length} tokens."


def _weakest(metrics: dict[str, Any]) -> tuple[str, float] | None:
    """Returns the class of which the smallest share is found, and that share; None if there are no classes."""
    found = {name: one["recall"] for name, one in metrics.get("per_class", {}).items() if one.get("support")}
    if len(found) < 2:
        return None
    name = min(found, key=found.get)
    return name, found[name]
