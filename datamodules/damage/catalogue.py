"""The kinds of damage by the names that scenarios give them."""

from datamodules.damage.atmosphere import Clouds, Haze
from datamodules.damage.camera import ColourCast, Jpeg, SensorNoise, Tone
from datamodules.damage.coverage import Holes, Ragged
from datamodules.damage.heights import Offset, Ripples, Scale, Tilt
from datamodules.damage.optics import Defocus, MotionBlur
from datamodules.damage.published import Blank, NoisyValues, RandomValues
from datamodules.damage.radar import Calibration, Speckle
from datamodules.damage.readout import Coarse, DeadLines, Shift
from datamodules.damage.site import Damage

DAMAGES: dict[str, type[Damage]] = {
    "blank": Blank,
    "calibration": Calibration,
    "clouds": Clouds,
    "coarse": Coarse,
    "colour_cast": ColourCast,
    "dead_lines": DeadLines,
    "defocus": Defocus,
    "haze": Haze,
    "height_offset": Offset,
    "height_ripples": Ripples,
    "height_scale": Scale,
    "height_tilt": Tilt,
    "holes": Holes,
    "jpeg": Jpeg,
    "motion_blur": MotionBlur,
    "noisy_values": NoisyValues,
    "ragged_holes": Ragged,
    "random_values": RandomValues,
    "sensor_noise": SensorNoise,
    "shift": Shift,
    "speckle": Speckle,
    "tone": Tone,
}
