"""What moves in a street: cars, buses, lorries, bicycles, people."""

from __future__ import annotations

from datamodules.miniature.street import street as kinds
from datamodules.miniature.street.builder import LACQUERS, StreetBuilder
from datamodules.miniature.street.street import Colour, Motion

CLOTHES: tuple[Colour, ...] = (
    (0.15, 0.17, 0.28),
    (0.45, 0.15, 0.15),
    (0.30, 0.30, 0.30),
    (0.50, 0.46, 0.38),
)
SKIN: Colour = (0.52, 0.38, 0.30)
TYRE: Colour = (0.06, 0.06, 0.06)
RED_LIGHT: Colour = (0.9, 0.2, 0.15)
HEADLIGHT: Colour = (1.0, 1.0, 0.9)


def add_vehicle(street: StreetBuilder, kind: int, x: float, z: float, moving: Motion) -> None:
    """Put a vehicle with its near end at z."""
    paint = {
        kinds.CARS: _add_car,
        kinds.BUS: _add_bus,
        kinds.TRUCK: _add_truck,
        kinds.TWO_WHEELER: _add_bicycle,
    }
    paint[kind](street, x, z, moving)


def _add_wheels(
    street: StreetBuilder,
    x: float,
    z: float,
    width: float,
    length: float,
    kind: int,
    moving: Motion,
) -> None:
    for near in (z + 0.15 * length, z + 0.75 * length):
        street.add_block((x, 0, near), (width, 0.6, 0.7), kind, TYRE, moving=moving)


def _add_car(street: StreetBuilder, x: float, z: float, moving: Motion) -> None:
    """A body and a lower, darker cabin."""
    length, width = street.draw(3.8, 4.8), street.draw(1.75, 1.95)
    colour, glass = street.draw_tint(LACQUERS), (0.12, 0.14, 0.16)
    _add_wheels(street, x, z, width, length, kinds.CARS, moving)
    for y, behind, size, paint in (
        (0.3, 0.0, (width, 0.6, length), colour),
        (0.9, 0.18 * length, (0.88 * width, 0.55, 0.55 * length), glass),
        (1.4, 0.22 * length, (0.84 * width, 0.08, 0.45 * length), colour),
    ):
        street.add_block((x, y, z + behind), size, kinds.CARS, paint, moving=moving)
    # who comes towards us shows headlights
    light = RED_LIGHT if moving[1] >= 0 else HEADLIGHT
    for side in (-0.35, 0.35):
        street.add_lamp(x + side * width, 0.7, z, light)


def _add_bus(street: StreetBuilder, x: float, z: float, moving: Motion) -> None:
    """A long box with windows."""
    colour = street.draw_tint((*LACQUERS, (0.62, 0.45, 0.10)))
    _add_wheels(street, x, z, 2.4, 10, kinds.BUS, moving)
    for y, width, height, paint in (
        (0.35, 2.5, 1.0, colour),
        (1.35, 2.45, 1.1, (0.13, 0.15, 0.18)),
        (2.45, 2.5, 0.6, colour),
    ):
        street.add_block((x, y, z), (width, height, 10), kinds.BUS, paint, moving=moving)


def _add_truck(street: StreetBuilder, x: float, z: float, moving: Motion) -> None:
    """A load on wheels, and a cab."""
    _add_wheels(street, x, z, 2.3, 7, kinds.TRUCK, moving)
    cargo = street.draw_tint(((0.60, 0.60, 0.58), (0.30, 0.34, 0.36), *LACQUERS))
    load = (2.4, street.draw(1.7, 2.6), 5)
    street.add_block((x, 0.8, z), load, kinds.TRUCK, cargo, moving=moving)
    cab = street.draw_tint(LACQUERS)
    street.add_block((x, 0.5, z + 5.1), (2.3, 2.0, 1.9), kinds.TRUCK, cab, moving=moving)


def _add_bicycle(street: StreetBuilder, x: float, z: float, moving: Motion) -> None:
    """A two-wheeler; without its rider, who would be a pedestrian."""
    colour, tyre = street.draw_tint(LACQUERS), (0.07, 0.07, 0.07)
    for y, behind, size, paint in (
        (0.0, 0.0, (0.14, 0.7, 0.65), tyre),
        (0.0, 1.2, (0.14, 0.7, 0.65), tyre),
        (0.45, 0.3, (0.3, 0.6, 1.3), colour),
        (1.0, 1.2, (0.7, 0.15, 0.15), colour),
    ):
        street.add_block((x, y, z + behind), size, kinds.TWO_WHEELER, paint, moving=moving)


def add_pedestrian(street: StreetBuilder, x: float, moving: Motion) -> None:
    """Legs, a coat and a head."""
    z, height = street.draw(4, 26), street.draw(1.5, 1.9)
    legs, coat = street.draw_tint(CLOTHES), street.draw_tint(CLOTHES)
    kind, waist = kinds.PEDESTRIAN, 0.46 * height
    street.add_block((x, 0, z), (0.32, 0.48 * height, 0.25), kind, legs, moving=moving)
    street.add_block((x, waist, z), (0.50, 0.38 * height, 0.3), kind, coat, moving=moving)
    head = (x, 0.92 * height, z + 0.12)
    street.view.draw_ball(head, (0.13, 0.15, 0.13), kind, SKIN, moving=moving)
