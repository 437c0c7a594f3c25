"""A cache of parsed corpora: conversations are read once and kept as prepared data (``data.prepared``).

Prepared data lies in ``<cache>/<corpus>/<fingerprint>/``, Parquet files in ``<fingerprint>-parquet/``. The fingerprint
covers everything that the conversations depend on (``readers.reader.Source``), so that it is never mistaken for other
data. What is damaged there is prepared again, which takes nothing but time.
"""

import pathlib
import sys

from dtrm_jax.config import DataConfig
from dtrm_jax.conversation import Dataset
from dtrm_jax.data import prepared, readers
from dtrm_jax.errors import InputError, disk_problem, printable
from dtrm_jax.user_paths import cache_folder

_ELSEWHERE = "choose another folder with --config.data.cache=DIR or $DTRM_CACHE"


def load(config: DataConfig) -> Dataset:
    """Returns the configured corpus from its prepared files, which are written first if they do not exist.

    Args:
        config: ``name`` is one of ``readers.READERS``; ``source`` falls back to ``$DTRM_<NAME>_SOURCE`` and, for MELD,
            to a download; ``cache`` falls back to ``$DTRM_CACHE`` and then to ``~/.cache/dtrm_jax``.

    Raises:
        InputError: There is no such corpus, its source is missing or malformed, or the cache cannot be written.
    """
    cache = cache_folder(config.cache)
    source = readers.find(config.name).locate(config, cache)
    folder = cache / config.name / (source.fingerprint[:16] + ("" if prepared.has_array_record() else "-parquet"))
    records = prepared.records_in(folder)
    damaged = False
    if records.is_dir():
        try:
            return prepared.read(records)
        except prepared.Damaged as damage:
            damaged = True
            print(printable(f"{records}: prepared data is damaged ({damage}); prepares it again"), file=sys.stderr)
    dataset = source.read()
    _check_texts(dataset)
    _prepare(dataset, records, damaged=damaged)
    try:
        return prepared.read(records)
    except prepared.Damaged as error:
        raise InputError(f"{records}: was written and is damaged all the same ({error}); {_ELSEWHERE}") from None


def _check_texts(dataset: Dataset) -> None:
    """Raises InputError if what should be text is not, which readers refuse where they can name the row."""
    for split, conversations in dataset.splits.items():
        for conversation in conversations:
            texts = [
                conversation.id,
                *(part for turn in conversation.turns for part in (turn.id, turn.speaker, turn.text)),
            ]
            where = f"{dataset.name}, {split} split, conversation {conversation.id}"
            try:
                "".join(texts).encode()
            except UnicodeEncodeError:
                raise InputError(f"{where}: expected Unicode, found half of a surrogate pair in a turn") from None
            except TypeError:
                other = next(text for text in texts if not isinstance(text, str))
                raise InputError(f"{where}: expected text as id, speaker and text, found {other!r}") from None


def _prepare(dataset: Dataset, records: pathlib.Path, *, damaged: bool) -> None:
    """Writes a corpus in place of what may be there.

    Raises:
        InputError: The folder cannot be written.
    """
    count = sum(len(conversations) for conversations in dataset.splits.values())
    print(f"preparing {dataset.name.upper()}: {count} conversations", file=sys.stderr)
    try:
        if damaged:
            prepared.discard(records)
        prepared.write(dataset, records)
    except OSError as error:
        raise InputError(f"{records}: prepared data cannot be written ({error}); {_ELSEWHERE}") from None
    except Exception as error:  # the libraries of the formats report a full disk in ways of their own
        if problem := disk_problem(error):
            raise InputError(f"{records}: prepared data cannot be written ({problem}); {_ELSEWHERE}") from error
        raise
