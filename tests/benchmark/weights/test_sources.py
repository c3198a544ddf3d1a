"""What methods start from: names and sizes against the papers, downloads from a stand-in hub."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
import yaml
from safetensors.torch import save

import imss
from benchmark import choices
from benchmark.__main__ import main
from benchmark.experiment.models import PAPER
from benchmark.experiment.request import Request
from benchmark.weights.sources import counted_megabytes, weights_of


def names(method: str, *words: str) -> list[str]:
    return [one.name for one in weights_of(Request(method, PAPER, overrides=words))]


def test_a_method_says_itself_what_it_loads() -> None:
    (weights,) = weights_of(Request("sgma", PAPER))
    assert (weights.name, weights.licence) == ("pvt_v2_b2.in1k", "apache-2.0")
    assert weights.address == "hf.co/timm/pvt_v2_b2.in1k"
    # VGG-16 is one backbone, of two sets of weights
    assert names("fusenet") == ["vgg16.tv_in1k"] and names("vfusenet") == ["vgg16_bn.tv_in1k"]
    assert names("unet") == names("segnet") == []
    # its teacher starts from the same
    assert names("anyseg") == ["pvt_v2_b2.in1k"]
    assert names("sgma", "--model.backbone=resnet50") == ["resnet50.a1_in1k"]


# millions of parameters as the papers or torchvision print them
@pytest.mark.parametrize(
    ("name", "millions"), [("pvt_v2_b2", 25.4), ("resnet18.tv_in1k", 11.7), ("vgg16", 138.4)]
)
def test_sizes_are_those_of_the_papers(name: str, millions: float) -> None:
    assert counted_megabytes(name) == pytest.approx(4 * millions, rel=0.01)


def first_of_each_network() -> list[str]:
    """A shipped row of every network that starts from pretrained weights."""
    found: dict[tuple[str, str], str] = {}
    for method in choices.methods():
        section = yaml.safe_load((choices.CONFIGS / f"method/{method}.yaml").read_text())["model"]
        options = section.get("init_args", {})
        if options.get("pretrained"):
            found.setdefault((section["class_path"], options.get("architecture", "")), method)
    return list(found.values())


@pytest.mark.parametrize("method", first_of_each_network())
def test_every_backbone_takes_a_local_file(method: str) -> None:
    words = ("--model.pretrained_path=mine.pth",)
    found = weights_of(Request(method, PAPER, overrides=words))
    assert [one.state for one in found] == ["mine.pth is not there"]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A server with a hub's addresses, and an empty cache; files by their path."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            content = files.get(self.path)
            self.send_response(404 if content is None else 200)
            if content is None:
                self.send_header("X-Error-Code", "EntryNotFound")
            else:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", "c" * 40)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(files.get(self.path, b""))

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    yield files
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_was_fetched_is_found_without_a_connection(
    hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    state = timm.create_model("pvt_v2_b0").state_dict()
    hub["/timm/pvt_v2_b0.in1k/resolve/main/model.safetensors"] = save(state)
    words = ["weights", "control", "--backbone", "pvt_v2_b0"]
    assert main(words) == 0
    assert "15 MB, counted" in (before := capfd.readouterr().out) and "not in the cache" in before
    assert main([*words, "--fetch"]) == 0
    told = capfd.readouterr().out
    assert "Fetching pvt_v2_b0.in1k" in told and "model.safetensors" in told
    hub.clear()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(["weights", "METHOD=control", "BACKBONE=pvt_v2_b0", "FETCH=1"]) == 0
    assert "Fetching" not in capfd.readouterr().out
    options = {"backbone": "pvt_v2_b0", "pretrained": True}
    model = imss.build_model("control", {"rgb": 3, "dsm": 1}, num_classes=2, **options)
    loaded = model.network.encoder.pyramid.stages_0.blocks[0].attn.q.weight
    assert torch.equal(loaded, state["stages.0.blocks.0.attn.q.weight"])


def test_a_hub_that_lacks_a_file_is_one_line(
    hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["weights", "control", "--backbone", "pvt_v2_b0", "--fetch"]
    assert main(words) == 2
    assert "pvt_v2_b0.in1k from the hub could not be loaded" in capfd.readouterr().err
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(words) == 2
    told = capfd.readouterr().err
    assert "hub cannot be reached" in told and told.count("\n") == 1


def test_a_method_without_weights_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "unet"]) == 0
    assert "unet: random weights" in capfd.readouterr().out
