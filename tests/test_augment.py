"""Augmentation: each image its own draw, from (seed, epoch, row) alone; gathering keeps the order of rows."""

import numpy as np
import pytest
import torch

from diagxnet.training.augment import augment, to_float
from diagxnet.training.batches import gather

NOTHING = {"rotation": 0.0, "translation": 0.0, "scale": 0.0, "flip": 0.0, "contrast": 0.0}
EVERYTHING = {"rotation": 15.0, "translation": 0.1, "scale": 0.2, "flip": 0.5, "contrast": 0.3}
ROWS = np.array([7, 3, 500, 11, 2, 9])


@pytest.fixture
def images() -> torch.Tensor:
    """Random images uint8 [6, 1, 32, 32]."""
    return torch.randint(0, 256, (6, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def view(images: torch.Tensor, rows: np.ndarray = ROWS, seed: int = 1, epoch: int = 0, **ranges: float) -> torch.Tensor:
    return augment(images, rows, seed=seed, epoch=epoch, **(NOTHING | ranges))


def test_ranges_of_zero_give_the_image_to_the_bit(images: torch.Tensor) -> None:
    assert torch.equal(view(images), images.float() / 255)
    assert torch.equal(view(images), to_float(images))


def test_the_result_is_float_of_the_same_shape_between_0_and_1(images: torch.Tensor) -> None:
    result = view(images, **EVERYTHING)
    assert (result.dtype, result.shape) == (torch.float32, images.shape)
    assert 0 <= result.min() <= result.max() <= 1


def test_a_draw_does_not_depend_on_the_batch_around_it(images: torch.Tensor) -> None:
    whole = view(images, **EVERYTHING)
    order = [4, 0, 3]
    torch.testing.assert_close(view(images[order], ROWS[order], **EVERYTHING), whole[order], rtol=0, atol=1e-6)


def test_another_epoch_seed_or_row_gives_another_view(images: torch.Tensor) -> None:
    first = view(images, **EVERYTHING)
    assert torch.equal(view(images, **EVERYTHING), first)
    for other in (
        view(images, epoch=1, **EVERYTHING),
        view(images, seed=2, **EVERYTHING),
        view(images, ROWS + 1, **EVERYTHING),
    ):
        assert all(not torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_a_certain_flip_mirrors_left_and_right(images: torch.Tensor) -> None:
    torch.testing.assert_close(view(images, flip=1.0), to_float(images).flip(3), rtol=0, atol=1e-5)


def test_a_flip_of_one_half_mirrors_half_of_the_rows() -> None:
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).expand(2000, 1, 8, 8)
    flipped = view(images, np.arange(2000), flip=0.5)[:, 0, 0, 0] > 3.5 / 255
    assert flipped.float().mean() == pytest.approx(0.5, abs=0.04)


def test_rotation_turns_by_no_more_than_its_range() -> None:
    """A bright point on the horizontal axis stays within the angle, and reaches most of it in both directions."""
    angles = angles_of(view(spot_right_of_centre(400, 65), np.arange(400), rotation=20.0))
    assert -20.5 < angles.min() < -15
    assert 15 < angles.max() < 20.5


def spot_right_of_centre(images: int, side: int) -> torch.Tensor:
    """Black images [images, 1, side, side] with a white spot at three o'clock."""
    spots = torch.zeros(images, 1, side, side, dtype=torch.uint8)
    spots[:, :, side // 2 - 1 : side // 2 + 2, -10:-7] = 255
    return spots


def angles_of(images: torch.Tensor) -> torch.Tensor:
    """Angle in degrees of each image's bright point about the centre."""
    down, right = centres_of(images)
    return torch.rad2deg(torch.atan2(down, right))


def centres_of(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance in pixels, downwards and to the right of the centre, of each image's centre of mass."""
    side = images.shape[-1]
    positions = torch.arange(side) - (side - 1) / 2
    mass = images[:, 0].sum((1, 2))
    return (images[:, 0].sum(2) @ positions) / mass, (images[:, 0].sum(1) @ positions) / mass


def test_mirrored_images_turn_in_both_directions_too() -> None:
    seen = view(spot_right_of_centre(400, 65), np.arange(400), rotation=20.0, flip=0.5)
    down, right = centres_of(seen)
    for side in (right > 0, right < 0):
        assert side.sum() > 150
        assert (down[side] > 0).float().mean() == pytest.approx(0.5, abs=0.1)


def test_translation_moves_by_no_more_than_its_share_of_the_side() -> None:
    images = torch.zeros(400, 1, 65, 65, dtype=torch.uint8)
    images[:, :, 31:34, 31:34] = 255
    for moved in centres_of(view(images, np.arange(400), translation=0.2)):
        assert -13.1 < moved.min() < -11
        assert 11 < moved.max() < 13.1


def test_scale_enlarges_and_shrinks_within_its_range() -> None:
    images = torch.zeros(400, 1, 65, 65, dtype=torch.uint8)
    images[:, :, 22:43, 22:43] = 255
    sides = view(images, np.arange(400), scale=0.3).sum((1, 2, 3)).sqrt()
    assert 21 * 0.69 < sides.min() < 21 * 0.75
    assert 21 * 1.25 < sides.max() < 21 * 1.31


def test_contrast_keeps_the_mean_and_scales_the_difference_to_it() -> None:
    images = torch.full((400, 1, 8, 8), 100, dtype=torch.uint8)
    images[:, :, :4] = 140
    result = view(images, np.arange(400), contrast=0.5)
    torch.testing.assert_close(result.mean((1, 2, 3)), torch.full((400,), 120 / 255))
    factors = (result[:, 0, 0, 0] - result[:, 0, 7, 0]) * 255 / 40
    assert 0.5 <= factors.min() < 0.55
    assert 1.45 < factors.max() <= 1.5


def test_what_comes_in_from_outside_is_black() -> None:
    images = torch.full((50, 1, 33, 33), 255, dtype=torch.uint8)
    result = view(images, np.arange(50), rotation=45.0)
    angles = angles_of(view(spot_right_of_centre(50, 33), np.arange(50), rotation=45.0)).abs()
    assert (result[angles > 20, :, 0, 0] == 0).all()
    assert (result[:, :, 16, 16] == 1).all()


def test_draws_of_one_image_are_independent_of_each_other() -> None:
    from diagxnet.training.augment import _draws

    draws = _draws(np.arange(20_000), seed=1, epoch=0)
    correlations = np.corrcoef(draws, rowvar=False) - np.eye(draws.shape[1])
    assert np.abs(correlations).max() < 0.03
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.01)


def test_gather_gives_the_rows_in_their_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    rows = np.array([5, 19, 0, 5, 3])
    batch = gather(images, rows)
    assert (batch.shape, batch.dtype) == ((5, 1, 8, 8), torch.uint8)
    np.testing.assert_array_equal(batch[:, 0].numpy(), images[rows])


def test_a_gathered_batch_is_memory_of_its_own(tmp_path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((4, 8, 8), np.uint8))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    batch = gather(images, np.array([1, 2]))
    batch += 1
    assert not images.any()


def test_the_memory_of_a_batch_is_used_again_when_nothing_of_it_is_held() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 5), dtype=np.uint8)
    first = gather(images, np.arange(4))
    place, part = first.data_ptr(), first[2:, :, 1:]
    del first
    others = [gather(images, np.arange(n, n + 4)) for n in range(8)]
    np.testing.assert_array_equal(part[:, 0].numpy(), images[2:4, 1:])
    assert place not in [other.data_ptr() for other in others]
    del part
    assert gather(images, np.arange(4, 8)).data_ptr() == place


@pytest.mark.parametrize("rows", [[0, 4], [-1, 2]])
def test_a_row_that_is_none_is_an_error(rows: list[int]) -> None:
    with pytest.raises(IndexError, match="of 4 images"):
        gather(np.zeros((4, 8, 8), np.uint8), np.array(rows))
