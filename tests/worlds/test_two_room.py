"""Two Rooms: walls hold, the door opens, the picture tells the position."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tacit.worlds.two_room import (
    CLEARANCE,
    DOOR_RANGE,
    DOT_COLOUR,
    FLOOR_COLOUR,
    HALF_DOOR,
    HALF_WALL,
    HIGH,
    LOW,
    MAX_NORM,
    RADIUS,
    SIZE,
    WALL_COLOUR,
    WALL_RANGE,
    Layout,
    TwoRoom,
    background,
    draw_dot,
    free_position,
    moved,
    wander,
)

LAYOUT = Layout(wall=32.0, door=24.0)
LEFT, RIGHT = 32.0 - HALF_WALL - RADIUS, 32.0 + HALF_WALL + RADIUS  # faces of the wall, as the dot's centre meets them
TOP, BOTTOM = 24.0 - HALF_DOOR + RADIUS, 24.0 + HALF_DOOR - RADIUS  # edges of the doorway, likewise
ANGLES = [2 * math.pi * k / 16 for k in range(16)]

layouts = st.builds(Layout, wall=st.floats(*WALL_RANGE), door=st.floats(*DOOR_RANGE))
moves = st.tuples(st.floats(-10, 10), st.floats(-10, 10))


def touches_wall(x: float, y: float, layout: Layout) -> bool:
    """Whether a dot there overlaps a wall by more than rounding, written from the dot's radius, without `Layout.blocked`."""
    slack = RADIUS - 1e-9
    in_wall = abs(x - layout.wall) < HALF_WALL + slack
    in_door = abs(y - layout.door) < HALF_DOOR - slack
    outside = not (3 + slack <= x <= 61 - slack and 3 + slack <= y <= 61 - slack)
    return outside or (in_wall and not in_door)


@settings(max_examples=300)
@given(layout=layouts, seed=st.integers(0, 2**32), steps=st.lists(moves, min_size=1, max_size=40))
def test_no_path_enters_a_wall_tunnels_or_outruns_the_limit(layout: Layout, seed: int, steps: list[tuple[float, float]]) -> None:
    position = free_position(layout, np.random.default_rng(seed))
    for step in steps:
        after = moved(position, step, layout)
        assert not touches_wall(*after, layout)
        assert math.dist(position, after) <= min(math.hypot(*step), MAX_NORM) + 3 * CLEARANCE
        if layout.room(position) != layout.room(after):
            for x, y in (position, after):  # both ends of a step through the wall's middle lie inside its thickness: in the doorway
                assert abs(x - layout.wall) < HALF_WALL + RADIUS
                assert abs(y - layout.door) < HALF_DOOR - RADIUS
        position = after


@given(layout=layouts, angle=st.floats(-math.pi, math.pi), seed=st.integers(0, 2**32))
def test_a_free_move_is_exact(layout: Layout, angle: float, seed: int) -> None:
    """Far from every wall nothing but the move counts."""
    rng = np.random.default_rng(seed)
    room = int(layout.wall < SIZE / 2)  # the wider room
    position = free_position(layout, rng, room)
    low, high = (layout.wall + 3.5, HIGH) if room else (LOW, layout.wall - 3.5)
    position = np.array([np.clip(position[0], low + 3, high - 3), np.clip(position[1], LOW + 3, HIGH - 3)])
    move = (MAX_NORM * math.cos(angle), MAX_NORM * math.sin(angle))
    assert moved(position, move, layout) == pytest.approx(position + move, abs=1e-12)


def test_a_long_move_is_shortened_not_turned() -> None:
    assert moved((15.0, 40.0), (30.0, 40.0), LAYOUT) == pytest.approx((15 + 0.6 * MAX_NORM, 40 + 0.8 * MAX_NORM))


@pytest.mark.parametrize("y", [TOP + 1e-3, 24.0, BOTTOM - 1e-3])
@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_the_door_is_passable(y: float, direction: float) -> None:
    position = np.array([32.0 - 8 * direction, y])
    for _ in range(7):
        position = moved(position, (direction * MAX_NORM, 0.0), LAYOUT)
    assert position == pytest.approx((32.0 - 8 * direction + 7 * direction * MAX_NORM, y))


@pytest.mark.parametrize("y", [TOP, BOTTOM])
def test_a_dot_that_just_fits_slides_along_the_edge_of_the_doorway(y: float) -> None:
    """Touching is free, so the exact edge is passable too."""
    assert moved((LEFT - 1.0, y), (2.0, 0.0), LAYOUT) == pytest.approx((LEFT + 1.0, y))


