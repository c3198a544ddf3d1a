"""The kinds of damage by the names that scenarios give them."""

from datamodules.damage.coverage import Holes
from datamodules.damage.published import Blank, NoisyValues, RandomValues
from datamodules.damage.site import Damage

DAMAGES: dict[str, type[Damage]] = {
    "blank": Blank,
    "holes": Holes,
    "noisy_values": NoisyValues,
    "random_values": RandomValues,
}
