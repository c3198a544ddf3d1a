"""A street seen from a car: classes, depth, surface directions and colours, before any sensor.

Rays through all pixels meet the ground, boxes and ellipsoids; the nearest one is seen. World axes
in metres: x to the right of the street, y up from the ground, z along it; the camera stands
near the origin and is turned a little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

# ids of the label (dataset dossier, 6.5)
(
    BUILDING, FENCE, OTHER, PEDESTRIAN, POLE, ROAD_LINE, ROAD, SIDEWALK, VEGETATION, CARS, WALL,
    TRAFFIC_SIGN, SKY, GROUND, BRIDGE, RAIL_TRACK, GROUND_RAIL, TRAFFIC_LIGHT, STATIC, DYNAMIC,
    WATER, TERRAIN, TWO_WHEELER, BUS, TRUCK,
) = range(25)  # fmt: skip
UNLABELLED = 255

Colour = tuple[float, float, float]
Point = tuple[float, float, float]  # x, y, z
Box = tuple[float, float, float, float, float, float]  # x from, to, y from, to, z from, to
Motion = tuple[float, float]  # over ground, m per event frame: x, z
At = tuple[slice, slice]
Raster = NDArray[np.float32]
STILL: Motion = (0.0, 0.0)
# reflectance; streets, pavements and squares look alike, so do lawns and crowns
FLOORS: dict[int, Colour] = {
    ROAD: (0.36, 0.36, 0.37), ROAD_LINE: (0.72, 0.71, 0.66), SIDEWALK: (0.45, 0.44, 0.43),
    GROUND: (0.42, 0.40, 0.38), TERRAIN: (0.31, 0.36, 0.20), WATER: (0.30, 0.36, 0.40),
    RAIL_TRACK: (0.40, 0.37, 0.35), GROUND_RAIL: (0.37, 0.35, 0.33),
}  # fmt: skip
FAR = 400.0  # metres; beyond it the ground is not drawn
NEAR = 0.3  # metres; nothing is nearer to the camera


@dataclass
class Lamp:
    """A light that is on at night: where it is seen (pixels), how far it is (m), its colour."""

    column: float
    row: float
    distance: float
    colour: Colour


@dataclass
class Street:
    """What a camera sees, its x and height in `eye`.

    `(H, W)`: `label`, `depth` (m, infinite for the sky), `above` (height above ground, m);
    `(3, H, W)`: `normal` and `colour` (reflectance) of the surface; `(2, H, W)`: `moving`.
    """

    size: int
    turn: float = 0.0
    pitch: float = 0.0
    eye: tuple[float, float] = (0.0, 1.7)
    lamps: list[Lamp] = field(default_factory=list)

    def __post_init__(self) -> None:
        shape = (self.size, self.size)
        self.focal = 0.62 * self.size  # 78 degrees
        self.centre = self.size / 2 + self.pitch * self.size
        column = (np.arange(self.size) + 0.5 - self.size / 2) / self.focal
        row = -(np.arange(self.size) + 0.5 - self.centre) / self.focal
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        ones = np.ones(shape, np.float32)
        x, y, z = ones * (cos * column + sin), ones * row[:, None], ones * (cos - sin * column)
        self.rays = np.stack([x, y, z]).astype(np.float32)
        self.label = np.full(shape, SKY, np.uint8)
        self.depth = np.full(shape, np.inf, np.float32)
        self.above = np.zeros(shape, np.float32)
        self.normal = np.zeros((3, *shape), np.float32)
        self.colour = np.zeros((3, *shape), np.float32)
        self.moving = np.zeros((2, *shape), np.float32)

    @property
    def sky(self) -> NDArray[np.bool_]:
        """Where nothing stands in the way, whatever the label says."""
        return np.isinf(self.depth)

    def project_point(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """Return column, row and depth of a point."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        x, y = x - self.eye[0], y - self.eye[1]
        depth = sin * x + cos * z
        near = max(depth, 0.05)
        column = (cos * x - sin * z) / near * self.focal + self.size / 2
        return column, self.centre - y / near * self.focal, depth

    def _window(self, box: Box) -> At | None:
        """Return the part of the picture that a box may be seen in."""
        corners = product(box[:2], box[2:4], box[4:])
        points = np.array([self.project_point(x, y, z) for x, y, z in corners])
        columns, rows, depths = points.T
        if depths.max() < NEAR:
            return None
        # corners behind the camera have no place in the picture
        if depths.min() < NEAR:
            return slice(0, self.size), slice(0, self.size)
        edges = np.array([rows.min(), rows.max() + 1, columns.min(), columns.max() + 1])
        top, bottom, left, right = np.clip(edges, 0, self.size).astype(int).tolist()
        if top >= bottom or left >= right:
            return None
        return slice(top, bottom), slice(left, right)

    def _put(
        self, at: At, seen: NDArray[np.bool_], depth: Raster, normal: Raster,
        kind: NDArray[np.uint8] | int, colour: Raster, moving: Motion = STILL,
    ) -> None:  # fmt: skip
        """Put a surface into the picture where it is nearer than what is there."""
        seen = seen & (depth < self.depth[at])
        self.label[at][seen] = kind[seen] if isinstance(kind, np.ndarray) else kind
        self.depth[at][seen] = depth[seen]
        self.above[at][seen] = (self.rays[1][at] * depth + self.eye[1])[seen]
        both = (slice(None), *at)
        self.normal[both][:, seen] = normal[:, seen]
        self.colour[both][:, seen] = colour[:, seen]
        self.moving[both][:, seen] = np.array(moving)[:, None]

    def draw_ground(self, floor: Floor) -> None:
        """Draw the ground as `floor` says."""
        down = np.minimum(self.rays[1], -1e-6)
        depth = (-self.eye[1] / down).astype(np.float32)
        x, z = self.rays[0] * depth + self.eye[0], self.rays[2] * depth
        kind = floor.classes_at(x, z)
        table = np.zeros((256, 3), np.float32)
        for number, colour in FLOORS.items():
            table[number] = colour
        normal = np.zeros_like(self.normal)
        normal[1] = 1
        whole = slice(0, self.size), slice(0, self.size)
        seen = (self.rays[1] < 0) & (depth < FAR)
        self._put(whole, seen, depth, normal, kind, np.moveaxis(table[kind], -1, 0))

    def draw_box(
        self, box: Box, kind: int, colour: Colour, pattern: str = "", moving: Motion = STILL
    ) -> None:
        """Draw a box; `windows` darkens a grid of panes, `bars` lets one see between its bars."""
        at = self._window(box)
        if at is None:
            return
        rays = self.rays[(slice(None), *at)]
        start = (self.eye[0], self.eye[1], 0.0)
        enter = np.full(rays.shape[1:], -np.inf, np.float32)
        leave = np.full(rays.shape[1:], np.inf, np.float32)
        axis = np.zeros(rays.shape[1:], np.int8)
        # slab method: a ray is inside the box where it is between both planes of every axis
        for i in range(3):
            step = np.where(abs(rays[i]) < 1e-9, 1e-9, rays[i])
            first, last = (box[2 * i] - start[i]) / step, (box[2 * i + 1] - start[i]) / step
            near, far = np.minimum(first, last), np.maximum(first, last)
            axis[near > enter] = i
            np.maximum(enter, near, out=enter)
            np.minimum(leave, far, out=leave)
        seen = (enter < leave) & (enter > NEAR)
        if not seen.any():
            return
        depth = np.where(seen, enter, 1).astype(np.float32)
        # the side that was entered last faces the camera
        normal = np.zeros(rays.shape, np.float32)
        for i in range(3):
            normal[i] = np.where(axis == i, -np.sign(rays[i]), 0)
        paint = _plain(colour, rays.shape).copy()
        if pattern:
            x, y, z = (rays[i] * depth + start[i] for i in range(3))
            along = np.where(axis == 0, z, x)
            if pattern == "windows":
                pane = (np.mod(along, 3.0) > 1.1) & (np.mod(y, 3.1) > 1.2) & (axis != 1)
                paint[:, pane] *= np.array([0.45, 0.5, 0.6], np.float32)[:, None]
            elif pattern == "bars":
                rail = abs(y - box[3]) < 0.15
                seen &= (np.mod(along, 0.6) < 0.25) | rail | (depth > 14)
        self._put(at, seen, depth, normal, kind, paint, moving)

    def draw_ball(
        self, place: Point, radii: Point, kind: int, colour: Colour,
        ragged: Raster | None = None, moving: Motion = STILL,
    ) -> None:  # fmt: skip
        """Draw an ellipsoid; `ragged` `(H, W)`, about 0-1, eats into its rim, as leaves do."""
        (x, y, z), (rx, ry, rz) = place, radii
        at = self._window((x - rx, x + rx, y - ry, y + ry, z - rz, z + rz))
        if at is None:
            return
        rays = self.rays[(slice(None), *at)]
        scale = np.array(radii, np.float32)[:, None, None]
        start = (np.array([self.eye[0], self.eye[1], 0.0]) - place)[:, None, None] / scale
        steps = rays / scale
        # |start + t steps|^2 = 1, solved for the nearer t
        a, b, c = (steps**2).sum(0), (steps * start).sum(0), float((start**2).sum()) - 1
        inside = b * b - a * c
        if ragged is not None:
            inside = inside - 0.45 * a * ragged[at]
        depth = ((-b - np.sqrt(np.maximum(inside, 0))) / a).astype(np.float32)
        seen = (inside > 0) & (depth > NEAR)
        normal = (start + steps * depth) / scale
        normal /= np.maximum(np.sqrt((normal**2).sum(0)), 1e-6)
        paint = _plain(colour, rays.shape)
        self._put(at, seen, depth, normal.astype(np.float32), kind, paint, moving)


