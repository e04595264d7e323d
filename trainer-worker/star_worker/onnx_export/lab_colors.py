"""GenEval's ten colours, in its order, as prototypes of the Lab classifier: sRGB 0..255.

GenEval's own classifier is CLIP ViT-L/14; a manifest that has `colors: {backend: clip, ...}` is nearer to it.
"""

from typing import Final

COLORS: Final = {
    "red": [220, 30, 35], "orange": [255, 135, 0], "yellow": [245, 225, 0], "green": [25, 160, 60],
    "blue": [35, 75, 230], "purple": [150, 40, 180], "pink": [255, 150, 190], "brown": [120, 75, 40],
    "black": [20, 20, 20], "white": [245, 245, 245],
}  # fmt: skip
LAB_COLORS: Final = {"backend": "lab", "prototypes": [{"name": name, "rgb": rgb} for name, rgb in COLORS.items()]}
"""Field `colors` of a detector's manifest."""
