"""Every key that a run with `--logger wandb` writes: its unit, who writes it, and its panel.

`make wandb-workspace` builds its panels from this list; tests hold it against what runs log.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SHARE, PER_CENT, SECONDS, IMAGES = "0 to 1", "per cent", "seconds", "images"
EVALUATION, METHOD = "evaluation/callback.py", "methods/base.py"
SUMMARY, CALLBACK, LIGHTNING = "wandb_summary.py", "wandb_callback.py", "Lightning"
TRUST = "trust_metrics.py"
PREDICTION = "Prediction from {subset}"
ECE, BRIER = "Calibration error from {subset}", "Brier score from {subset}"
CHANGED = "Label changes from {subset}"


@dataclass(frozen=True)
class LoggedKey:
    """A key, or a family of keys with one {placeholder}.

    Example:
        >>> key = LoggedKey("miou_{subset}", PER_CENT, SUMMARY, "Subsets", "mIoU from {subset}")
        >>> key.values(["R", "R+D"], ["rgb", "dsm"])
        [{'subset': 'R'}, {'subset': 'R+D'}]
        >>> key.matches("miou_R+D"), key.matches("val/miou/R")
        (True, False)
    """

    # {subset} and {modality} are known from the dataset, {name} and {term} only from the run; a
    # {term} has no slash
    name: str
    unit: str
    writer: str  # file that logs it
    # of the workspace; without one the key has no panel of its own there
    section: str = ""
    title: str = ""  # of its panels, with the same placeholder

    @property
    def pattern(self) -> str:
        """Regular expression of the family."""
        escaped = re.escape(self.name).replace(r"\{term\}", "[^/]+")
        return re.sub(r"\\{\w+\\}", ".+", escaped)

    def matches(self, key: str) -> bool:
        """Tell whether a logged key belongs to the family."""
        return re.fullmatch(self.pattern, key) is not None

    def values(self, subsets: Sequence[str], modalities: Sequence[str]) -> list[dict[str, str]]:
        """List what the placeholder stands for in a dataset; what it does not tell stays."""
        if "{subset}" in self.name:
            return [{"subset": subset} for subset in subsets]
        if "{modality}" in self.name:
            return [{"modality": modality} for modality in modalities]
        return [{"name": "{name}", "term": "{term}"}]


KEYS = (
    # the summary of a finished run, in per cent as in the tables
    LoggedKey("average_miou", PER_CENT, SUMMARY, "Leaderboard", "Average mIoU"),
    LoggedKey("top1_miou", PER_CENT, SUMMARY, "Leaderboard", "Top-1 mIoU"),
    LoggedKey("last1_miou", PER_CENT, SUMMARY, "Leaderboard", "Last-1 mIoU"),
    LoggedKey("miou_{subset}", PER_CENT, SUMMARY, "Subsets", "mIoU from {subset}"),
    LoggedKey("parameters_m", "1e6, trainable", SUMMARY, "Cost", "trainable parameters, 1e6"),
    LoggedKey("gmac", "1e9 of a window", SUMMARY, "Cost", "GMAC of a window"),
    LoggedKey("fit_s", SECONDS, SUMMARY, "Cost", "seconds of training"),
    LoggedKey("test_s", SECONDS, SUMMARY),
    LoggedKey("subset_scores", PER_CENT, SUMMARY, "Tables"),
    LoggedKey("class_scores", PER_CENT, SUMMARY, "Tables"),
    # of records that were scored under damage, or whose confidences were counted
    LoggedKey("robustness/mPC", PER_CENT, TRUST, "Robustness", "mIoU under damage (mPC)"),
    LoggedKey("robustness/clean", PER_CENT, TRUST, "Robustness", "mIoU without damage"),
    LoggedKey("robustness/scenarios", "count", TRUST, "Robustness", "Scenarios in mPC"),
    LoggedKey("robustness/{name}", PER_CENT, TRUST),
    LoggedKey("reliability/ece/{subset}", PER_CENT, TRUST, "Reliability", ECE),
    LoggedKey("reliability/brier/{subset}", "0 to 2", TRUST, "Reliability", BRIER),
    LoggedKey("reliability/changed/{subset}", PER_CENT, TRUST, "Reliability", CHANGED),
    # curves of the training, in [0, 1] as metrics of Lightning are
    LoggedKey("val/average_miou", SHARE, EVALUATION, "Curves", "Average mIoU, validation"),
    LoggedKey("val/top1_miou", SHARE, EVALUATION, "Curves", "Top-1 mIoU, validation"),
    LoggedKey("val/last1_miou", SHARE, EVALUATION, "Curves", "Last-1 mIoU, validation"),
    LoggedKey("val/miou/{subset}", SHARE, EVALUATION),
    LoggedKey("test/average_miou", SHARE, EVALUATION),
    LoggedKey("test/top1_miou", SHARE, EVALUATION),
    LoggedKey("test/last1_miou", SHARE, EVALUATION),
    LoggedKey("test/miou/{subset}", SHARE, EVALUATION),
    LoggedKey("train/loss", "the method's", METHOD, "Curves", "Training loss"),
    LoggedKey("train/{term}", "the method's", METHOD, "Curves", "Terms of the training loss"),
    LoggedKey("train/learning/{name}", SHARE, "learning.py", "Curves", "What sensors learn"),
    LoggedKey("lr-{name}", "step size", LIGHTNING),
    LoggedKey("epoch", "count", LIGHTNING),
    LoggedKey("trainer/global_step", "count", LIGHTNING),
    LoggedKey("diagnostics/{name}", "the method's", CALLBACK, "Curves", "Diagnostics"),
    # pictures of the example scenes
    LoggedKey("examples/{modality}", IMAGES, CALLBACK, "Examples", "{modality}"),
    LoggedKey("examples/label", IMAGES, CALLBACK, "Examples", "Label"),
    LoggedKey("examples/prediction/{subset}", IMAGES, CALLBACK, "Examples", PREDICTION),
    LoggedKey("maps/{name}", IMAGES, CALLBACK),
)
