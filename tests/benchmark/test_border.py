"""What a user, a disk or a network causes is one line; what a program does wrong is a traceback."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio
import torch
import wandb
import yaml
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from benchmark import __main__ as program
from benchmark.__main__ import main
from benchmark.border import explain
from usererror import UserError


def caught(action: Callable[[], Any]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def raiser(error: BaseException) -> Callable[..., Any]:
    def act(*_: Any) -> None:
        raise error

    return act


def index_error() -> None:
    torch.zeros(2)[5]


def shape_error() -> None:
    torch.zeros(2, 3) @ torch.zeros(2, 3)


BORDER: dict[str, Callable[[], Any]] = {
    "checkpoint.ckpt": lambda: torch.load("no/checkpoint.ckpt"),
    "num_workers": lambda: DataLoader([], num_workers=-1),  # type: ignore[arg-type]
    "backend": lambda: Trainer(accelerator="gpu", logger=False),
    "no/raster.tif": lambda: rasterio.open("no/raster.tif"),
    "mapping values": lambda: yaml.safe_load("a: b: c"),
    "WANDB_MODE=offline": raiser(wandb.errors.CommError("Run initialization has timed out")),
    "memory": raiser(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")),
    "disk is full": raiser(OSError(errno.ENOSPC, "No space left on device")),
    "denied": raiser(PermissionError(errno.EACCES, "Permission denied", "runs")),
    "another process": raiser(RuntimeError("[/gloo/tcp/pair.cc:544] Connection closed by peer")),
}
if torch.cuda.is_available():
    del BORDER["backend"]


@pytest.mark.parametrize("said", BORDER)
def test_what_a_library_complains_of_is_one_line(said: str) -> None:
    line = explain(caught(BORDER[said]), "starts again")
    assert line and said in line and "\n" not in line


@pytest.mark.parametrize("fault", [index_error, shape_error, raiser(KeyError("a"))])
def test_a_fault_of_a_program_keeps_its_traceback(fault: Callable[[], Any]) -> None:
    assert explain(caught(fault), "starts again") is None


def test_of_an_error_in_a_reading_process_the_last_words_count() -> None:
    inner = (
        "Traceback (most recent call last):\n  File x\nrasterio.errors.RasterioIOError: a.tif: cut"
    )
    text = f"Caught RasterioIOError in DataLoader worker process 0.\nOriginal {inner}"
    line = explain(rasterio.errors.RasterioIOError(text), "starts again")
    assert line and "a.tif: cut" in line and "Traceback" not in line
    assert explain(UserError(f"Caught\n{inner}\nusererror.UserError: a is b."), "") == "a is b."


def test_only_the_first_process_says_that_another_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = RuntimeError("[/gloo/tcp/pair.cc:544] Connection closed by peer")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert explain(error, "starts again") == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert explain(error, "starts again")


def test_main_prints_the_line_or_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = program.COMMANDS["list"]
    monkeypatch.setattr(command, "run_command", lambda _: rasterio.open("no/raster.tif"))
    assert main(["list"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("imss: ") and error.count("\n") == 1
    monkeypatch.setenv("IMSS_TRACEBACK", "1")
    with pytest.raises(rasterio.errors.RasterioIOError):
        main(["list"])


def test_names_that_the_terminal_cannot_show_do_not_end_a_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "terminal").open("w+b") as raw:
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        show = lambda _: print("b\u00e2timent \u6a39")  # noqa: E731
        monkeypatch.setattr(program.COMMANDS["list"], "run_command", show)
        assert main(["list"]) == 0
        raw.seek(0)
        assert raw.read() == b"b\\xe2timent \\u6a39\n"


PROGRAM = (
    "import atexit, os, signal, sys, benchmark.__main__ as program\n{}\nsys.exit(program.main())"
)
ENDING = (
    "atexit.register(os.kill, os.getpid(), signal.SIGTERM); program.run_words = lambda words: {}"
)
THROUGH_EXEC = "program.parse_words = lambda words: exec('raise KeyboardInterrupt')"


@pytest.mark.parametrize(
    ("code", "status"),
    [(ENDING.format(0), 0), (ENDING.format(2), 2), (THROUGH_EXEC, 130)],
)
def test_the_status_is_the_command_s_however_python_ends(code: str, status: int) -> None:
    words = [sys.executable, "-c", PROGRAM.format(code)]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert ended.returncode == status and "Traceback" not in ended.stderr
