"""The corpora: files of the field, people's own tables, and generated conversations, by ``config.data.name``.

A new reader is one file with the two functions of ``reader.Reader`` and one line here. Its module is imported when the
corpus is first used.
"""

from dtrm_jax.data.readers.reader import Files, Generated
from dtrm_jax.errors import chosen

READERS: dict[str, Files | Generated] = {
    "meld": Files(
        version=4,
        module="dtrm_jax.data.readers.meld",
        needs="train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv (declare-lab/MELD) are",
        options=("labels",),
    ),
    "iemocap": Files(
        version=3,
        module="dtrm_jax.data.readers.iemocap",
        needs="iemocap.pkl (conv-emotion's COSMIC/feature-extraction), or a feature file of IEMOCAP, is",
        options=("labels", "test_session"),
    ),
    "emorynlp": Files(
        version=1,
        module="dtrm_jax.data.readers.emorynlp",
        needs="emotion-detection-trn.json, -dev.json and -tst.json (emorynlp/emotion-detection) are",
        options=("labels",),
    ),
    "dailydialog": Files(
        version=1,
        module="dtrm_jax.data.readers.dailydialog",
        needs="the folders train, validation and test of DailyDialog are",
    ),
    "avec": Files(
        version=1,
        module="dtrm_jax.data.readers.avec",
        needs="one or more of AVEC_features_1.pkl to AVEC_features_4.pkl are",
    ),
    "table": Files(
        version=3,
        module="dtrm_jax.data.readers.table",
        needs="tables of conversations (docs/own-data.md) are",
        options=("columns", "labels"),
    ),
    "planted": Generated(
        version=2,
        module="dtrm_jax.planted.generate",
        rules="dtrm_jax.planted.rules",
    ),
}


def find(name: str) -> Files | Generated:
    """Returns the entry of a corpus.

    Raises:
        InputError: There is no such corpus; lists those there are.
    """
    return chosen(READERS, name, "config.data.name")