@pytest.mark.parametrize(("inside", "y"), [(1, TOP - 1e-3), (-1, BOTTOM + 1e-3)])
def test_the_edge_of_the_door_stops_a_dot_that_does_not_fit(inside: int, y: float) -> None:
    assert moved((LEFT - 1.0, y), (2.0, 0.0), LAYOUT) == pytest.approx((LEFT, y), abs=1e-4)
    assert moved((LEFT - 1.0, y), (2.0, 0.01 * inside), LAYOUT)[0] > LEFT, "a slightly slanted one slips in"


def test_a_corner_of_the_door_hit_exactly_is_never_entered() -> None:
    for dx, dy in itertools.product((1.0, 1.5), (-1.0, -1.5, 1.0)):
        after = moved((LEFT - dx / 2, TOP - dy / 2), (dx, dy), LAYOUT)
        assert not touches_wall(*after, LAYOUT)


def test_what_is_left_of_a_move_slides_along_the_wall() -> None:
    assert moved((LEFT - 1.0, 50.0), (2.0, 1.0), LAYOUT) == pytest.approx((LEFT, 51.0), abs=1e-4)
    assert moved((10.0, HIGH - 0.5), (1.0, 1.0), LAYOUT) == pytest.approx((11.0, HIGH), abs=1e-4)


@pytest.mark.parametrize(("x", "dx"), [(LEFT, 0.0), (LEFT - CLEARANCE, 0.0), (RIGHT, 0.0), (LOW, 0.0), (HIGH, 0.0)])
@pytest.mark.parametrize("dy", [2.0, -2.0])
def test_moving_exactly_along_a_wall_is_free(x: float, dx: float, dy: float) -> None:
    assert moved((x, 45.0), (dx, dy), LAYOUT) == pytest.approx((x, 45.0 + dy), abs=1e-4)


@pytest.mark.parametrize("corner", [(LOW, LOW), (LOW, HIGH), (HIGH, LOW), (HIGH, HIGH), (LEFT, LOW), (LEFT, HIGH), (RIGHT, HIGH)])
def test_a_dot_pushed_into_a_corner_stays_there_and_gets_out(corner: tuple[float, float]) -> None:
    x, y = corner
    into = (1.0 if x in (HIGH, LEFT) else -1.0, 1.0 if y == HIGH else -1.0)
    position = np.array(corner)
    for _ in range(5):
        position = moved(position, into, LAYOUT)
        assert position == pytest.approx(corner, abs=1e-4)
    assert moved(position, (-into[0], -into[1]), LAYOUT) == pytest.approx((x - into[0], y - into[1]), abs=1e-4)


def test_a_dot_that_leans_on_a_wall_stays_outside_even_as_it_is_logged() -> None:
    """Walls at places that floats cannot hold exactly, touched at every angle and pushed on."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        layout = Layout.random(rng)
        room = int(rng.integers(2))
        position = np.array([layout.wall + (2 * room - 1) * 4.5, layout.door - 20 if layout.door > 32 else layout.door + 20])
        for _ in range(4):
            position = moved(position, ((1 - 2 * room) * rng.uniform(0.5, 2), rng.uniform(-1, 1)), layout)
            assert layout.room(position) == room
            assert layout.is_free(position.astype(np.float32))


def test_no_move_is_no_move() -> None:
    assert moved((20.0, 30.0), (0.0, 0.0), LAYOUT).tolist() == [20.0, 30.0]


@given(layout=layouts, seed=st.integers(0, 2**32))
def test_the_picture_tells_the_position_to_a_tenth_of_a_pixel(layout: Layout, seed: int) -> None:
    """Centroid of what the dot takes away from the floor's green."""
    rng = np.random.default_rng(seed)
    x, y = free_position(layout, rng)
    walls = background(layout)
    weight = np.abs(draw_dot(walls, (x, y))[..., 1].astype(float) - walls[..., 1])
    # The wall's own colour dims a dot that touches it: look at dots that stand clear.
    assume(min(x - 3, 61 - x, y - 3, 61 - y, abs(x - layout.wall) - HALF_WALL) > RADIUS + 1)
    centres = np.arange(SIZE) + 0.5
    found = (weight.sum(0) @ centres / weight.sum(), weight.sum(1) @ centres / weight.sum())
    assert found == pytest.approx((x, y), abs=0.1)


