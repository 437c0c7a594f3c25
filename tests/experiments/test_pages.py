"""A folder of records and ``make tables`` are all that a page needs; the README's table finds its cells itself."""

import dataclasses
import json
import shutil

import pytest

from dtrm_jax import config_files
from dtrm_jax.config import from_dict
from dtrm_jax.experiments import again, document, grid, pages, records, summary, tables, tuning
from dtrm_jax.settings import flat
from tests.runs import ROOT

RESULTS = ROOT / "results"
TABLE3 = dataclasses.replace(pages.read(RESULTS / "meld_minilm" / "table3.json"), costs=[])


def stored():
    """Every table of the project."""
    folders = (folder for folder in RESULTS.iterdir() if folder.is_dir())
    return [outcome for folder in folders for outcome in pages.outcomes(folder).values()]


@pytest.fixture
def project(tmp_path):
    """A project with two pages, one whose name begins with that of the other, and two folders of records."""
    (tmp_path / "docs/results").mkdir(parents=True)
    for name in ("meld", "meld_five", "mosi"):
        text = "by hand\n<!-- all of ../../results -->\n<!-- end -->\nby hand\n"
        (tmp_path / f"docs/results/{name}.md").write_text(text)
    for name in ("meld_large", "meld_five_frozen"):
        shutil.copytree(RESULTS / "meld_minilm", tmp_path / "results" / name, ignore=shutil.ignore_patterns("*.svg"))
    return tmp_path


def test_a_new_folder_comes_onto_the_page_that_fits_best(project):
    files = {name: project / f"docs/results/{name}.md" for name in ("meld", "meld_five", "mosi")}
    assert document.main([*map(str, files.values())]) == 0
    texts = {name: file.read_text() for name, file in files.items()}
    assert "### meld_large\n" in texts["meld"] and "### meld_five_frozen\n" not in texts["meld"]
    assert "### meld_five_frozen\n" in texts["meld_five"] and "meld_large" not in texts["meld_five"]
    assert "Nothing has been run yet." in texts["mosi"]
    assert all(text.startswith("by hand\n") and text.endswith("by hand\n") for text in texts.values())
    tables = len(pages.outcomes(RESULTS / "meld_minilm"))
    assert texts["meld"].count("```sh\npython -m dtrm_jax.experiments ") == tables >= 4
    assert "--records=results/meld_large" in texts["meld"] and "DialogueTRM-U. F1 by class: neutral" in texts["meld"]
    plots = list(project.glob("results/*/*.svg"))
    assert len(plots) == 2 * tables and f"](../../results/meld_large/{plots[0].name})" in texts["meld"]
    before = {file: file.read_bytes() for file in (*plots, *files.values())}
    assert document.main([*map(str, files.values())]) == 0
    assert {file: file.read_bytes() for file in before} == before


def test_the_stored_records_are_of_the_runs_of_their_tables():
    read = 0
    for folder in (folder for folder in RESULTS.iterdir() if folder.is_dir()):
        for name, outcome in pages.outcomes(folder).items():
            config = from_dict(records.completed(outcome.config))
            of = config.data.corpus or config.data.name
            if name == tuning.NAME:
                tries = tuning.written(outcome.tries)
                found = [tuning.table(tuning.variants(config, tries))]
            else:
                found = [tables.table(name, modalities, of) for modalities in ("u", "ua", "uav", "av")]
            # By name: a table may have got rows since, such as a model or a fusion of one's own.
            variants = {row.variant.name: row.variant for table in found for row in table.rows}
            for stored_row in outcome.rows:
                for seed in stored_row.seeds:
                    variant = variants[stored_row.variant]
                    run = grid.run_config(config, variant, seed)
                    assert records.read(folder, variant, seed, run, split=outcome.split) is not None
                    read += 1
    assert read > 50


def test_the_command_of_a_table_gives_its_settings():
    for outcome in stored():
        name, changes = again.base_of(outcome)
        values = {path: tuple(value) if isinstance(value, list) else value for path, value in changes.items()}
        made = flat(records.settings_of(grid.changed(config_files.load(name), values)))
        made["train.select_by"] = made["train.select_by"] or outcome.select_by
        kept = flat(records.completed(outcome.config))
        differing = {path for path, value in kept.items() if made[path] != value}
        assert differing <= (set() if again.takes_features(outcome) else {"data.feature_bound"})


def test_the_command_tells_what_was_changed_and_what_was_run():
    config = json.loads(json.dumps(TABLE3.config))
    config["name"], config["packing"]["row_lengths"], config["train"]["select_by"] = "mine", [64, 128], "accuracy"
    rows = [dataclasses.replace(row, seeds=[0, 2] if row.variant == "u" else []) for row in TABLE3.rows]
    told = again.command(dataclasses.replace(TABLE3, config=config, rows=rows), "results/mine")
    assert told.replace(" \\\n    ", " ") == (
        "python -m dtrm_jax.experiments table3 --config=meld_minilm --config.name=mine "
        "'--config.packing.row_lengths=(64,128)' --config.train.select_by=accuracy --seeds=3 --only=u "
        "--records=results/mine"
    )
    assert max(map(len, told.splitlines())) <= 120
    with_voice = [dataclasses.replace(row, variant="ua") for row in rows]
    assert "--config.data.source=FOLDER" in again.command(dataclasses.replace(TABLE3, rows=with_voice), "results/mine")


