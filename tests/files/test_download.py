"""Downloads from a server on this machine: whole and checked, or nothing."""

import hashlib
import threading
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from graphseq.files import fetch
from graphseq.files.download import _HttpsOnly

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several pieces


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        length = {"/whole": len(CONTENT), "/cut": len(CONTENT) + 1}.get(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        with suppress(ConnectionError):  # clients that have seen enough hang up
            self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def plain_http(monkeypatch):
    """Only the way a connection is opened is replaced: the rule itself is tested elsewhere."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    monkeypatch.setattr(
        "graphseq.files.download._open_url", lambda url, timeout: opener.open(url, timeout=timeout)
    )


@pytest.mark.parametrize("place", ["/whole", "/unannounced"])
def test_whole_file_arrives(address, tmp_path, place):
    digest = hashlib.sha256(CONTENT).hexdigest()
    fetch(address + place, tmp_path / "deep" / "file", sha256=digest)
    assert (tmp_path / "deep" / "file").read_bytes() == CONTENT
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["file"]


@pytest.mark.parametrize("present", [False, True])
@pytest.mark.parametrize(
    ("place", "options", "kind", "words"),
    [
        ("/cut", {}, OSError, "bytes arrived"),
        ("/missing", {}, OSError, "404"),
        ("/whole", {"sha256": "0" * 64}, ValueError, "has sha256"),
        ("/whole", {"max_bytes": 1000}, ValueError, "longer than 1000 bytes"),
    ],
)
def test_failed_download_changes_nothing(address, tmp_path, place, options, kind, words, present):
    path = tmp_path / "file"
    if present:
        path.write_text("old")
    with pytest.raises(kind, match=words) as caught:
        fetch(address + place, path, **options)
    assert address + place in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == (["file"] if present else [])
    assert not present or path.read_text() == "old"


def test_no_connection_says_so_and_names_the_place_for_the_file(tmp_path):
    with pytest.raises(OSError, match=r"download of http://127\.0\.0\.1:9/x failed") as caught:
        fetch("http://127.0.0.1:9/x", tmp_path / "x", timeout=1.0)
    assert f"put the file at {tmp_path / 'x'}" in str(caught.value)


def test_a_broken_connection_is_not_blamed_on_the_disk(tmp_path, monkeypatch):
    def reset(url, timeout):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("graphseq.files.download._open_url", reset)
    with pytest.raises(OSError, match=r"download of \S+ failed") as caught:
        fetch("https://example.org/x", tmp_path / "x")
    assert "cannot write" not in str(caught.value)


def test_a_full_disk_is_not_blamed_on_the_network(address, tmp_path):
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(OSError, match="cannot write"):
        fetch(address + "/whole", tmp_path / "folder" / "file")


def test_redirects_stay_encrypted():
    request = urllib.request.Request("https://example.org/x")
    follow = _HttpsOnly().redirect_request
    with pytest.raises(ValueError, match="https://"):
        follow(request, None, 302, "Found", {}, "http://example.org/x")
    followed = follow(request, None, 302, "Found", {}, "https://example.net/x")
    assert followed is not None
    assert followed.full_url == "https://example.net/x"
