"""Downloads MELD's official CSV files, once, and checks that they are the ones published."""

import hashlib
import http.client
import pathlib
import urllib.request

from dtrm_jax.errors import InputError
from dtrm_jax.replacing import replacing

BASE_URL = "https://raw.githubusercontent.com/declare-lab/MELD/master/data/MELD"
SHA256 = {
    "train_sent_emo.csv": "d2fa2d6529cf03cac2989efec05c9b27d8fd2f4c8fc5974c7ae88aa537fa02db",
    "dev_sent_emo.csv": "2e89c6f8aa182d6f62f8c6331aece905ac7273ca4999660bfb5213e1d0370c1c",
    "test_sent_emo.csv": "8d37103938f7067600839fe29d5a114a6cd1bcdafb75bec101e06464c5006888",
}
TIMEOUT = 30  # seconds without an answer
MAX_BYTES = 16 * 2**20  # of one file; the largest has 1.1 MB


def download_meld(folder: pathlib.Path) -> pathlib.Path:
    """Makes sure that the three CSV files lie in ``folder`` and returns it.

    A file with the right checksum is not downloaded again. A file appears under its name only when it is complete and
    its checksum is right.

    Raises:
        InputError: There is no network, or the downloaded file is not the published one; says which files to put where.
    """
    for name, checksum in SHA256.items():
        try:
            if not _has(folder / name, checksum):
                _store(folder / name, _fetch(f"{BASE_URL}/{name}", checksum))
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise InputError(_advice(name, error)) from None
    return folder


def _has(path: pathlib.Path, checksum: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == checksum


def _fetch(url: str, checksum: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        content = response.read(MAX_BYTES + 1)
    found = hashlib.sha256(content).hexdigest()
    if found != checksum:
        raise ValueError(f"expected SHA-256 {checksum[:12]}..., found {found[:12]}... in {len(content)} bytes")
    return content


def _store(path: pathlib.Path, content: bytes) -> None:
    with replacing(path, binary=True) as file:
        file.write(content)


def _advice(name: str, error: Exception) -> str:
    reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
    return (
        f"MELD: {name} cannot be downloaded from {BASE_URL} ({reason}); put {', '.join(SHA256)} into a folder and name "
        "it with --config.data.source=DIR or $DTRM_MELD_SOURCE"
    )