def test_the_modalities_of_a_row_are_in_its_name():
    names = ("u", "uav-swapped", "bert", "u-no-transformer", "c-lstm-forward-u", "dialogue-rnn-ua-same", "ua-gmu")
    assert [again._letters(name) for name in names] == ["u", "uav", "u", "u", "u", "ua", "ua"]


@pytest.mark.parametrize(("cut", "words"), [(1, "1 was"), (2, "2 were")])
def test_a_cost_is_what_was_measured(cut, words):
    assert again.cost(TABLE3) == ""
    one = {"seconds": 540.0, "complete": True, "machine": "EPYC", "cores": 2}
    costs = [one, *[one | {"seconds": 3700.0, "complete": False}] * cut]
    runs = sum(len(row.seeds) for row in TABLE3.rows)
    assert again.cost(dataclasses.replace(TABLE3, costs=costs)) == (
        f"A run took 9 min to 1 h 02 min (EPYC, 2 cores), of {len(costs)} of {runs} runs that were measured; {words} "
        "interrupted and took longer. Other programs may have used the machine, too."
    )


def write(folder, outcome, **config):
    """Writes an outcome to a new folder of records, with some settings changed by path."""
    values = json.loads(json.dumps(outcome.to_json()))
    for path, value in config.items():
        *sections, name = path.split("__")
        section = values["config"]
        for part in sections:
            section = section[part]
        section[name] = value
    folder.mkdir(parents=True)
    (folder / f"{outcome.table}.json").write_text(json.dumps(values))


IN_PAPER = {"meld": {"conversations": 280, "turns": 2610}, "iemocap": {"conversations": 31, "turns": 1623}}


def scored(*scores, variant="u", corpus="meld", causal=True, **changes):
    """Table 3 of one row, of a corpus as it is published."""
    row = dataclasses.replace(
        TABLE3.rows[1],
        variant=variant,
        scores={"test.weighted_f1": list(scores)},
        f1_by_class={f"class {number}": [0.5] for number in range(7 if corpus == "meld" else 6)},
        seeds=[*range(len(scores))],
        causal=causal,
    )
    return dataclasses.replace(TABLE3, rows=[row], corpus=corpus, **{**IN_PAPER[corpus], **changes})


def test_the_main_table_finds_its_cells(tmp_path):
    many, mpnet = (0.8, 0.9, 0.9), "sentence-transformers/all-mpnet-base-v2"
    write(tmp_path / "meld_minilm", scored(0.61, 0.63))
    write(tmp_path / "meld_a", scored(0.9))  # fewer seeds
    write(tmp_path / "meld_best", scored(*many), tokens__future=3)  # not the paper's model
    write(tmp_path / "meld_future", scored(*many, causal=False))
    write(tmp_path / "meld_frozen", scored(*many), model__utterance="features")
    write(tmp_path / "meld_three", scored(*many), data__labels="sentiment")
    write(tmp_path / "meld_dyadic", scored(*many, conversations=581))
    write(tmp_path / "meld_last", scored(*many), train__select_last=True)
    write(tmp_path / "meld_pretrained", scored(*many), train__init_from="runs/other")
    write(tmp_path / "meld_twelve", scored(*many), model__encoder__pretrained="microsoft/MiniLM-L12-H384-uncased")
    write(tmp_path / "meld_mpnet", scored(*many), model__encoder__pretrained="microsoft/mpnet-base")
    write(tmp_path / "meld_old", scored(*many), model__architecture="c_lstm")
    write(tmp_path / "iemocap_session", scored(*many, corpus="iemocap"), data__test_session=5)
    write(tmp_path / "iemocap_voice", scored(0.7, variant="ua", corpus="iemocap"))
    half = {"model__encoder__products": "bfloat16"}
    write(tmp_path / "iemocap_mpnet", scored(0.68, corpus="iemocap"), model__encoder__pretrained=mpnet, **half)
    lines = summary.main_results(tmp_path).splitlines()
    assert [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines[2:6]] == [
        ["62.0 ± 1.4 (2)†", "-", "63.2"],
        ["-", "-", "63.5"],
        ["-", "68.0 (1)", "68.1"],
        ["70.0 (1)†", "-", "69.7*"],
    ]
    assert "† Trained with products in float32; the others in bfloat16." in lines[-1]
    assert "Dev chooses the checkpoint" in lines[-1] and "not run yet" in lines[-1] and "the face, too" in lines[-1]
    shutil.rmtree(tmp_path / "iemocap_mpnet")
    assert "†" not in summary.main_results(tmp_path), "all are alike"