def _plain(colour: Colour, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.broadcast_to(np.array(colour, np.float32)[:, None, None], shape)


@dataclass(frozen=True)
class Floor:
    """What the ground is made of: strips from `edges` on (x, sorted), and a crossing street."""

    edges: Sequence[float]
    classes: Sequence[int]
    kerbs: tuple[float, float]
    dash: float
    crossing: tuple[float, float] | None
    rails: Sequence[float]

    def classes_at(self, x: NDArray[np.float32], z: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the class of ground points."""
        kind = np.array(self.classes, np.uint8)[np.searchsorted(self.edges[1:], x)]
        left, right = self.kerbs
        middle = (left + right) / 2
        lines = (abs(x - middle) < 0.14) & (np.mod(z, 2 * self.dash) < self.dash)
        lines |= (abs(x - left - 0.35) < 0.12) | (abs(x - right + 0.35) < 0.12)
        kind[lines & (x > left) & (x < right)] = ROAD_LINE
        for rail in self.rails:
            kind[(abs(x - rail) < 0.2) & (kind == GROUND_RAIL)] = RAIL_TRACK
        if self.crossing is not None:
            near, far = self.crossing
            kind[(z > near) & (z < far)] = ROAD
            zebra = (z > near - 3.0) & (z < near - 0.5) & (np.mod(x, 1.1) < 0.55)
            kind[zebra & (x > left) & (x < right)] = ROAD_LINE
        return kind
