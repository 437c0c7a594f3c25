"""Writes ``docs/baselines.md`` from the models of ``dtrm_jax/models/baselines/``: ``python docs/make_baselines.py``.

What it says of each model is the docstring of the model's file, and what its authors trained it with its ``published``.
"""

import inspect
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402

from dtrm_jax.batch import PackShape  # noqa: E402
from dtrm_jax.config import Config  # noqa: E402
from dtrm_jax.inference.compiled import parameter_shapes  # noqa: E402
from dtrm_jax.models import ARCHITECTURES  # noqa: E402
from dtrm_jax.models.baselines.baseline import Baseline  # noqa: E402

PAGE = Path(__file__).with_name("baselines.md")
MODELS = {name: model for name, model in ARCHITECTURES.items() if issubclass(model, Baseline)}
CLASSES, NUMBERS = 6, 100  # what parameters are counted for
SPEEDS = [(name, corpus) for name in ("dialogue_rnn", "dialogue_gcn") for corpus in ("meld", "iemocap")]
_OPENING = f"""# The models that DialogueTRM is compared with

One file each in `dtrm_jax/models/baselines/`, chosen by `config.model.architecture`. They take the same
conversations, packs, features, seeds and splits as DialogueTRM, are selected by the same dev split, and have the
same checkpoints, reports and commands:

```sh
dtrm-train --config features --config.data.source=FOLDER --config.model.architecture=dialogue_gcn
```

An utterance is a vector from the data (`model.utterance=features`), as their authors have it, or what a text
encoder reads, which is then trained end to end. A turn that lacks a modality has zeros there. Unlabelled turns are
context. A model sees later turns or does not, as the table says of its defaults; of one that does, every table and
report says that it is not causal.

What all of them have otherwise than their authors: AdamW with a rate that falls to zero, where they used Adam with
L2 in the loss (DAG-ERC's AdamW without decay) and a constant rate; a batch is so many turns in whole conversations,
not so many conversations;
speakers are numbered in the order in which they first speak; and no test split selects anything. Each equals a
transcription in PyTorch that is written from the equations, outputs and gradients (`make parity`; stored outputs
are in `make test`).

This page is written from the models' files by `make tables`. Parameters are counted with the defaults, for
{CLASSES} classes and vectors of {NUMBERS} numbers, of utterances alone (u) and of all three modalities (uav).

| model | `config.model.architecture` | sees later turns | follows live ones | parameters, u | parameters, uav |
|---|---|---|---|---|---|
"""
_AFTER_THE_TABLE = """
c-LSTM, DialogueRNN and COSMIC see no later turns, and follow live conversations, with `bidirectional=false` and
`attention=none`.

## One table of all

```sh
python -m dtrm_jax.experiments baselines --config configs/features.py --config.data.source=FOLDER --seeds 3
```

It has the rows of the paper's Tables 2 and 3, with the paper's number beside each, and the difference from DialogueTRM
with its interval and p-value. A row of `-U` takes the utterance alone, one of `-M` all modalities that there are. Each
model is trained as its authors published it for the corpus, as far as settings can say it (not followed: COSMIC's
missing attention on MELD, and the 64 layers of MMGCN's code); `config.data.name`, or
`config.data.corpus` of your own tables, says which corpus it is. The settings of IEMOCAP and MELD are there for all,
those of other corpora where this page names them; for any other corpus they are those for IEMOCAP. What the authors
do not do, such as label smoothing, is off, whatever the config has. DialogueTRM is trained as the config says.

`baselines_same_training` keeps the published settings of the model itself, such as sizes and dropout, and takes
everything else from the config, so that rates, batches and epochs are the same for all. It has been run on
[IEMOCAP](results/iemocap.md), [MELD](results/meld.md) and, for the models of several modalities,
[CMU-MOSI](results/mosi.md). Like every table, both resume, and are shared among machines
by `--only` and `--only_seeds` ([reproducing.md](reproducing.md#3-run-a-table)).

## How recurrence is computed

Padded to the longest conversation of a batch, much of a recurrent step's work is on turns that are not there. Here the
conversations of a pack are laid end to end in a few lanes, the longest first, each into the lane that is shortest so
far. One step of a loop computes the next turn of every lane, and begins anew where a conversation begins
(`dtrm_jax/models/layers/lanes.py`). The loop ends with the fullest lane, so that its cost is linear in turns, whatever
the pack holds. What a turn's own vector contributes is computed for all turns at once, before the loop, and the
gradients of the weights after it. The gradient computes no state again
(`dtrm_jax/models/layers/recurrence.py`), and a step's products of few rows are laid out as a processor likes them
(`dtrm_jax/models/layers/few_rows.py`).

Beside PyTorch, which pads the same conversations (`benchmarks/recurrent.py --published`; voice alone, float32, two
quiet cores of a Xeon, medians of rounds in turn, and the range). *Plain* is written as the models' published code goes
about it: the states of all parties in every turn, attention turn by turn, edges made by loops
(`benchmarks/plain_peer.py`). *Lean* leaves out what is not needed, and has no loop that could be an operation on whole
arrays (`benchmarks/recurrent_peer.py`, `benchmarks/graph_peer.py`).

| training, utterances/s | here | plain PyTorch | times | lean PyTorch | times |
|---|---:|---:|---:|---:|---:|
"""
_AFTER_THE_SPEEDS = """
Both peers compute what is computed here (`make parity`), with as many parameters.
"""


