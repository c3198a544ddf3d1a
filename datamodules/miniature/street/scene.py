"""Lays out a street and puts houses, trees, signs, vehicles and people into it.

The order of random draws is part of the picture: published scenes depend on it.
"""

import numpy as np

from datamodules.miniature.street import street as kinds
from datamodules.miniature.street.builder import StreetBuilder
from datamodules.miniature.street.street import Colour, Floor, Street
from datamodules.miniature.street.vehicles import add_pedestrian, add_vehicle

FACADES: tuple[Colour, ...] = (
    (0.46, 0.43, 0.40), (0.52, 0.47, 0.40), (0.42, 0.30, 0.26), (0.36, 0.37, 0.39),
    (0.58, 0.56, 0.53),
)  # fmt: skip
FENCES: tuple[Colour, ...] = ((0.33, 0.27, 0.22), (0.25, 0.27, 0.28), (0.5, 0.5, 0.48))
SIGNS: tuple[Colour, ...] = (
    (0.70, 0.68, 0.62), (0.62, 0.10, 0.10), (0.12, 0.22, 0.55), (0.70, 0.55, 0.12),
)  # fmt: skip
DULL: tuple[Colour, ...] = ((0.30, 0.26, 0.20), (0.22, 0.26, 0.24), (0.45, 0.45, 0.44))
BRIGHT: tuple[Colour, ...] = ((0.55, 0.42, 0.18), (0.35, 0.22, 0.15), (0.25, 0.35, 0.50))
WARM: Colour = (1.0, 0.80, 0.50)
POST: Colour = (0.33, 0.34, 0.35)
LEFT, RIGHT = 0, 1
OUTWARDS = (-1.0, 1.0)  # direction away from the middle, per side


def paint_street(size: int, rng: np.random.Generator) -> Street:
    """Paint one frame of `size` x `size` pixels; what is in it does not depend on the size.

    Example:
        >>> street = paint_street(32, np.random.default_rng(0))
        >>> street.depth.shape, bool(street.sky.any())
        ((32, 32), True)
    """
    turn, pitch = float(rng.uniform(-0.10, 0.10)), float(rng.uniform(-0.04, 0.03))
    view = Street(size, turn, pitch, (0.0, float(rng.uniform(1.6, 2.1))))
    scene = _Scene(view, rng)
    scene.lay_ground()
    scene.add_buildings()
    scene.add_barriers()
    scene.add_trees()
    scene.add_furniture()
    scene.add_vehicles()
    scene.add_people()
    return view


