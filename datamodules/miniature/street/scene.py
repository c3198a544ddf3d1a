"""Lays out a street and puts houses, trees, signs, vehicles and people into it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datamodules.miniature.street import street as s
from datamodules.miniature.street.street import Colour, Floor, Lamp, Street

FACADES: tuple[Colour, ...] = (
    (0.46, 0.43, 0.40), (0.52, 0.47, 0.40), (0.42, 0.30, 0.26), (0.36, 0.37, 0.39), (0.58, 0.56, 0.53),
)  # fmt: skip
LACQUERS: tuple[Colour, ...] = (
    (0.62, 0.62, 0.63), (0.10, 0.10, 0.11), (0.45, 0.08, 0.08), (0.10, 0.18, 0.42), (0.36, 0.37, 0.38),
    (0.55, 0.50, 0.40),
)  # fmt: skip
CLOTHES: tuple[Colour, ...] = (
    (0.15, 0.17, 0.28),
    (0.45, 0.15, 0.15),
    (0.30, 0.30, 0.30),
    (0.50, 0.46, 0.38),
)
WARM: Colour = (1.0, 0.80, 0.50)


def paint_street(size: int, rng: np.random.Generator) -> Street:
    """Paint one frame of `size` x `size` pixels; what is in it depends on the generator, not on the size."""
    view = Street(
        size,
        float(rng.uniform(-0.10, 0.10)),
        float(rng.uniform(-0.04, 0.03)),
        (0.0, float(rng.uniform(1.6, 2.1))),
    )
    scene = _Scene(view, rng)
    scene.lay_ground()
    scene.add_buildings()
    scene.add_barriers()
    scene.add_trees()
    scene.add_furniture()
    scene.add_vehicles()
    scene.add_people()
    return view


class _Scene:
    """One street being built: `left` and `right` are the kerbs, `walks` the outer edges of the pavements."""

    def __init__(self, view: Street, rng: np.random.Generator) -> None:
        self.view, self.rng = view, rng
        self.noise = (
            np.random.default_rng(int(rng.integers(2**31)))
            .random((view.size, view.size))
            .astype(np.float32)
        )

    def chance_of(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def draw(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def draw_tint(self, colours: Sequence[Colour], spread: float = 0.12) -> Colour:
        base = np.array(colours[int(self.rng.integers(len(colours)))])
        r, g, b = np.clip(
            base * np.exp(self.rng.normal(0, spread)) + self.rng.normal(0, 0.015, 3), 0.02, 0.95
        )
        return float(r), float(g), float(b)

    def add_block(
        self, x: float, y: float, z: float, width: float, height: float, length: float, kind: int, colour: Colour,
        pattern: str = "", moving: tuple[float, float] = (0.0, 0.0),
    ) -> None:  # fmt: skip
        """Put a box on the height `y`, with its middle at x and its near end at z."""
        edges = (x - width / 2, x + width / 2, y, y + height, z, z + length)
        self.view.draw_box(edges, kind, colour, pattern, moving)

    def lay_ground(self) -> None:
        """Decide what the ground is made of on either side of the street."""
        lane = self.draw(3.0, 3.8)
        self.left = -lane * (1 if self.chance_of(0.5) else 2) - self.draw(-0.5, 1.2)
        self.right = lane * (1 if self.chance_of(0.6) else 2) - self.draw(0.8, 1.4)
        self.walks = (self.left - self.draw(2.0, 4.0), self.right + self.draw(2.0, 4.0))
        self.far = (self.walks[0] - self.draw(2.0, 11.0), self.walks[1] + self.draw(2.0, 11.0))
        beside, behind, rails = [], [], []
        for i in range(2):
            what = self.rng.choice(
                [s.TERRAIN, s.GROUND, s.SIDEWALK, s.WATER, s.GROUND_RAIL],
                p=[0.36, 0.24, 0.16, 0.12, 0.12],
            )
            beside.append(int(what))
            behind.append(s.TERRAIN if self.chance_of(0.7) else s.GROUND)
            if what == s.GROUND_RAIL:
                middle = self.walks[i] + (-1.7 if i == 0 else 1.7)
                self.far = (
                    (min(self.far[0], middle - 2), self.far[1])
                    if i == 0
                    else (self.far[0], max(self.far[1], middle + 2))
                )
                rails += [middle - 0.75, middle + 0.75]
        self.beside = beside
        near = self.draw(14, 40)
        self.crossing = (near, near + self.draw(6, 10)) if self.chance_of(0.35) else None
        strips = (
            (-1e9, behind[0]), (self.far[0], beside[0]), (self.walks[0], s.SIDEWALK), (self.left, s.ROAD),
            (self.right, s.SIDEWALK), (self.walks[1], beside[1]), (self.far[1], behind[1]),
        )  # fmt: skip
        self.view.draw_ground(
            Floor(strips, (self.left, self.right), self.draw(2, 4), self.crossing, tuple(rails))
        )

    def draw_side(self) -> tuple[int, float]:
        """Choose a side of the street: its number and the direction away from the middle."""
        i = int(self.rng.integers(2))
        return i, (-1.0, 1.0)[i]

    def is_free(self, z: float, length: float = 0.0) -> bool:
        """Tell whether something of that length does not stand in the crossing street."""
        return self.crossing is None or z + length < self.crossing[0] or z > self.crossing[1]

    def add_buildings(self) -> None:
        """Line the street with houses, leave gaps, and close the view in the distance."""
        for i, sign in ((0, -1.0), (1, 1.0)):
            z, density = self.draw(-6, 12), self.draw(0.35, 0.95)
            while z < 110:
                length, height, depth = self.draw(7, 20), self.draw(4, 16), self.draw(6, 14)
                if self.chance_of(density) and self.is_free(z, length):
                    x = self.far[i] + sign * (depth / 2 + self.draw(0, 2))
                    self.add_block(
                        x,
                        0,
                        z,
                        depth,
                        height,
                        length,
                        s.BUILDING,
                        self.draw_tint(FACADES),
                        "windows",
                    )
                z += length + self.draw(0.5, 8)
        for across in np.arange(-150, 150, 22):
            if self.chance_of(0.75):
                kind, colours = (
                    (s.BUILDING, FACADES)
                    if self.chance_of(0.4)
                    else (s.VEGETATION, ((0.2, 0.28, 0.13),))
                )
                pattern = "windows" if kind == s.BUILDING else ""
                self.add_block(
                    float(across),
                    0,
                    self.draw(115, 150),
                    self.draw(14, 24),
                    self.draw(4, 13),
                    10,
                    kind,
                    self.draw_tint(colours),
                    pattern,
                )
        if self.chance_of(0.2):
            z, y = self.draw(16, 45), self.draw(4.2, 5.6)
            colour = self.draw_tint(FACADES)
            self.add_block(0, y, z, 120, self.draw(1.2, 2.0), 6, s.BRIDGE, colour)
            for x in (self.walks[0] - 0.8, self.walks[1] + 0.8):
                self.add_block(x, 0, z + 1, 1.4, y, 3, s.BRIDGE, colour)

    def add_barriers(self) -> None:
        """Walls and fences along the outer edge of the pavements."""
        for i, sign in ((0, -1.0), (1, 1.0)):
            z = self.draw(2, 14)
            while z < 60:
                length, what = self.draw(6, 18), self.rng.random()
                x = self.walks[i] + sign * 0.3
                if self.is_free(z, length) and what < 0.25:
                    self.add_block(
                        x, 0, z, 0.3, self.draw(1.2, 2.4), length, s.WALL, self.draw_tint(FACADES)
                    )
                elif self.is_free(z, length) and what < 0.6:
                    colour = self.draw_tint(
                        ((0.33, 0.27, 0.22), (0.25, 0.27, 0.28), (0.5, 0.5, 0.48))
                    )
                    self.add_block(
                        x, 0, z, 0.15, self.draw(0.9, 1.8), length, s.FENCE, colour, "bars"
                    )
                z += length + self.draw(3, 14)

    def add_trees(self) -> None:
        """Trees at the kerb and on the open ground, and hedges."""
        for i, sign in ((0, -1.0), (1, 1.0)):
            density = self.draw(0.1, 0.8)
            for z in np.arange(self.draw(5, 10), 80, self.draw(6, 10)):
                if self.chance_of(density) and self.is_free(float(z), 1):
                    self.add_tree(self.walks[i] + sign * self.draw(-1.0, 5.0), float(z))
            if self.beside[i] == s.TERRAIN and self.chance_of(0.5):
                green = self.draw_tint(((0.21, 0.30, 0.13),))
                x = self.walks[i] + sign * self.draw(1.0, 2.5)
                self.add_block(
                    x,
                    0,
                    self.draw(4, 20),
                    1.0,
                    self.draw(0.6, 1.5),
                    self.draw(5, 15),
                    s.VEGETATION,
                    green,
                )

    def add_tree(self, x: float, z: float) -> None:
        """A trunk and a crown, both vegetation."""
        height, slim = self.draw(4, 9), self.chance_of(0.3)
        self.add_block(
            x, 0, z, 0.35, 0.5 * height, 0.35, s.VEGETATION, self.draw_tint(((0.26, 0.21, 0.16),))
        )
        radius = (0.8, 0.42 * height, 0.8) if slim else (self.draw(1.4, 2.6), 0.32 * height, 1.8)
        green = self.draw_tint(((0.21, 0.30, 0.12), (0.27, 0.33, 0.15)))
        self.view.draw_ball((x, 0.66 * height, z), radius, s.VEGETATION, green, self.noise)

    def add_furniture(self) -> None:
        """Lamp posts, signs, lights, benches, bins and what else stands about."""
        i, sign = self.draw_side()
        kerb = (self.left, self.right)
        for z in np.arange(self.draw(6, 14), 90, self.draw(16, 24)):
            x, height = kerb[i] + sign * 0.5, self.draw(5, 7.5)
            self.add_block(x, 0, float(z), 0.22, height, 0.22, s.POLE, (0.33, 0.34, 0.35))
            self.add_block(
                x - sign * 0.9, height, float(z), 2.0, 0.16, 0.2, s.POLE, (0.33, 0.34, 0.35)
            )
            self.add_lamp(x - sign * 1.8, height - 0.1, float(z), WARM)
        for _ in range(int(self.rng.integers(1, 5))):
            i, sign = self.draw_side()
            self.add_sign(kerb[i] + sign * self.draw(0.3, 0.8), self.draw(6, 30))
        lights = [(0, -1.0), (1, 1.0)] if self.crossing or self.chance_of(0.3) else []
        place = self.crossing[0] - self.draw(1, 2) if self.crossing else self.draw(9, 22)
        for i, sign in lights:
            self.add_traffic_light(kerb[i] + sign * 0.5, place)
        dull = ((0.30, 0.26, 0.20), (0.22, 0.26, 0.24), (0.45, 0.45, 0.44))
        bright = ((0.55, 0.42, 0.18), (0.35, 0.22, 0.15), (0.25, 0.35, 0.50))
        for kind, colours, sizes, most in (
            (s.STATIC, dull, (1.6, 0.7, 0.6), 4), (s.DYNAMIC, bright, (0.8, 0.8, 0.8), 3),
            (s.OTHER, FACADES, (1.3, 2.2, 1.3), 2)
        ):  # fmt: skip
            for _ in range(int(self.rng.integers(0, most + 1))):
                i, sign = self.draw_side()
                x = kerb[i] + sign * self.draw(1.2, max(1.3, abs(self.walks[i] - kerb[i])))
                width, height, length = (value * self.draw(0.8, 1.3) for value in sizes)
                self.add_block(
                    x, 0, self.draw(5, 24), width, height, length, kind, self.draw_tint(colours)
                )

    def add_lamp(self, x: float, y: float, z: float, colour: Colour) -> None:
        """Remember a light for the night."""
        column, row, depth = self.view.project_point(x, y, z)
        if depth > 1:
            self.view.lamps.append(Lamp(column, row, depth, colour))

    def add_sign(self, x: float, z: float) -> None:
        """A plate on a post."""
        height = self.draw(2.0, 2.7)
        self.add_block(x, 0, z, 0.12, height, 0.12, s.POLE, (0.45, 0.45, 0.45))
        colour = self.draw_tint(
            ((0.70, 0.68, 0.62), (0.62, 0.10, 0.10), (0.12, 0.22, 0.55), (0.70, 0.55, 0.12))
        )
        self.add_block(
            x, height - 0.1, z - 0.08, 0.9, self.draw(0.7, 1.0), 0.08, s.TRAFFIC_SIGN, colour
        )

    def add_traffic_light(self, x: float, z: float) -> None:
        """A dark box on a post, with one light on."""
        self.add_block(x, 0, z, 0.18, 3.0, 0.18, s.POLE, (0.3, 0.3, 0.3))
        self.add_block(
            x,
            2.9,
            z - 0.2,
            0.55,
            1.4,
            0.4,
            s.TRAFFIC_LIGHT,
            self.draw_tint(((0.12, 0.12, 0.10), (0.42, 0.36, 0.10))),
        )
        stop = self.chance_of(0.5)
        lit: Colour = (1.0, 0.15, 0.1) if stop else (0.1, 1.0, 0.4)
        y = 4.0 if stop else 3.1
        self.add_block(x, y - 0.15, z - 0.25, 0.3, 0.3, 0.05, s.TRAFFIC_LIGHT, lit)
        self.add_lamp(x, y, z, lit)

    def add_vehicles(self) -> None:
        """Parked and moving cars, buses, lorries, bicycles."""
        paint = {
            s.CARS: self.add_car,
            s.BUS: self.add_bus,
            s.TRUCK: self.add_truck,
            s.TWO_WHEELER: self.add_bicycle,
        }
        kinds, shares = [s.CARS, s.BUS, s.TRUCK, s.TWO_WHEELER], [0.56, 0.13, 0.15, 0.16]
        for x, moves, density in (
            (self.left + 1.2, -0.25, 0.35), (self.right - 1.2, 0.0, 0.5),
            ((self.left + self.right) / 2 - 1.7, -0.35, 0.3),
        ):  # fmt: skip
            z = self.draw(6, 15)
            while z < 75:
                kind = int(self.rng.choice(kinds, p=shares))
                if self.chance_of(density) and self.is_free(z, 8):
                    paint[kind](x + self.draw(-0.2, 0.2), z, (0.0, moves))
                z += self.draw(8, 18)
        if self.chance_of(0.45):  # ahead of us in our own lane
            kind = int(self.rng.choice(kinds, p=shares))
            paint[kind](self.draw(-0.3, 0.5), self.draw(8, 24), (0.0, 0.05))

    def add_wheels(
        self,
        x: float,
        z: float,
        width: float,
        length: float,
        moving: tuple[float, float],
        kind: int,
    ) -> None:
        """Dark tyres that carry a vehicle."""
        for near in (z + 0.15 * length, z + 0.75 * length):
            self.add_block(x, 0, near, width, 0.6, 0.7, kind, (0.06, 0.06, 0.06), moving=moving)

    def add_car(self, x: float, z: float, moving: tuple[float, float]) -> None:
        """A body and a lower, darker cabin."""
        length, width, colour = self.draw(3.8, 4.8), self.draw(1.75, 1.95), self.draw_tint(LACQUERS)
        self.add_wheels(x, z, width, length, moving, s.CARS)
        self.add_block(x, 0.3, z, width, 0.6, length, s.CARS, colour, moving=moving)
        self.add_block(
            x,
            0.9,
            z + 0.18 * length,
            0.88 * width,
            0.55,
            0.55 * length,
            s.CARS,
            (0.12, 0.14, 0.16),
            moving=moving,
        )
        self.add_block(
            x,
            1.4,
            z + 0.22 * length,
            0.84 * width,
            0.08,
            0.45 * length,
            s.CARS,
            colour,
            moving=moving,
        )
        for side in (-0.35, 0.35):
            self.add_lamp(
                x + side * width, 0.7, z, (0.9, 0.2, 0.15) if moving[1] >= 0 else (1.0, 1.0, 0.9)
            )

    def add_bus(self, x: float, z: float, moving: tuple[float, float]) -> None:
        """A long box with windows."""
        colour = self.draw_tint((*LACQUERS, (0.62, 0.45, 0.10)))
        self.add_wheels(x, z, 2.4, 10, moving, s.BUS)
        self.add_block(x, 0.35, z, 2.5, 1.0, 10, s.BUS, colour, moving=moving)
        self.add_block(x, 1.35, z, 2.45, 1.1, 10, s.BUS, (0.13, 0.15, 0.18), moving=moving)
        self.add_block(x, 2.45, z, 2.5, 0.6, 10, s.BUS, colour, moving=moving)

    def add_truck(self, x: float, z: float, moving: tuple[float, float]) -> None:
        """A load on wheels, and a cab."""
        self.add_wheels(x, z, 2.3, 7, moving, s.TRUCK)
        cargo = self.draw_tint(((0.60, 0.60, 0.58), (0.30, 0.34, 0.36), *LACQUERS))
        self.add_block(x, 0.8, z, 2.4, self.draw(1.7, 2.6), 5, s.TRUCK, cargo, moving=moving)
        self.add_block(
            x, 0.5, z + 5.1, 2.3, 2.0, 1.9, s.TRUCK, self.draw_tint(LACQUERS), moving=moving
        )

    def add_bicycle(self, x: float, z: float, moving: tuple[float, float]) -> None:
        """A two-wheeler; without its rider, who would be a pedestrian."""
        colour = self.draw_tint(LACQUERS)
        self.add_block(x, 0.0, z, 0.14, 0.7, 0.65, s.TWO_WHEELER, (0.07, 0.07, 0.07), moving=moving)
        self.add_block(
            x, 0.0, z + 1.2, 0.14, 0.7, 0.65, s.TWO_WHEELER, (0.07, 0.07, 0.07), moving=moving
        )
        self.add_block(x, 0.45, z + 0.3, 0.3, 0.6, 1.3, s.TWO_WHEELER, colour, moving=moving)
        self.add_block(x, 1.0, z + 1.2, 0.7, 0.15, 0.15, s.TWO_WHEELER, colour, moving=moving)

    def add_people(self) -> None:
        """Pedestrians on the pavements, some crossing."""
        for _ in range(int(self.rng.integers(1, 8))):
            i, sign = self.draw_side()
            x = (self.left, self.right)[i] + sign * self.draw(0.4, 2.5)
            moving = (self.draw(-0.04, 0.04), self.draw(-0.08, 0.08))
            if self.chance_of(0.2):
                x, moving = self.draw(self.left, self.right), (0.1 * sign, 0.0)
            z, height = self.draw(4, 26), self.draw(1.5, 1.9)
            legs, coat = self.draw_tint(CLOTHES), self.draw_tint(CLOTHES)
            self.add_block(x, 0, z, 0.32, 0.48 * height, 0.25, s.PEDESTRIAN, legs, moving=moving)
            self.add_block(
                x, 0.46 * height, z, 0.50, 0.38 * height, 0.3, s.PEDESTRIAN, coat, moving=moving
            )
            self.view.draw_ball(
                (x, 0.92 * height, z + 0.12),
                (0.13, 0.15, 0.13),
                s.PEDESTRIAN,
                (0.52, 0.38, 0.30),
                moving=moving,
            )
