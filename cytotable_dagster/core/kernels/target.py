"""The processor that kernels are made for."""
# pyright: basic, reportMissingTypeStubs=false

import functools
import platform

from llvmlite import binding as llvm

# Processors that nearly all of a kind can stand in for, and what that asks of them, so that code that was kept in an
# image runs wherever the image does. It is as fast as code for the very processor.
_COMMON: dict[str, tuple[str, tuple[str, ...]]] = {
    "x86_64": ("x86-64-v3", ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe")),
    "aarch64": ("generic", ()),
    "arm64": ("generic", ()),
}


@functools.cache
def target() -> tuple[str, str, str]:
    """The system that code is made for here, the processor, and what it is to have besides."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    has = llvm.get_host_cpu_features()
    processor, features = llvm.get_host_cpu_name(), has.flatten()
    common, needed = _COMMON.get(platform.machine(), (None, ()))
    if common and all(has.get(feature) for feature in needed):
        processor, features = common, ""
    return llvm.Target.from_default_triple().triple, processor, features


def machine() -> llvm.TargetMachine:
    """What makes code or links it: one for each use, as an engine frees its own."""
    _, processor, features = target()
    made = llvm.Target.from_default_triple()
    return made.create_target_machine(cpu=processor, features=features, opt=3, jit=True)
