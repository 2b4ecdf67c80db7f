"""Maps as a few tokens: numbers worked by hand, and torch's own resizing of each image alone."""

import pytest
import torch
from torch.nn import functional

from opendet.model.features import FeatureTokens, join_levels
from opendet.model.image_tokens import Connector, Grid, ImageTokens, grid_cells, sample_grid
from opendet.model.positions import sine_embedding


def one_map(rows: list[list[float]], *, size_hw: tuple[int, int] | None = None) -> FeatureTokens:
    """One image, one channel, cells of one pixel."""
    values = torch.tensor(rows)[None, None]
    height, width = size_hw or values.shape[-2:]
    return join_levels([values], [1], torch.tensor([[height, width]]))


def test_a_map_of_four_cells() -> None:
    memory = one_map([[1.0, 2.0], [3.0, 5.0]])
    assert sample_grid(memory, Grid(0, 2)).flatten().tolist() == [1, 2, 3, 5]
    assert sample_grid(memory, Grid(0, 1)).flatten().tolist() == [2.75]  # the mean
    # at 1/6, 1/2 and 5/6 of two cells: within half a cell of the border it is the border's
    rows = [[1, 1.5, 2], [2, 2.75, 3.5], [3, 4, 5]]
    torch.testing.assert_close(sample_grid(memory, Grid(0, 3)).view(3, 3), torch.tensor(rows))


def test_padding_is_neither_read_nor_part_of_the_grid() -> None:
    padded = one_map([[1.0, 2.0, 7.0], [3.0, 5.0, 7.0], [7.0, 7.0, 7.0]], size_hw=(2, 2))
    assert sample_grid(padded, Grid(0, 1)).flatten().tolist() == [2.75]
    assert sample_grid(padded, Grid(0, 5)).max() == 5


@pytest.mark.parametrize("side", [3, 7, 20])
def test_it_is_interpolation_of_each_images_own_part(side: int) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 4, 6, 9)
    memory = join_levels([maps], [16], torch.tensor([[96, 144], [64, 48]]))
    sampled = sample_grid(memory, Grid(0, side))
    for image, (height, width) in enumerate(((6, 9), (4, 3))):
        own = maps[image : image + 1, :, :height, :width]
        expected = functional.interpolate(own, (side, side), mode="bilinear", align_corners=False)
        torch.testing.assert_close(sampled[image], expected[0].flatten(1).T)


def test_cells_go_row_by_row() -> None:
    cells = grid_cells(2, torch.device("cpu"))
    assert cells[:, :2].tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert cells[:, 2:].unique().tolist() == [0.5]


def test_a_token_is_its_features_and_the_sines_of_its_box() -> None:
    """y before x, then the sides; the first pair of each is the sine and cosine of 2 pi times it.

    With a width of 4 each coordinate has one pair.
    """
    connector = Connector(4, 8)
    with torch.no_grad():
        connector.place.weight.copy_(torch.eye(8))
        for parameter in (*connector.project.parameters(), connector.place.bias):
            parameter.zero_()
    box = torch.tensor([[0.25, 0.5, 0.0, 0.75]])
    expected = torch.tensor([[0, -1, 1, 0, 0, 1, -1, 0]], dtype=torch.float32)  # y, x, w, h
    torch.testing.assert_close(connector(torch.randn(1, 4), box), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(sine_embedding(box, 2), expected, atol=1e-6, rtol=0)


def test_a_separator_lies_between_the_grids() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 4, 8, 8), torch.randn(2, 4, 4, 4)]
    memory = join_levels(maps, [8, 16], torch.full((2, 2), 64))
    tokens = ImageTokens((Grid(1, 2), Grid(0, 3)), 4, 8)
    made = tokens(memory)
    assert made.shape == (2, len(tokens), 8) == (2, 4 + 1 + 9, 8)
    assert torch.equal(made[:, 4], tokens.separator_tokens.expand(2, -1))
    alone = ImageTokens((Grid(1, 3),), 4, 8)
    assert (len(alone), alone(memory).shape) == (9, (2, 9, 8))
    coarse = tokens.connector(sample_grid(memory, Grid(1, 2)), grid_cells(2, made.device))
    torch.testing.assert_close(made[:, :4], coarse)


def test_an_image_gives_the_same_tokens_in_any_company() -> None:
    torch.manual_seed(0)
    maps, tokens = torch.randn(1, 4, 5, 7), ImageTokens((Grid(0, 4),), 4, 8)
    alone = join_levels([maps], [16], torch.tensor([[70, 100]]))
    padded = functional.pad(maps, (0, 3, 0, 2), value=9.0)
    company = join_levels([padded], [16], torch.tensor([[70, 100]]))
    torch.testing.assert_close(tokens(alone), tokens(company))


def test_one_grid_alone_has_no_separator() -> None:
    """A parameter without an element gets no gradient, and ranks wait for one of each."""
    tokens = ImageTokens([Grid(0, 2)], width=8, language_width=6)
    assert all(parameter.numel() for parameter in tokens.parameters())
    assert len(tokens) == 4
    memory = join_levels([torch.ones(2, 8, 3, 3)], [8], torch.tensor([[24, 24], [24, 24]]))
    tokens(memory).sum().backward()
    assert all(parameter.grad is not None for parameter in tokens.parameters())
