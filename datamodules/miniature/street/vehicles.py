"""What moves in a street: cars, buses, lorries, bicycles, people."""

from datamodules.miniature.street import street as kinds
from datamodules.miniature.street.builder import LACQUERS, StreetBuilder
from datamodules.miniature.street.street import Colour, Motion, Point

Part = tuple[Point, Point, Colour]  # place, size, colour

CLOTHES: tuple[Colour, ...] = (
    (0.15, 0.17, 0.28), (0.45, 0.15, 0.15), (0.30, 0.30, 0.30), (0.50, 0.46, 0.38),
)  # fmt: skip
SKIN: Colour = (0.52, 0.38, 0.30)
TYRE: Colour = (0.06, 0.06, 0.06)
GLASS: Colour = (0.12, 0.14, 0.16)
RED_LIGHT: Colour = (0.9, 0.2, 0.15)
HEADLIGHT: Colour = (1.0, 1.0, 0.9)


def add_vehicle(street: StreetBuilder, kind: int, x: float, z: float, moving: Motion) -> None:
    """Put a vehicle with its near end at z."""
    paint = {kinds.CARS: _add_car, kinds.BUS: _add_bus, kinds.TRUCK: _add_truck}
    paint.get(kind, _add_bicycle)(street, x, z, moving)


def _add_parts(street: StreetBuilder, kind: int, moving: Motion, *parts: Part) -> None:
    for place, size, colour in parts:
        street.add_block(place, size, kind, colour, moving=moving)


def _wheels(x: float, z: float, width: float, length: float) -> tuple[Part, Part]:
    size = width, 0.6, 0.7
    return ((x, 0, z + 0.15 * length), size, TYRE), ((x, 0, z + 0.75 * length), size, TYRE)


def _add_car(street: StreetBuilder, x: float, z: float, moving: Motion) -> None:
    """A body and a lower, darker cabin."""
    length, width = street.draw(3.8, 4.8), street.draw(1.75, 1.95)
    colour = street.draw_tint(LACQUERS)
    body = (x, 0.3, z), (width, 0.6, length), colour
    glass = (x, 0.9, z + 0.18 * length), (0.88 * width, 0.55, 0.55 * length), GLASS
    roof = (x, 1.4, z + 0.22 * length), (0.84 * width, 0.08, 0.45 * length), colour
    wheels = _wheels(x, z, width, length)
    _add_parts(street, kinds.CARS, moving, *wheels, body, glass, roof)
    # who comes towards us shows headlights
    light = RED_LIGHT if moving[1] >= 0 else HEADLIGHT
    for side in (-0.35, 0.35):
        street.add_lamp(x + side * width, 0.7, z, light)


def _add_bus(street: StreetBuilder, x: float, z: float, moving: Motion) -> None:
    """A long box with windows."""
    colour = street.draw_tint((*LACQUERS, (0.62, 0.45, 0.10)))
    body = (x, 0.35, z), (2.5, 1.0, 10), colour
    glass = (x, 1.35, z), (2.45, 1.1, 10), (0.13, 0.15, 0.18)
    roof = (x, 2.45, z), (2.5, 0.6, 10), colour
    _add_parts(street, kinds.BUS, moving, *_wheels(x, z, 2.4, 10), body, glass, roof)


def _add_truck(street: StreetBuilder, x: float, z: float, moving: Motion) -> None:
    """A load on wheels, and a cab."""
    cargo = street.draw_tint(((0.60, 0.60, 0.58), (0.30, 0.34, 0.36), *LACQUERS))
    load = (x, 0.8, z), (2.4, street.draw(1.7, 2.6), 5), cargo
    cab = (x, 0.5, z + 5.1), (2.3, 2.0, 1.9), street.draw_tint(LACQUERS)
    _add_parts(street, kinds.TRUCK, moving, *_wheels(x, z, 2.3, 7), load, cab)


def _add_bicycle(street: StreetBuilder, x: float, z: float, moving: Motion) -> None:
    """A two-wheeler; without its rider, who would be a pedestrian."""
    colour, wheel, tyre = street.draw_tint(LACQUERS), (0.14, 0.7, 0.65), (0.07, 0.07, 0.07)
    rear, front = ((x, 0.0, z), wheel, tyre), ((x, 0.0, z + 1.2), wheel, tyre)
    frame = (x, 0.45, z + 0.3), (0.3, 0.6, 1.3), colour
    handlebar = (x, 1.0, z + 1.2), (0.7, 0.15, 0.15), colour
    _add_parts(street, kinds.TWO_WHEELER, moving, rear, front, frame, handlebar)


def add_pedestrian(street: StreetBuilder, x: float, moving: Motion) -> None:
    """Legs, a coat and a head."""
    z, height = street.draw(4, 26), street.draw(1.5, 1.9)
    legs, coat = street.draw_tint(CLOTHES), street.draw_tint(CLOTHES)
    kind, waist = kinds.PEDESTRIAN, 0.46 * height
    lower = (x, 0, z), (0.32, 0.48 * height, 0.25), legs
    upper = (x, waist, z), (0.50, 0.38 * height, 0.3), coat
    _add_parts(street, kind, moving, lower, upper)
    head = (x, 0.92 * height, z + 0.12)
    street.view.draw_ball(head, (0.13, 0.15, 0.13), kind, SKIN, moving=moving)
