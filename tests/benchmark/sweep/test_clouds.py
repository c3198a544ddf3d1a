"""Files for other queues name what there is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from benchmark.__main__ import parse_words
from benchmark.choices import ROOT
from benchmark.sweep.plan import PLAN, sweep_folder
from usererror import UserError

CLOUDS = ROOT / "examples" / "clouds"


def command(text: str) -> tuple[Any, Any]:
    """Parse the command of ours in a line of shell, for the first experiment."""
    words = shlex.split(text.replace("$JOB_COMPLETION_INDEX", "0").replace("$INDEX", "0"))
    words = words[words[0] == "exec" :]
    assert words[0].endswith("imss")
    return parse_words(words[1:])


def test_an_indexed_job_runs_one_cell_a_pod() -> None:
    job = yaml.safe_load((CLOUDS / "kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed" and spec["backoffLimitPerIndex"] == 3
    pod = spec["template"]["spec"]
    # Kubernetes takes a policy of failures with this alone
    assert pod["restartPolicy"] == "Never"
    (container,) = pod["containers"]
    evicted, mistaken = spec["podFailurePolicy"]["rules"]
    assert evicted["onPodConditions"] == [{"type": "DisruptionTarget"}]
    codes = mistaken["onExitCodes"]
    assert codes["values"] == [UserError.status] and codes["containerName"] == container["name"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    arguments, _ = command(container["args"][0])
    # where the command in its first comment puts it
    assert arguments.plan == sweep_folder(Path("runs"), "paper") / PLAN and arguments.index == 0
    assert container["args"][0].startswith("exec "), "a shell does not hand signals on"


def test_a_skypilot_task_runs_one_cell() -> None:
    task = yaml.safe_load((CLOUDS / "skypilot.yaml").read_text())
    assert task["resources"]["use_spot"] and "INDEX" in task["envs"]
    arguments, _ = command(task["run"].strip())
    (mount,) = task["file_mounts"]
    # what the machine leaves behind
    assert arguments.plan == sweep_folder(Path(mount, "runs"), "paper") / PLAN