@given(st.floats(0, 64), st.floats(0, 64))
def test_a_dot_anywhere_in_the_image_changes_only_pixels_near_it(x: float, y: float) -> None:
    walls = background(LAYOUT)
    frame = draw_dot(walls, (x, y))
    rows, columns = np.nonzero((frame != walls).any(-1))
    assert rows.size > 0
    assert (np.hypot(columns + 0.5 - x, rows + 0.5 - y) < RADIUS + 0.5 + 1e-4).all()


@given(st.floats(0, 64), st.floats(0, 64))
def test_a_dot_is_drawn_as_over_the_whole_image(x: float, y: float) -> None:
    """The naive version: every pixel of the image is covered by how deep its centre lies inside the disc."""
    walls = background(LAYOUT).astype(float)
    centres = np.arange(SIZE) + 0.5
    cover = np.clip(RADIUS + 0.5 - np.hypot(centres[None, :] - x, centres[:, None] - y), 0, 1)[..., None]
    naive = walls + cover * (DOT_COLOUR - walls)
    assert np.abs(draw_dot(background(LAYOUT), (x, y)) - naive).max() <= 0.501


def test_the_background_shows_wall_and_door() -> None:
    image = background(LAYOUT)
    assert image.dtype == np.uint8
    assert image[50, 31:33].tolist() == [WALL_COLOUR.tolist()] * 2, "the wall"
    assert image[24, 28:36].tolist() == [FLOOR_COLOUR.tolist()] * 8, "the door"
    assert (image[50, 30] != image[50, 29]).any(), "half a pixel of wall"
    assert (image[:3] == WALL_COLOUR).all()
    assert (image[:, -3:] == WALL_COLOUR).all()


@pytest.mark.parametrize("layout", [None, LAYOUT])
@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized space:UserWarning")  # actions are physical
def test_gymnasium_finds_nothing_to_complain_about(layout: Layout | None) -> None:
    check_env(TwoRoom(layout), skip_render_check=True)


def test_the_same_seed_gives_the_same_episode() -> None:
    first, second, other = TwoRoom(), TwoRoom(), TwoRoom()
    starts = [env.reset(seed=seed)[0]["image"] for env, seed in ((first, 3), (second, 3), (other, 4))]
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])
    assert first.layout == second.layout != other.layout
    for action in wander(20, np.random.default_rng(0)):
        one, two = first.step(action), second.step(action)
        assert np.array_equal(one[0]["image"], two[0]["image"])
        assert np.array_equal(one[4]["position"], two[4]["position"])


def test_a_fixed_layout_stays() -> None:
    env = TwoRoom(LAYOUT)
    env.reset(seed=0)
    env.reset()
    assert env.layout == LAYOUT


@pytest.mark.parametrize("position", [(32.0, 50.0), (2.0, 30.0), (30.0, 62.0), (math.nan, 30.0), (LEFT + 0.1, TOP - 0.1)])
def test_a_start_inside_a_wall_is_refused_and_changes_nothing(position: tuple[float, float]) -> None:
    env = TwoRoom()
    env.reset(seed=0)
    before = env.position, env.layout
    with pytest.raises(ValueError, match="does not fit"):
        env.reset(options={"layout": LAYOUT, "position": position})
    assert (env.position, env.layout) == before


@pytest.mark.parametrize("action", [np.zeros(3), np.array([math.nan, 0.0]), np.array([math.inf, 0.0]), 1.0])
def test_a_bad_action_is_refused(action: np.ndarray) -> None:
    env = TwoRoom()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="2 finite numbers"):
        env.step(action)


@pytest.mark.parametrize("values", [{"wall": 10.0}, {"door": 60.0}, {"door": math.nan}])
def test_a_layout_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be between"):
        Layout(**values)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_wandering_stays_inside_the_limit_and_goes_everywhere(seed: int) -> None:
    actions = wander(1000, np.random.default_rng(seed))
    assert actions.shape == (1000, 2)
    assert actions.dtype == np.float32
    length = np.hypot(*actions.T.astype(np.float64))
    assert length.max() <= MAX_NORM * (1 + 1e-6)
    assert length.max() > 0.9 * MAX_NORM
    assert len(set(np.sign(actions[length > 0]).astype(int).view([("x", int), ("y", int)]).ravel().tolist())) == 4, "all four quadrants"


def test_wandering_rests_now_and_then_for_some_steps_in_a_row() -> None:
    rests = np.stack([np.hypot(*wander(100, np.random.default_rng(seed)).T) == 0.0 for seed in range(300)])
    assert 0.05 < rests.mean() < 0.12
    assert (rests[:, 1:] & rests[:, :-1]).sum() > 0.8 * rests[:, 1:].sum()
