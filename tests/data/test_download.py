import hashlib
import http.server
import os
import threading
import urllib.error

import pytest

from dtrm_jax.data import download
from dtrm_jax.errors import InputError

FILES = {name: f"content of {name}\r\n".encode() * 1000 for name in download.SHA256}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        content = self.server.files.get(self.path.removeprefix("/MELD/"))
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - self.server.missing_bytes])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.files, server.missing_bytes = [], dict(FILES), 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "BASE_URL", f"http://127.0.0.1:{server.server_port}/MELD")
    monkeypatch.setattr(
        download, "SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    )
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fails(folder) -> str:
    with pytest.raises(InputError) as caught:
        download.download_meld(folder)
    message = str(caught.value)
    assert "\n" not in message
    # Whatever the cause, it says which files are needed and how to name their folder.
    for words in (*FILES, "--config.data.source=DIR", "$DTRM_MELD_SOURCE"):
        assert words in message
    return message


def test_downloads_each_file_once(server, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert download.download_meld(folder) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert sorted(server.requests) == sorted(f"/MELD/{name}" for name in FILES)
    download.download_meld(folder)
    assert len(server.requests) == 3


def test_a_damaged_file_is_fetched_again(server, tmp_path):
    download.download_meld(tmp_path)
    (tmp_path / "dev_sent_emo.csv").write_bytes(b"half")
    download.download_meld(tmp_path)
    assert server.requests[3:] == ["/MELD/dev_sent_emo.csv"]
    assert (tmp_path / "dev_sent_emo.csv").read_bytes() == FILES["dev_sent_emo.csv"]


def test_another_content_is_refused_and_not_kept(server, tmp_path):
    server.files["dev_sent_emo.csv"] += b"x"
    message = fails(tmp_path)
    assert "dev_sent_emo.csv cannot be downloaded" in message and "SHA-256" in message
    assert [path.name for path in tmp_path.iterdir()] == ["train_sent_emo.csv"]


def test_too_large_a_file_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "MAX_BYTES", 100)
    assert "in 101 bytes" in fails(tmp_path)


@pytest.mark.parametrize("cause", ["404", "cut", "closed"])
def test_a_failing_server_is_one_line(server, tmp_path, cause, monkeypatch):
    if cause == "404":
        server.files.clear()
    elif cause == "cut":
        server.missing_bytes = 10
    else:
        monkeypatch.setattr(download, "BASE_URL", "http://127.0.0.1:1/MELD")
    message = fails(tmp_path)
    assert "train_sent_emo.csv cannot be downloaded" in message
    assert {"404": "Not Found", "cut": "SHA-256", "closed": "refused"}[cause] in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error", [urllib.error.URLError(OSError(-2, "Name or service not known")), TimeoutError("timed\nout")]
)
def test_no_network_is_one_line(tmp_path, monkeypatch, error):
    def urlopen(url, timeout):
        assert timeout == download.TIMEOUT
        raise error

    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)
    assert "service not known" in fails(tmp_path) or "timed out" in fails(tmp_path)


def test_a_silent_server_times_out(server, tmp_path, monkeypatch):
    answer = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: answer.wait(5))
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    try:
        assert "timed out" in fails(tmp_path)
    finally:
        answer.set()


def test_a_failed_write_leaves_nothing(server, tmp_path, monkeypatch):
    def replace(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", replace)
    assert "disk full" in fails(tmp_path)
    assert not list(tmp_path.iterdir())
