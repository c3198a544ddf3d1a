"""What an import says of pixels that hold no value."""

from typing import Any

from datamodules.ingest.plan import ImportPlan
from datamodules.store.scene_store import Scene


def describe_voids(
    plan: ImportPlan, scenes: list[Scene], statistics: dict[str, dict[str, Any]]
) -> list[str]:
    """Say of each modality which share of its pixels holds no value, and where most of them are."""
    lines = []
    for modality in plan.modalities:
        pixels = voids = 0
        holed: dict[str, float] = {}
        for scene in scenes:
            if (found := statistics[scene.id].get(modality.name)) is None:
                continue
            area = scene.height * scene.width
            pixels, voids = pixels + area, voids + area - found["count"]
            if found["count"] < area:
                holed[scene.id] = 1 - found["count"] / area
        if voids:
            worst = max(holed, key=lambda scene: holed[scene])
            text = f"{modality.name}: {100 * voids / pixels:.2f} % of the pixels are void, in"
            text += f" {len(holed)} scene(s), most in {worst} ({100 * holed[worst]:.2f} %)"
            lines.append(f"{text}: they are filled by the scene's 5th percentile")
    return lines
