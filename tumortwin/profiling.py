"""What long work spends its time on, stage by stage: by looking at its threads, not by changing them."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

EVERY_S = 0.005
STAGES = {
    "tumortwin.imaging": "read files",
    "tumortwin.imaging.resampling": "",
    "tumortwin.patient": "read files",
    "tumortwin.geometry": "look at visits",
    "tumortwin.geometry.registration.rigid": "register visits",
    "tumortwin.geometry.registration.starts": "register visits",
    "tumortwin.geometry.registration.small_motion": "register sequences",
    "tumortwin.geometry.pose": "register sequences",
    "tumortwin.geometry.registration.deformation": "deform",
    "tumortwin.geometry.brain.atlas": "lay the atlas",
    "tumortwin.geometry.brain.compartments": "lay the atlas",
    "tumortwin.geometry.brain.tissue": "tell tissues",
    "tumortwin.geometry.brain.bias": "correct bias",
    "tumortwin.geometry.segmentation.tumor": "segment",
    "tumortwin.geometry.segmentation.outline": "segment",
    "tumortwin.geometry.segmentation.evidence": "segment",
    "tumortwin.geometry.segmentation.consistency": "hold labels over visits",
    "tumortwin.geometry.sampling": "",
    "tumortwin.twin": "bring to the grid",
    "tumortwin.calibration": "calibrate and forecast",
    "tumortwin.planning": "compare schedules",
    "tumortwin.board": "write pages",
}
"""The road's stages: what the work of a module is for; "" leaves it to who asked for it."""


class StageProfile:
    """Seconds by stage, sampled.

    A thread looks every 5 ms at what each thread is in, and books the time since its last look on the innermost stage.
    Work in C (ITK, NumPy) counts for the line that called it. The sampler itself takes less than one per cent.

    Parameters
    ----------
    stages : mapping of str to str
        Name of a module or package to the stage that its work belongs to; the longest name that fits wins, and ""
        leaves it to the caller.
    """

    def __init__(self, stages: Mapping[str, str]) -> None:
        self._stages = stages
        self._known: dict[str, str] = {}
        self.seconds: dict[str, float] = defaultdict(float)
        self.wall_s = self.cpu_s = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Sample while the block runs."""
        stop = threading.Event()
        sampler = threading.Thread(target=self._sample, args=(stop,), name="stage profile", daemon=True)
        wall, cpu = time.perf_counter(), time.process_time()
        sampler.start()
        try:
            yield
        finally:
            stop.set()
            sampler.join()
            self.wall_s += time.perf_counter() - wall
            self.cpu_s += time.process_time() - cpu

    def _sample(self, stop: threading.Event) -> None:
        own = threading.get_ident()
        last = time.perf_counter()
        while not stop.wait(EVERY_S):
            now = time.perf_counter()
            for thread, frame in sys._current_frames().items():
                if thread != own and (stage := self._stage_of(frame)):
                    self.seconds[stage] += now - last
            last = now

    def _stage_of(self, frame: FrameType | None) -> str:
        if frame is not None and frame.f_globals.get("__name__") == "threading":
            return ""  # it waits for another
        while frame is not None:
            if stage := self._stage(frame.f_globals.get("__name__", "")):
                return stage
            frame = frame.f_back
        return ""

    def _stage(self, module: str) -> str:
        if module not in self._known:
            name = module
            while name and name not in self._stages:
                name = name.rpartition(".")[0]
            self._known[module] = self._stages.get(name, "")
        return self._known[module]

    def __str__(self) -> str:
        total = sum(self.seconds.values()) or 1.0
        width = max(map(len, ["stage", *self.seconds]))
        lines = [f"{'stage':<{width}}  thread time  share"]
        lines += [
            f"{stage:<{width}}  {seconds:9.2f} s  {seconds / total:5.1%}"
            for stage, seconds in sorted(self.seconds.items(), key=lambda item: -item[1])
        ]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        lines.append(
            f"{self.wall_s:.1f} s by the clock, {self.cpu_s:.1f} s of processor time, at most {peak:.0f} MiB of memory"
        )
        return "\n".join(lines)
