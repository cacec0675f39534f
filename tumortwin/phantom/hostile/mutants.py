"""Hostile series with known truth: every way in which DICOM from elsewhere goes wrong, in small."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tumortwin.phantom.hostile import files, geometry, multiframe, values
from tumortwin.phantom.hostile.specimens import Mutant, Specimen, specimens

AXIAL = ("axial MR",)
BOTH = ("axial MR", "CT")
SOME = ("axial MR", "double oblique MR", "CT")
MANY = ("axial MR", "sagittal MR", "double oblique MR", "falling MR", "CT")
ALL = ("axial MR", "sagittal MR", "coronal MR", "oblique MR", "double oblique MR", "falling MR", "CT")
OBLIQUE = ("axial MR", "double oblique MR")

Spoil = Callable[[Specimen], Iterator[Mutant]]
CASES: tuple[tuple[Spoil, tuple[str, ...]], ...] = (
    (geometry.no_fault, ALL),
    (geometry.missing_slices, MANY),
    (geometry.missing_at_the_ends, AXIAL),
    (geometry.uneven_spacing, SOME),
    (geometry.duplicates, SOME),
    (geometry.damaged_duplicate, AXIAL),
    (geometry.repeated_uid, BOTH),
    (geometry.shuffled, AXIAL),
    (geometry.gantry_tilt, ("CT", "double oblique MR")),
    (geometry.stated_tilt, ("CT",)),
    (geometry.localizer, SOME),
    (geometry.odd_slices, BOTH),
    (geometry.several_b_values, AXIAL),
    (geometry.several_echoes, OBLIQUE),
    (geometry.several_times, AXIAL),
    (geometry.magnitude_and_phase, AXIAL),
    (geometry.several_series, AXIAL),
    (geometry.several_modalities, OBLIQUE),
    (geometry.several_studies, AXIAL),
    (geometry.several_patients, BOTH),
    (geometry.several_frames, BOTH),
    (geometry.no_frame, AXIAL),
    (geometry.mixed_orientations, OBLIQUE),
    (geometry.contradicting_spacing, OBLIQUE),
    (geometry.no_position, AXIAL),
    (geometry.no_pixel_spacing, AXIAL),
    (geometry.wandering, BOTH),
    (geometry.single_slice, AXIAL),
    (geometry.dates, AXIAL),
    (values.scales_by_slice, SOME),
    (values.philips_scales, OBLIQUE),
    (values.signed_pixels, BOTH),
    (values.bits, AXIAL),
    (values.monochrome1, BOTH),
    (values.color, AXIAL),
    (values.burned_in, AXIAL),
    (values.padding, AXIAL),
    (values.absurd_scales, AXIAL),
    (multiframe.enhanced, SOME),
    (multiframe.enhanced_gaps, AXIAL),
    (multiframe.enhanced_parts, BOTH),
    (multiframe.enhanced_philips, AXIAL),
    (multiframe.legacy_converted, AXIAL),
    (multiframe.classic_multiframe, AXIAL),
    (multiframe.mosaics, ("axial MR", "double oblique MR", "sagittal MR")),
    (files.syntaxes, BOTH),
    (files.jpeg_baseline, AXIAL),
    (files.signs, AXIAL),
    (files.cut_codestream, AXIAL),
    (files.truncated, AXIAL),
    (files.other_files, AXIAL),
    (files.gzipped, AXIAL),
    (files.no_meta, AXIAL),
    (files.wrong_class, AXIAL),
    (files.bad_vr, AXIAL),
    (files.character_sets, AXIAL),
    (files.undefined_lengths, AXIAL),
)


def mutants(seed: int = 0, *, sample: bool = False) -> Iterator[Mutant]:
    """All hostile series, one after another.

    Parameters
    ----------
    seed : int
        Of what is drawn by chance: order of files, which slices are lost, by how much planes move.
    sample : bool
        Spoil one series in each way only, drawn by chance.

    Yields
    ------
    Mutant
        Files in memory, what a reader should make of them, and the truth.
    """
    for number, (spoil, names) in enumerate(CASES):
        # a stream for each case: a new case leaves the others as they are
        rng = np.random.default_rng((seed, number))
        found = specimens(rng)
        for name in (str(rng.choice(names)),) if sample else names:
            yield from spoil(found[name])
