"""Makes the tiny checkpoints and golden outputs that the TypeScript tests compare with. Development only."""

import torch

# torchvision's compiled part may be built for another torch (CUDA against CPU). The transforms used here are plain
# torch; importing them needs only these operators' signatures, declared here when the compiled part does not.
_library = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    try:
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass

torch.set_grad_enabled(False)
torch.manual_seed(0)
