import numpy as np
import pytest

from dtrm_jax.errors import InputError
from dtrm_jax.extraction.store import Store


def test_results_come_back_exactly_and_in_order(tmp_path):
    features = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    with Store(tmp_path / "clips.sqlite") as store:
        for place in (2, 0):
            store.add(place, features[place])
        store.add(1, "is empty")
    with Store(tmp_path / "clips.sqlite") as store:
        assert store.places() == {0, 2}, "a clip without features is tried again"
        store.add(1, features[1])
        found = list(store.results())
    assert [place for place, _ in found] == [0, 1, 2]
    np.testing.assert_array_equal([one for _, one in found], features)


def test_reasons_come_back(tmp_path):
    with Store(tmp_path / "clips.sqlite") as store:
        store.add(4, "is empty")
        assert list(store.results()) == [(4, "is empty")]


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "clips.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=r"clips\.sqlite: cannot be used: file is not a database"):
        Store(tmp_path / "clips.sqlite")
