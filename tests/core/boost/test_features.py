import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from q1net_core.boost.features import OPPONENT, describe_rate, join_bands, local_mean, split_bands, to_features


@given(rows=st.integers(1, 12), columns=st.integers(1, 12))
def test_bands_come_back_and_keep_the_error(rows: int, columns: int) -> None:
    pixels = np.random.default_rng(0).normal(0, 50, (2 * rows, 2 * columns, 3)).astype(np.float32)
    bands = split_bands(pixels)
    np.testing.assert_allclose(join_bands(bands), pixels, atol=1e-3)
    np.testing.assert_allclose((bands**2).sum(), (pixels**2).sum(), rtol=1e-4)
    np.testing.assert_allclose(OPPONENT @ OPPONENT.T, np.eye(3), atol=1e-6)


def test_a_local_mean_is_that_of_the_window_with_edges_repeated() -> None:
    band = np.random.default_rng(1).normal(size=(7, 11, 2)).astype(np.float32)
    padded = np.pad(band, [(4, 4), (4, 4), (0, 0)], "edge")
    expected = [[padded[row : row + 9, column : column + 9].mean((0, 1)) for column in range(11)] for row in range(7)]
    np.testing.assert_allclose(local_mean(band), expected, atol=1e-5)


def test_features_are_bounded_and_tell_the_rate() -> None:
    decoded = np.random.default_rng(2).integers(0, 256, (16, 24, 3), np.uint8)
    features = to_features(decoded, 5.0, describe_rate(0.25, 35))
    assert features.shape == (8, 12, 14)
    assert np.abs(features[..., :12]).max() <= 2
    np.testing.assert_array_equal(features[0, 0, 12:], [0, 1])