class _Scene(StreetBuilder):
    """One street; kerbs, outer edges of pavements (`walks`), house fronts (`far`): left, right."""

    def lay_ground(self) -> None:
        """Decide what the ground is made of on either side of the street."""
        lane = self.draw(3.0, 3.8)
        left = -lane * (1 if self.chance_of(0.5) else 2) - self.draw(-0.5, 1.2)
        right = lane * (1 if self.chance_of(0.6) else 2) - self.draw(0.8, 1.4)
        self.kerbs = left, right
        self.walks = left - self.draw(2.0, 4.0), right + self.draw(2.0, 4.0)
        far = [self.walks[LEFT] - self.draw(2.0, 11.0), self.walks[RIGHT] + self.draw(2.0, 11.0)]
        grounds = [kinds.TERRAIN, kinds.GROUND, kinds.SIDEWALK, kinds.WATER, kinds.GROUND_RAIL]
        beside, behind, rails = [], [], []
        for side, out in enumerate(OUTWARDS):
            what = int(self.rng.choice(grounds, p=[0.36, 0.24, 0.16, 0.12, 0.12]))
            beside.append(what)
            behind.append(kinds.TERRAIN if self.chance_of(0.7) else kinds.GROUND)
            if what == kinds.GROUND_RAIL:
                middle = self.walks[side] + out * 1.7
                # houses stand clear of the track
                far[side] = out * max(out * far[side], out * middle + 2)
                rails += [middle - 0.75, middle + 0.75]
        self.far, self.beside = far, beside
        near = self.draw(14, 40)
        self.crossing = (near, near + self.draw(6, 10)) if self.chance_of(0.35) else None
        edges = -1e9, far[LEFT], self.walks[LEFT], left, right, self.walks[RIGHT], far[RIGHT]
        classes = (
            behind[LEFT], beside[LEFT], kinds.SIDEWALK, kinds.ROAD, kinds.SIDEWALK, beside[RIGHT],
            behind[RIGHT],
        )  # fmt: skip
        dash = self.draw(2, 4)
        self.view.draw_ground(Floor(edges, classes, self.kerbs, dash, self.crossing, rails))

    def draw_side(self) -> tuple[int, float]:
        """Choose a side of the street: its number and the direction away from the middle."""
        side = int(self.rng.integers(2))
        return side, OUTWARDS[side]

    def is_free(self, z: float, length: float = 0.0) -> bool:
        """Tell whether something of that length does not stand in the crossing street."""
        return self.crossing is None or z + length < self.crossing[0] or z > self.crossing[1]

    def add_buildings(self) -> None:
        """Line the street with houses, leave gaps, and close the view in the distance."""
        for side, out in enumerate(OUTWARDS):
            z, density = self.draw(-6, 12), self.draw(0.35, 0.95)
            while z < 110:
                length, height, depth = self.draw(7, 20), self.draw(4, 16), self.draw(6, 14)
                if self.chance_of(density) and self.is_free(z, length):
                    x = self.far[side] + out * (depth / 2 + self.draw(0, 2))
                    self._add_house((x, 0, z), (depth, height, length))
                z += length + self.draw(0.5, 8)
        # a backdrop, so that no street ends in bare horizon
        for across in np.arange(-150, 150, 22):
            if self.chance_of(0.75):
                house = self.chance_of(0.4)
                place = float(across), 0, self.draw(115, 150)
                size = self.draw(14, 24), self.draw(4, 13), 10
                if house:
                    self._add_house(place, size)
                else:
                    self._add_green(place, size, (0.2, 0.28, 0.13))
        # a bridge across the street, on two piers
        if self.chance_of(0.2):
            z, y = self.draw(16, 45), self.draw(4.2, 5.6)
            colour = self.draw_tint(FACADES)
            self.add_block((0, y, z), (120, self.draw(1.2, 2.0), 6), kinds.BRIDGE, colour)
            for x in (self.walks[LEFT] - 0.8, self.walks[RIGHT] + 0.8):
                self.add_block((x, 0, z + 1), (1.4, y, 3), kinds.BRIDGE, colour)

    def _add_house(self, place: kinds.Point, size: kinds.Point) -> None:
        self.add_block(place, size, kinds.BUILDING, self.draw_tint(FACADES), "windows")

    def _add_green(self, place: kinds.Point, size: kinds.Point, colour: Colour) -> None:
        self.add_block(place, size, kinds.VEGETATION, self.draw_tint((colour,)))

    def add_barriers(self) -> None:
        """Walls and fences along the outer edge of the pavements."""
        for side, out in enumerate(OUTWARDS):
            z = self.draw(2, 14)
            while z < 60:
                length, what = self.draw(6, 18), self.rng.random()
                place = self.walks[side] + out * 0.3, 0, z
                if self.is_free(z, length) and what < 0.25:
                    size = 0.3, self.draw(1.2, 2.4), length
                    self.add_block(place, size, kinds.WALL, self.draw_tint(FACADES))
                elif self.is_free(z, length) and what < 0.6:
                    colour = self.draw_tint(FENCES)
                    size = 0.15, self.draw(0.9, 1.8), length
                    self.add_block(place, size, kinds.FENCE, colour, "bars")
                z += length + self.draw(3, 14)

    def add_trees(self) -> None:
        """Trees at the kerb and on the open ground, and hedges."""
        for side, out in enumerate(OUTWARDS):
            density = self.draw(0.1, 0.8)
            for z in np.arange(self.draw(5, 10), 80, self.draw(6, 10)):
                if self.chance_of(density) and self.is_free(float(z), 1):
                    self._add_tree(self.walks[side] + out * self.draw(-1.0, 5.0), float(z))
            if self.beside[side] == kinds.TERRAIN and self.chance_of(0.5):
                green = self.draw_tint(((0.21, 0.30, 0.13),))
                x = self.walks[side] + out * self.draw(1.0, 2.5)
                place = x, 0, self.draw(4, 20)
                size = 1.0, self.draw(0.6, 1.5), self.draw(5, 15)
                self.add_block(place, size, kinds.VEGETATION, green)

    def _add_tree(self, x: float, z: float) -> None:
        """A trunk and a crown, both vegetation."""
        height, slim = self.draw(4, 9), self.chance_of(0.3)
        self._add_green((x, 0, z), (0.35, 0.5 * height, 0.35), (0.26, 0.21, 0.16))
        radii = (0.8, 0.42 * height, 0.8)
        if not slim:
            radii = (self.draw(1.4, 2.6), 0.32 * height, 1.8)
        green = self.draw_tint(((0.21, 0.30, 0.12), (0.27, 0.33, 0.15)))
        self.view.draw_ball((x, 0.66 * height, z), radii, kinds.VEGETATION, green, self.noise)

    def add_furniture(self) -> None:
        """Lamp posts, signs, lights, benches, bins and what else stands about."""
        side, out = self.draw_side()
        for z in np.arange(self.draw(6, 14), 90, self.draw(16, 24)).tolist():
            self._add_street_lamp(self.kerbs[side] + out * 0.5, self.draw(5, 7.5), z, out)
        for _ in range(int(self.rng.integers(1, 5))):
            side, out = self.draw_side()
            self._add_sign(self.kerbs[side] + out * self.draw(0.3, 0.8), self.draw(6, 30))
        # lights stand before a crossing, sometimes elsewhere
        lit = self.crossing is not None or self.chance_of(0.3)
        z = self.crossing[0] - self.draw(1, 2) if self.crossing else self.draw(9, 22)
        for side, out in enumerate(OUTWARDS) if lit else ():
            self._add_traffic_light(self.kerbs[side] + out * 0.5, z)
        for kind, colours, sizes, most in (
            (kinds.STATIC, DULL, (1.6, 0.7, 0.6), 4),
            (kinds.DYNAMIC, BRIGHT, (0.8, 0.8, 0.8), 3),
            (kinds.OTHER, FACADES, (1.3, 2.2, 1.3), 2),
        ):
            for _ in range(int(self.rng.integers(0, most + 1))):
                side, out = self.draw_side()
                kerb = self.kerbs[side]
                x = kerb + out * self.draw(1.2, max(1.3, abs(self.walks[side] - kerb)))
                w, h, length = (value * self.draw(0.8, 1.3) for value in sizes)
                place = x, 0, self.draw(5, 24)
                self.add_block(place, (w, h, length), kind, self.draw_tint(colours))

    def _add_street_lamp(self, x: float, height: float, z: float, out: float) -> None:
        self.add_block((x, 0, z), (0.22, height, 0.22), kinds.POLE, POST)
        self.add_block((x - out * 0.9, height, z), (2.0, 0.16, 0.2), kinds.POLE, POST)
        self.add_lamp(x - out * 1.8, height - 0.1, z, WARM)

    def _add_sign(self, x: float, z: float) -> None:
        """A plate on a post."""
        height = self.draw(2.0, 2.7)
        self.add_block((x, 0, z), (0.12, height, 0.12), kinds.POLE, (0.45, 0.45, 0.45))
        colour = self.draw_tint(SIGNS)
        plate = 0.9, self.draw(0.7, 1.0), 0.08
        self.add_block((x, height - 0.1, z - 0.08), plate, kinds.TRAFFIC_SIGN, colour)

    def _add_traffic_light(self, x: float, z: float) -> None:
        """A dark box on a post, with one light on."""
        kind = kinds.TRAFFIC_LIGHT
        self.add_block((x, 0, z), (0.18, 3.0, 0.18), kinds.POLE, (0.3, 0.3, 0.3))
        colour = self.draw_tint(((0.12, 0.12, 0.10), (0.42, 0.36, 0.10)))
        self.add_block((x, 2.9, z - 0.2), (0.55, 1.4, 0.4), kind, colour)
        stop = self.chance_of(0.5)
        light: Colour = (1.0, 0.15, 0.1) if stop else (0.1, 1.0, 0.4)
        y = 4.0 if stop else 3.1
        self.add_block((x, y - 0.15, z - 0.25), (0.3, 0.3, 0.05), kind, light)
        self.add_lamp(x, y, z, light)

    def add_vehicles(self) -> None:
        """Parked and moving cars, buses, lorries, bicycles."""
        left, right = self.kerbs
        oncoming = (left + right) / 2 - 1.7
        lanes = (left + 1.2, -0.25, 0.35), (right - 1.2, 0.0, 0.5), (oncoming, -0.35, 0.3)
        for x, speed, density in lanes:
            z = self.draw(6, 15)
            while z < 75:
                kind = self._draw_vehicle()
                if self.chance_of(density) and self.is_free(z, 8):
                    add_vehicle(self, kind, x + self.draw(-0.2, 0.2), z, (0.0, speed))
                z += self.draw(8, 18)
        if self.chance_of(0.45):  # ahead of us in our own lane
            kind = self._draw_vehicle()
            add_vehicle(self, kind, self.draw(-0.3, 0.5), self.draw(8, 24), (0.0, 0.05))

    def _draw_vehicle(self) -> int:
        choices = [kinds.CARS, kinds.BUS, kinds.TRUCK, kinds.TWO_WHEELER]
        return int(self.rng.choice(choices, p=[0.56, 0.13, 0.15, 0.16]))

    def add_people(self) -> None:
        """Pedestrians on the pavements, some crossing."""
        for _ in range(int(self.rng.integers(1, 8))):
            side, out = self.draw_side()
            x = self.kerbs[side] + out * self.draw(0.4, 2.5)
            moving = (self.draw(-0.04, 0.04), self.draw(-0.08, 0.08))
            if self.chance_of(0.2):
                x, moving = self.draw(*self.kerbs), (0.1 * out, 0.0)
            add_pedestrian(self, x, moving)
