"""Which surrogate is taken, why, and that a machine without a network learns so within seconds."""

from __future__ import annotations

import http.server
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlip_autopipec.base.errors import InputError, MissingProgramError
from mlip_autopipec.config.derive.surrogate import choose_surrogate
from mlip_autopipec.engines.surrogate.mace import weights

MODEL = b"PK" + bytes(1000)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def mace_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An interpreter that has a package called mace (all that the choice asks for)."""
    packages = tmp_path / "packages" / "mace"
    packages.mkdir(parents=True)
    (packages / "__init__.py").write_text(
        "raise RuntimeError('the choice must not load the package')"
    )
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\nshift 2\nexec {sys.executable} -c "import sys; sys.path.insert(0,'
        f" '{packages.parent}')\n$1\"\n"
    )
    python.chmod(0o755)
    monkeypatch.setenv("MLIP_MACE_PYTHON", str(python))


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.strip("/")
        body = {"whole": MODEL, "cut": MODEL, "page": b"<html>sign in</html>"}.get(name)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + (500 if name == "cut" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


def _serve(monkeypatch: pytest.MonkeyPatch, url: str) -> Path:
    target = weights.cached(weights.DEFAULT)
    monkeypatch.setitem(weights.URLS, weights.DEFAULT, url)
    monkeypatch.setattr(weights, "cached", lambda name: target)
    return target


def test_auto_without_mace_takes_chgnet_and_says_how_to_get_mace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLIP_MACE_PYTHON", "/nowhere/python")
    choice = choose_surrogate("auto", ["Si"])
    assert (choice.engine, choice.model) == ("chgnet", None)
    assert "make surrogate-mace" in choice.reason and "come with its package" in choice.reason


@pytest.mark.usefixtures("mace_python")
def test_auto_takes_mace_where_its_weights_lie() -> None:
    target = weights.cached(weights.DEFAULT)
    target.parent.mkdir(parents=True)
    target.write_bytes(MODEL)
    choice = choose_surrogate("auto", ["Si", "C"])
    assert (choice.engine, choice.model) == ("mace", weights.DEFAULT)
    assert weights.DEFAULT in choice.reason


@pytest.mark.usefixtures("mace_python")
def test_auto_downloads_the_weights_once(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    target = _serve(monkeypatch, server + "whole")
    assert choose_surrogate("auto", ["Si"]).engine == "mace"
    assert target.read_bytes() == MODEL
    monkeypatch.setitem(weights.URLS, weights.DEFAULT, server + "missing")
    assert choose_surrogate("auto", ["Si"]).engine == "mace"


@pytest.mark.usefixtures("mace_python")
@pytest.mark.parametrize(
    ("path", "cause"), [("missing", "404"), ("cut", "bytes"), ("page", "not a model file")]
)
def test_what_is_not_the_whole_file_is_no_model(
    monkeypatch: pytest.MonkeyPatch, server: str, path: str, cause: str
) -> None:
    target = _serve(monkeypatch, server + path)
    choice = choose_surrogate("auto", ["Si"])
    assert choice.engine == "chgnet" and cause in choice.reason
    assert not target.exists()


@pytest.mark.usefixtures("mace_python")
def test_a_network_that_never_answers_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        _serve(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        waited: list[float | None] = []
        wait = threading.Event.wait
        monkeypatch.setattr(
            threading.Event, "wait", lambda event, s=None: waited.append(s) or wait(event, s)
        )
        with pytest.raises(MissingProgramError, match=r"(no answer|timed out).*curl -L"):
            weights.fetch(weights.DEFAULT, first_answer_s=0.3, whole_file_s=3600.0)
        assert 0.3 in waited and not any(s is not None and s > 0.3 for s in waited)


@pytest.mark.usefixtures("mace_python")
def test_no_network_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    _serve(monkeypatch, f"http://127.0.0.1:{port}/")
    choice = choose_surrogate("auto", ["Si"])
    assert choice.engine == "chgnet" and "refused" in choice.reason


def test_an_element_that_mace_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not know Po" in choose_surrogate("auto", ["Po"]).reason


@pytest.mark.parametrize(("engine", "package"), [("mace", "mace"), ("sevennet", "sevenn")])
def test_a_named_engine_that_is_missing_is_an_error_not_a_replacement(
    monkeypatch: pytest.MonkeyPatch, engine: str, package: str
) -> None:
    monkeypatch.setenv(f"MLIP_{engine.upper()}_PYTHON", "/nowhere/python")
    with pytest.raises(MissingProgramError, match=f"{package}.*make surrogate-{engine}"):
        choose_surrogate(engine, ["Si"])


def test_a_named_engine_is_taken_as_it_is_and_a_model_needs_one() -> None:
    assert choose_surrogate("chgnet", ["Si"]).reason == "given"
    with pytest.raises(InputError, match=r"surrogate\.model"):
        choose_surrogate("auto", ["Si"], model="medium")
    with pytest.raises(InputError, match="chgnet"):
        choose_surrogate("chgnett", ["Si"])


def test_weights_lie_where_the_package_keeps_them() -> None:
    assert weights.cached("small").name == "20231210mace128L0_energy_epoch249model"
