"""How the threads of a process wait for each other."""

from __future__ import annotations

import os

import pytest

from benchmark import machine


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    machine.prepare_process()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    machine.prepare_process()
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    machine.prepare_process()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