def page() -> str:
    """Returns the text of the page."""
    rows, speeds = "".join(map(_row, MODELS)), "".join(map(_speed, SPEEDS))
    return _OPENING + rows + _AFTER_THE_TABLE + speeds + _AFTER_THE_SPEEDS + "".join(map(_model, MODELS))


def parameters(name: str, modalities: str) -> int:
    """Returns how many numbers a model learns with its defaults."""
    config = Config()
    config.model.architecture, config.model.modalities, config.model.utterance = name, modalities, "features"
    shape = PackShape((), 8, features=tuple((name, NUMBERS) for name in config.model.feature_modalities))
    shapes = parameter_shapes(MODELS[name].build(config, encoder=None, outputs=CLASSES, shape=shape))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def _row(name: str) -> str:
    model, config = MODELS[name], Config()
    config.model.utterance = "features"
    causal = model.is_causal(config)
    counts = " | ".join(f"{parameters(name, modalities):,}" for modalities in ("u", "uav"))
    streams = "yes" if causal and model.streams else "no"
    return f"| [{model.title}](#{name}) | `{name}` | {'no' if causal else 'yes'} | {streams} | {counts} |\n"


def _speed(measured: tuple[str, str]) -> str:
    """Returns the row of a model and a corpus, from the file that the benchmark has written."""
    name, corpus = measured
    file = ROOT / f"benchmarks/results/{name}-{corpus}-2-cores.json"
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    cells = [f"{MODELS[name].title}, {corpus.upper()}", f"{results['dtrm_jax']['utterances_per_second']:,.0f}"]
    for peer in ("torch plain", "torch padded"):
        row = results[peer]
        low, high = row["ours_is_faster_by_range"]
        cells.append(f"{row['utterances_per_second']:,.0f}")
        cells.append(f"{row['ours_is_faster_by']:.2f} ({low:.2f} to {high:.2f})")
    return f"| {' | '.join(cells)} |\n"


def _model(name: str) -> str:
    """Returns the section of a model."""
    rows = [
        f"| {corpus or 'all'} | `{path}` | `{value}` |\n"
        for corpus, values in MODELS[name].published.items()
        for path, value in values.items()
    ]
    file = Path(inspect.getfile(MODELS[name])).relative_to(ROOT)
    published = "".join(rows)
    return f"""
## {name}

{_markdown(inspect.getdoc(inspect.getmodule(MODELS[name])))}

What its authors trained it with, besides the defaults of [its settings](settings.md):

| corpus | setting | value |
|---|---|---|
{published}
The file: [{file}](../{file}).
"""


def _markdown(docstring: str) -> str:
    """Returns a docstring as Markdown: equations are blocks, names in single backticks."""
    text = re.sub(r"``(.+?)``", r"`\1`", docstring + "\n", flags=re.DOTALL)
    return re.sub(r"::\n\n((?:    .*\n|\n)+)(?=\S|\Z)", _block, text).strip()


def _block(found: re.Match) -> str:
    return f":\n\n```text\n{inspect.cleandoc(found[1])}\n```\n\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
