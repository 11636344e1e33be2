"""The compiled part of the build; everything else is in pyproject.toml.

Every ``fluxfast/**/*.pyx`` is one extension, with what is named after it in C (``kernel_*.c``). One knob,
``FLUXFAST_BUILD``: ``release`` (default), ``debug`` (Cython's checks on, -O0), ``asan`` (debug + address and
undefined-behaviour sanitizers), ``coverage`` (line tracing; not in the limited API).
"""

import os
import sys
from pathlib import Path

import Cython.Compiler.Options
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MODES = {
    "release": (["-O3", "-g0", "-fvisibility=hidden"], [], False),
    "debug": (["-O0", "-g"], [], True),
    "asan": (
        ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-Wno-maybe-uninitialized"],
        ["-fsanitize=address,undefined"],
        True,
    ),
    "coverage": (["-O0", "-g"], [], True),
}
mode = os.environ.get("FLUXFAST_BUILD", "release")
if mode not in MODES:
    sys.exit(f"FLUXFAST_BUILD={mode}: use one of {', '.join(MODES)}")
compile_args, link_args, checks = MODES[mode]
# Numbers are the same on every processor (no fused multiply-add); nobody looks at the flags of floating-point
# exceptions. Never -ffast-math: it forgets what a NaN is.
arithmetic = ["-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno"]
tracing = mode == "coverage"
macros = (
    [("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]
    if tracing
    else [("Py_LIMITED_API", "0x030B0000")]
)
Cython.Compiler.Options.warning_errors = True

root = Path("fluxfast")
headers = [str(p) for pattern in ("*.pxd", "*.h") for p in sorted(root.rglob(pattern))]
extensions = [
    Extension(
        ".".join(source.with_suffix("").parts),
        [str(source), *(str(p) for p in sorted(source.parent.glob(f"{source.stem}_*.c")))],
        define_macros=macros,
        extra_compile_args=[*compile_args, *arithmetic, "-Wall", "-Wextra", "-Wno-unused-parameter"],
        extra_link_args=link_args,
        depends=[str(source), *headers],  # what the sdist takes along, too
        include_dirs=["."],
        py_limited_api=not tracing,
    )
    for source in sorted(root.rglob("*.pyx"))
]


class ParallelBuild(build_ext):
    """Compile the extensions side by side; in place, never leave modules of two modes side by side."""

    def finalize_options(self) -> None:
        """Use every core; an editable install compiles where ci/build does, so that this is done once."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()
        if self.inplace:
            self.build_lib, self.build_temp = f"build/{mode}/lib", f"build/{mode}/temp"

    def copy_extensions_to_source(self) -> None:
        """Remove what another mode, or one that we do not know, left beside the sources."""
        stamp = Path("build/mode-in-place")
        if not stamp.exists() or stamp.read_text() != mode:
            for module in root.rglob("*.so"):
                module.unlink()
        super().copy_extensions_to_source()
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(mode)


if __name__ == "__main__":  # where processes are not forked, those that run Cython import this file
    setup(
        ext_modules=cythonize(
            extensions,
            build_dir=None if tracing else f"build/{mode}/cython",
            compiler_directives={
                "language_level": 3,
                "boundscheck": checks,
                "wraparound": False,
                "initializedcheck": checks,
                "cdivision": True,
                "embedsignature": True,
                "linetrace": tracing,
                "show_performance_hints": mode == "release",
            },
            nthreads=os.cpu_count(),
        ),
        cmdclass={"build_ext": ParallelBuild},
        options={"build": {"build_base": f"build/{mode}"}}
        | ({} if tracing else {"bdist_wheel": {"py_limited_api": "cp311"}}),
    )
