"""A network that does not see all subsets has no summaries; scenes without a sensor take none."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics.subsets import modality_subsets
from benchmark.metrics.summaries import average_top1_last1, unseen_subsets

SENSORS = "RDNS"
SOME = st.sets(st.sampled_from(SENSORS), min_size=1)


@given(st.lists(SOME, min_size=1, max_size=5), SOME, st.randoms(use_true_random=False))
def test_of_unscored_subsets_those_with_scenes_are_not_seen(scenes, seen, random) -> None:
    """Scenes with these sensors, and a network that sees those; some scene has all sensors."""
    subsets = modality_subsets(SENSORS)
    random.shuffle(subsets)
    scenes = [*scenes, set(SENSORS)]
    expected, scored = [], []
    for subset in subsets:
        there = any(scene >= set(subset) for scene in scenes)
        sees = bool(seen & set(subset))
        scored.append(there and sees)
        expected.append(there and not sees)
    names = ["+".join(subset) for subset in subsets]
    assert unseen_subsets(np.array(scored), names).tolist() == expected


@given(st.lists(SOME, min_size=1, max_size=5))
def test_scenes_that_lack_sensors_take_no_summary_away(scenes) -> None:
    subsets = modality_subsets(SENSORS)
    scores = []
    for number, subset in enumerate(subsets):
        there = any(scene >= set(subset) for scene in scenes)
        scores.append(float(number) if there else np.nan)
    names = ["+".join(subset) for subset in subsets]
    assert not unseen_subsets(~np.isnan(scores), names).any()
    assert average_top1_last1(scores, names) == average_top1_last1(scores)


def test_many_at_once_are_summarised_one_by_one() -> None:
    names = ["R", "D", "R+D"]
    scores = np.array([[[60.0, 20.0, 70.0], [60.0, np.nan, 70.0]], [[np.nan] * 3, [1.0, 2.0, 3.0]]])
    found = np.stack(average_top1_last1(scores, names), -1)
    assert found.shape == (2, 2, 3)
    np.testing.assert_array_equal(found[0, 0], [50, 70, 20])
    np.testing.assert_array_equal(found[1, 1], [2, 3, 1])
    assert np.isnan(found[0, 1]).all() and np.isnan(found[1, 0]).all()
