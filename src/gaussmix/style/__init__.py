"""Style as a distribution: Gram matrices of VGG19's features, draws from it, pictures made to fit them (E Sec. 3.2.2).

`GramExpansion` learns the distribution of a style from pictures, `StyleTransfer` renders a picture in draws from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gaussmix._lazy import face

if TYPE_CHECKING:
    from gaussmix.style.expansion import GramExpansion as GramExpansion
    from gaussmix.style.transfer import StyleTransfer as StyleTransfer
    from gaussmix.style.vgg import VGG19Features as VGG19Features

__getattr__, __dir__, __all__ = face(
    __name__, {"expansion": ["GramExpansion"], "transfer": ["StyleTransfer"], "vgg": ["VGG19Features"]}, extra="style"
)
