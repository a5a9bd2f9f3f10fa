"""LLVM code of functions that numba lowers, each once, as it stands: nothing is optimised or run here.

numba itself optimises a function once more with every function that calls it, and makes machine code of each, which
takes three times as long as all else. Who takes a module from here optimises it once, as a whole.
"""
# pyright: basic, reportMissingTypeStubs=false

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llvmlite import binding as llvm
from numba.core import codegen, registry

from cytotable_dagster.core.kernels.machine import compiler


class _Library(codegen.AOTCodeLibrary):
    """The code of one function."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout

    def finalize(self):
        self._finalized = True

    def get_pointer_to_function(self, name):
        return 0

    def _get_module_for_linking(self):
        """With all that it calls, for numba's own way, which a process goes where this one fails."""
        whole = _linked([self])
        for function in whole.functions:
            if not function.is_declaration:
                function.linkage = "linkonce_odr"
        return whole


class _Codegen(codegen.AOTCPUCodegen):
    _library_class = _Library

    def set_env(self, env_name, env):
        """Nothing here refers to Python's objects."""


def lowered(functions: Mapping[str, Callable[[Any], Any]], signature: Any) -> llvm.ModuleRef:
    """One module of functions and of all that they call; only those given can be seen from outside, by their names."""
    with _lowering():
        compile_one = compiler(
            signature, error_model="numpy", _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True
        )
        made = {name: next(iter(compile_one(function).overloads.values())) for name, function in functions.items()}
    module = _linked([one.library for one in made.values()])
    for name, one in made.items():
        module.get_function(one.fndesc.llvm_func_name).name = name
    for function in module.functions:
        if not function.is_declaration:
            function.linkage = "external" if function.name in functions else "internal"
    return module


@contextmanager
def _lowering() -> Iterator[None]:
    context: Any = registry.cpu_target.target_context
    context.refresh()  # makes numba's own code, by its own way
    usual = context._internal_codegen
    context._internal_codegen = _Codegen("kernels")
    try:
        yield
    finally:
        context._internal_codegen = usual


def _linked(libraries: list[_Library]) -> llvm.ModuleRef:
    """A module of libraries and of those they call, each once."""
    module = llvm.parse_assembly("")
    seen: set[int] = set()
    left: list[Any] = list(reversed(libraries))
    while left:
        library = left.pop()
        # numba's library of memory is among them, which nothing here needs.
        if isinstance(library, _Library) and id(library) not in seen:
            seen.add(id(library))
            module.link_in(library._final_module, preserve=True)
            left.extend(reversed(library._linking_libraries))
    return module
