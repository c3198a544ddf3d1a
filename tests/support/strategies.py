"""Random matrices, conventions, games and test sets for hypothesis, the same in every run."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmark.metrics.confusion import Convention

# timing says nothing on a busy machine, and a test that fails must fail again
settings.register_profile("suite", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("suite")

WORTH = st.floats(-100, 100).map(lambda value: round(value, 6))
CHANCE = st.floats(0, 1)


@st.composite
def conventions(draw: st.DrawFn, labels: int) -> Convention:
    """Any outputs (not of every label), averaged and ignored labels, and rule for absence."""
    some = st.lists(st.sampled_from(range(labels)), min_size=1, max_size=labels, unique=True).map(
        tuple
    )
    averaged = draw(some)
    rest = [label for label in range(labels) if label not in averaged]
    ignored = draw(st.lists(st.sampled_from(rest), unique=True)) if rest else []
    return Convention(
        draw(some), averaged, tuple(ignored), draw(st.sampled_from(["exclude", "zero", "union"]))
    )


def counts(*shape: int) -> st.SearchStrategy[np.ndarray]:
    """Matrices with many zeros: some classes are never true, or never guessed."""
    return arrays(
        np.int64, shape, elements=st.one_of(st.just(0), st.integers(0, 1000)), fill=st.just(0)
    )


@st.composite
def scored_cases(draw: st.DrawFn, number: int = 1) -> tuple[Convention, np.ndarray]:
    """A convention, and `number` x labels x outputs counts."""
    labels = draw(st.integers(2, 6))
    convention = draw(conventions(labels))
    return convention, draw(counts(number, labels, len(convention.outputs)))


@st.composite
def games(draw: st.DrawFn, number: int = 1, fewest: int = 1, most: int = 5) -> np.ndarray:
    """`number` games of the same players, number x 2^M."""
    return draw(arrays(float, (number, 2 ** draw(st.integers(fewest, most))), elements=WORTH))


@st.composite
def scenes_of_methods(draw: st.DrawFn, methods: int = 2) -> np.ndarray:
    """Class counts `(methods, scenes, 1 subset, 3, 2 classes)` of one truth."""
    scenes = draw(st.integers(2, 8))
    truth = draw(arrays(np.int64, (scenes, 2), elements=st.integers(1, 500)))
    share = draw(arrays(float, (methods, scenes, 2), elements=CHANCE))
    hits = (share * truth).astype(np.int64)
    taken = hits + (truth - hits)[..., ::-1]  # what is missed of one class is taken for the other
    return np.stack([hits, np.broadcast_to(truth, hits.shape), taken], 2)[:, :, None]
