"""MR series of a synthetic patient as DICOM: a file a slice, or one enhanced multi-frame file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRLittleEndian, JPEGLSLossless, MRImageStorage, RLELossless
from pydicom.valuerep import DT

from tumortwin.errors import InputError
from tumortwin.imaging.sequence import MRSequence
from tumortwin.imaging.writing.header import decimal, hashed_uid, item, new_instance, stamp, write_instance
from tumortwin.imaging.writing.planes import Planes, planes_of
from tumortwin.phantom.synthetic import Encoding, SyntheticSeries

SIGNAL_RANGE = 1023
"""Stored value of the brightest voxel of a signal series: fine against the noise, and small when compressed."""

ADC_STEP = 1e-6
"""mm^2/s for one stored count, as scanners store ADC."""

BITS = 12


@dataclass(frozen=True)
class Protocol:
    """What a scanner writes about a sequence: times in ms, angle in degrees; `flavor` is ImageType's third value."""

    flavor: str
    scanning: tuple[str, ...]
    variant: tuple[str, ...]
    repetition: float
    echo: float
    inversion: float | None
    flip: float
    train: int
    dimensions: str
    enhanced: tuple[str, str]
    """Echo pulse sequence and pulse sequence name of the enhanced object."""


MPRAGE = Protocol("T1", ("GR", "IR"), ("SK", "SP", "MP"), 1900, 2.6, 900, 9, 1, "3D", ("GRADIENT", "tfl3d"))
EPI = Protocol("DIFFUSION", ("EP", "SE"), ("SK", "SP"), 8000, 80, None, 90, 1, "2D", ("SPIN", "ep2d_diff"))
PROTOCOLS: Mapping[MRSequence, Protocol] = {
    MRSequence.T1: MPRAGE,
    MRSequence.T1GD: MPRAGE,
    MRSequence.T2: Protocol("T2", ("SE",), ("SK", "SP"), 5000, 100, None, 150, 15, "2D", ("SPIN", "tse2d")),
    MRSequence.FLAIR: Protocol(
        "FLUID_ATTENUATED", ("SE", "IR"), ("SK", "SP"), 9000, 90, 2500, 150, 15, "2D", ("SPIN", "tir2d")
    ),
    MRSequence.DWI: EPI,
    MRSequence.ADC: EPI,
}
"""Typical values at 3 T."""


def stored_values(series: SyntheticSeries, brightest: float) -> NDArray[np.uint16]:
    """Compute the whole numbers that a scanner would store.

    Parameters
    ----------
    series : SyntheticSeries
        Signal in arbitrary units, or ADC in mm^2/s (stored in steps of 1e-6 mm^2/s).
    brightest : float
        The signal that becomes :data:`SIGNAL_RANGE`; images whose ratio has a meaning (b-values) share one.

    Raises
    ------
    InputError
        If a value is negative, not finite or, for ADC, too large for 12 bits.
    """
    values = series.volume.array
    if not np.isfinite(values).all() or values.min() < 0:
        raise InputError(f"{series.description}: MR signals are finite and >= 0, not {values.min()} to {values.max()}")
    counts = values / ADC_STEP if series.sequence is MRSequence.ADC else values * (SIGNAL_RANGE / brightest)
    if counts.max() >= 2**BITS:
        raise InputError(f"{series.description}: ADC up to {values.max():.3g} mm^2/s does not fit in {BITS} bits")
    return np.rint(counts).astype(np.uint16)


def write_series(
    series: SyntheticSeries, study: Dataset, uid: UID, number: int, when: datetime, brightest: float, folder: Path
) -> list[Path]:
    """Write one series.

    Parameters
    ----------
    series : SyntheticSeries
        What to write; its :class:`~tumortwin.phantom.synthetic.Encoding` says how.
    study : Dataset
        Patient and study attributes.
    uid : UID
        Series Instance UID; those of the instances are derived from it.
    number : int
        Series number.
    when : datetime
        Start of the acquisition.
    brightest : float
        See :func:`stored_values`.
    folder : Path
        Where the files IM0001.dcm ... go.

    Returns
    -------
    list of Path
        The files, in the order of the planes.
    """
    scan = _Scan(series, study, uid, number, when, stored_values(series, brightest))
    if series.encoding is Encoding.ENHANCED:
        return [write_instance(_enhanced(scan), folder / "IM0001.dcm")]
    return [write_instance(_single_frame(scan, z), folder / f"IM{z + 1:04d}.dcm") for z in range(len(scan.values))]


@dataclass(frozen=True, eq=False)
class _Scan:
    """One series on its way into files."""

    series: SyntheticSeries
    study: Dataset
    uid: UID
    number: int
    when: datetime
    values: NDArray[np.uint16]

    @property
    def protocol(self) -> Protocol:
        return PROTOCOLS[self.series.sequence]

    @cached_property
    def planes(self) -> Planes:
        return planes_of(self.series.volume.grid)

    @cached_property
    def window(self) -> tuple[str, str]:
        """Center and width that show all but the brightest voxels."""
        top = max(round(float(np.percentile(self.values, 99.5))), 2)
        return decimal(top / 2), decimal(top)


def _instance(scan: _Scan, sop_class: UID, instance: int, values: NDArray[np.uint16]) -> Dataset:
    """Build what single-frame and enhanced images have in common."""
    dataset = new_instance(scan.study, sop_class, "MR", "", scan.when, series_number=scan.number)
    dataset.SeriesDescription = dataset.ProtocolName = scan.series.description[:64]
    dataset.ManufacturerModelName = "tumortwin phantom"
    dataset.SeriesInstanceUID = scan.uid
    dataset.SOPInstanceUID = hashed_uid(scan.uid, instance)
    dataset.InstanceNumber = instance
    stamp(dataset, scan.when, "Content")
    dataset.BodyPartExamined = "BRAIN"
    dataset.PatientPosition = "HFS"
    dataset.FrameOfReferenceUID = scan.series.volume.frame
    dataset.PositionReferenceIndicator = ""
    dataset.ImageComments = "Synthetic image, research use only"
    dataset.BurnedInAnnotation = "NO"
    dataset.AcquisitionNumber = 1
    dataset.MagneticFieldStrength = 3
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, BITS, BITS - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = values.astype("<u2").tobytes()
    return dataset


def _compress(dataset: Dataset, syntax: UID) -> None:
    if syntax != ExplicitVRLittleEndian:
        plugin = {JPEGLSLossless: "pyjpegls", RLELossless: "pydicom"}[syntax]
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)


def _adc_meaning() -> Dataset:
    """Build the item which states that stored values times 1e-6 are mm^2/s."""
    return item(
        LUTExplanation="Apparent diffusion coefficient",
        LUTLabel="ADC",
        RealWorldValueFirstValueMapped=0,
        RealWorldValueLastValueMapped=2**BITS - 1,
        RealWorldValueIntercept=0.0,
        RealWorldValueSlope=ADC_STEP,
        MeasurementUnitsCodeSequence=[item(CodeValue="mm2/s", CodingSchemeDesignator="UCUM", CodeMeaning="mm2/s")],
    )


def _single_frame(scan: _Scan, z: int) -> Dataset:
    protocol, series = scan.protocol, scan.series
    dataset = _instance(scan, MRImageStorage, z + 1, scan.values[z])
    dataset.ImageType = (
        ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
        if series.sequence is MRSequence.ADC
        else ["ORIGINAL", "PRIMARY", "OTHER"]
    )
    stamp(dataset, scan.when, "Acquisition")
    dataset.ScanningSequence = list(protocol.scanning)
    dataset.SequenceVariant = list(protocol.variant)
    dataset.ScanOptions = ""
    dataset.SequenceName = protocol.enhanced[1]
    dataset.MRAcquisitionType = protocol.dimensions
    dataset.RepetitionTime = decimal(protocol.repetition)
    dataset.EchoTime = decimal(protocol.echo)
    dataset.EchoTrainLength = protocol.train
    if protocol.inversion is not None:
        dataset.InversionTime = decimal(protocol.inversion)
    dataset.FlipAngle = decimal(protocol.flip)
    scan.planes.write(dataset, z)
    dataset.SpacingBetweenSlices = decimal(scan.planes.spacing)
    dataset.WindowCenter, dataset.WindowWidth = scan.window
    if series.sequence is MRSequence.T1GD:
        dataset.ContrastBolusAgent = "Gadobutrol"
        dataset.ContrastBolusRoute = "INTRAVENOUS"
    if series.b_value is not None:
        dataset.DiffusionBValue = float(series.b_value)
    if series.sequence is MRSequence.ADC:
        dataset.RealWorldValueMappingSequence = [_adc_meaning()]
    _compress(
        dataset,
        {Encoding.JPEG_LS: JPEGLSLossless, Encoding.RLE: RLELossless, Encoding.PLAIN: ExplicitVRLittleEndian}[
            series.encoding
        ],
    )
    return dataset


def _enhanced(scan: _Scan) -> Dataset:
    protocol, series = scan.protocol, scan.series
    dataset = _instance(scan, EnhancedMRImageStorage, 1, scan.values)
    derived = series.sequence is MRSequence.ADC
    dataset.ImageType = ["DERIVED" if derived else "ORIGINAL", "PRIMARY", protocol.flavor, "ADC" if derived else "NONE"]
    dataset.NumberOfFrames = len(scan.values)
    dataset.AcquisitionDateTime = DT(scan.when)
    dataset.AcquisitionDuration = 240.0
    dataset.ResonantNucleus = "1H"
    dataset.KSpaceFiltering = "NONE"
    dataset.ApplicableSafetyStandardAgency = "IEC"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.AcquisitionContextSequence = []
    dataset.VolumetricProperties, dataset.VolumeBasedCalculationTechnique = "VOLUME", "NONE"
    dataset.PixelPresentation, dataset.ComplexImageComponent = "MONOCHROME", "MAGNITUDE"
    dataset.AcquisitionContrast = protocol.flavor
    dataset.ContentQualification = "RESEARCH"
    if not derived:
        dataset.update(_pulse_sequence(protocol))
    organization = hashed_uid(scan.uid, "dimensions")
    dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organization)]
    dataset.DimensionOrganizationType = "3D"
    dataset.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=organization,
            DimensionIndexPointer=0x00209057,
            FunctionalGroupPointer=0x00209111,
            DimensionDescriptionLabel="In-Stack Position Number",
        )
    ]
    if series.sequence is MRSequence.T1GD:
        dataset.ContrastBolusAgentSequence = [_contrast_agent()]
    dataset.SharedFunctionalGroupsSequence = [_shared_groups(scan, dataset.ImageType)]
    dataset.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[
                item(
                    StackID="1",
                    InStackPositionNumber=z + 1,
                    DimensionIndexValues=[z + 1],
                    FrameAcquisitionNumber=1,
                    FrameReferenceDateTime=DT(scan.when),
                    FrameAcquisitionDateTime=DT(scan.when),
                    FrameAcquisitionDuration=240000.0,
                )
            ],
            PlanePositionSequence=[item(ImagePositionPatient=[decimal(v) for v in scan.planes.positions[z]])],
        )
        for z in range(len(scan.values))
    ]
    _compress(dataset, JPEGLSLossless)
    return dataset


def _pulse_sequence(protocol: Protocol) -> Dataset:
    """Build the MR Pulse Sequence module, which acquired images have and derived ones do not."""
    module = item(
        PulseSequenceName=protocol.enhanced[1],
        MRAcquisitionType=protocol.dimensions,
        EchoPulseSequence=protocol.enhanced[0],
        MultiPlanarExcitation="NO",
        PhaseContrast="NO",
        TimeOfFlightContrast="NO",
        SteadyStatePulseSequence="NONE",
        EchoPlanarPulseSequence="YES" if protocol.flavor == "DIFFUSION" else "NO",
        SaturationRecovery="NO",
        SpectrallySelectedSuppression="NONE",
        OversamplingPhase="NONE",
        GeometryOfKSpaceTraversal="RECTILINEAR",
        SegmentedKSpaceTraversal="SINGLE",
        RectilinearPhaseEncodeReordering="LINEAR",
        NumberOfKSpaceTrajectories=1,
    )
    if protocol.dimensions == "3D":
        module.CoverageOfKSpace = "FULL"
    if protocol.enhanced[0] == "SPIN":
        module.MultipleSpinEcho = "NO"
    return module


def _contrast_agent() -> Dataset:
    code = item(CodeValue="418351005", CodingSchemeDesignator="SCT", CodeMeaning="Gadolinium chelate")
    route = item(CodeValue="47625008", CodingSchemeDesignator="SCT", CodeMeaning="Intravenous route")
    return item(
        CodeValue=code.CodeValue,
        CodingSchemeDesignator="SCT",
        CodeMeaning=code.CodeMeaning,
        ContrastBolusAgentNumber=1,
        ContrastBolusIngredientCodeSequence=[],
        ContrastBolusVolume=None,
        ContrastBolusIngredientConcentration=None,
        ContrastBolusAdministrationRouteSequence=[route],
    )


def _shared_groups(scan: _Scan, image_type: Iterable[str]) -> Dataset:
    """Functional groups that are the same for all frames (PS3.3 A.36.2.3)."""
    protocol, series, planes = scan.protocol, scan.series, scan.planes
    frames, rows, columns = scan.values.shape
    inversion = {} if protocol.inversion is None else {"InversionTimes": [float(protocol.inversion)]}
    center, width = scan.window
    timing = item(
        RepetitionTime=decimal(protocol.repetition),
        FlipAngle=decimal(protocol.flip),
        EchoTrainLength=protocol.train,
        RFEchoTrainLength=protocol.train,
        GradientEchoTrainLength=0,
        GradientOutputType="DB_DT",
        GradientOutput=0.0,
        OperatingModeSequence=[item(OperatingModeType="GRADIENT", OperatingMode="IEC_NORMAL")],
        SpecificAbsorptionRateSequence=[
            item(SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.5)
        ],
    )
    groups = item(
        PixelMeasuresSequence=[
            item(
                PixelSpacing=[decimal(v) for v in planes.pixel_spacing],
                SliceThickness=decimal(planes.spacing),
                SpacingBetweenSlices=decimal(planes.spacing),
            )
        ],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[decimal(v) for v in planes.orientation])],
        FrameAnatomySequence=[
            item(
                FrameLaterality="U",
                AnatomicRegionSequence=[item(CodeValue="12738006", CodingSchemeDesignator="SCT", CodeMeaning="Brain")],
            )
        ],
        MRImageFrameTypeSequence=[
            item(
                FrameType=list(image_type),
                PixelPresentation="MONOCHROME",
                VolumetricProperties="VOLUME",
                VolumeBasedCalculationTechnique="NONE",
                ComplexImageComponent="MAGNITUDE",
                AcquisitionContrast=protocol.flavor,
            )
        ],
        MRTimingAndRelatedParametersSequence=[timing],
        MRFOVGeometrySequence=[
            item(
                InPlanePhaseEncodingDirection="COLUMN",
                MRAcquisitionFrequencyEncodingSteps=columns,
                MRAcquisitionPhaseEncodingStepsInPlane=rows,
                PercentSampling=100,
                PercentPhaseFieldOfView=100,
                MRAcquisitionPhaseEncodingStepsOutOfPlane=frames,
            )
        ],
        MREchoSequence=[item(EffectiveEchoTime=float(protocol.echo))],
        MRModifierSequence=[
            item(
                InversionRecovery="NO" if protocol.inversion is None else "YES",
                FlowCompensation="NONE",
                Spoiling="RF",
                T2Preparation="NO",
                SpectrallySelectedExcitation="NONE",
                SpatialPresaturation="NONE",
                PartialFourier="NO",
                ParallelAcquisition="NO",
                **inversion,
            )
        ],
        MRImagingModifierSequence=[
            item(
                MagnetizationTransfer="NONE",
                BloodSignalNulling="NO",
                Tagging="NONE",
                TransmitterFrequency=123.2,
                PixelBandwidth=200.0,
            )
        ],
        MRReceiveCoilSequence=[
            item(
                ReceiveCoilName="HEAD",
                ReceiveCoilManufacturerName="",
                ReceiveCoilType="VOLUME",
                QuadratureReceiveCoil="NO",
            )
        ],
        MRTransmitCoilSequence=[
            item(TransmitCoilName="BODY", TransmitCoilManufacturerName="", TransmitCoilType="BODY")
        ],
        MRAveragesSequence=[item(NumberOfAverages=1)],
        PixelValueTransformationSequence=[item(RescaleIntercept=0, RescaleSlope=1, RescaleType="US")],
        FrameVOILUTSequence=[item(WindowCenter=center, WindowWidth=width)],
    )
    if protocol.flavor == "DIFFUSION":
        b_value = {} if series.b_value is None else {"DiffusionBValue": float(series.b_value)}
        groups.MRDiffusionSequence = [item(DiffusionDirectionality="ISOTROPIC", **b_value)]
    if series.sequence is MRSequence.ADC:
        groups.RealWorldValueMappingSequence = [_adc_meaning()]
    if series.sequence is MRSequence.T1GD:
        groups.ContrastBolusUsageSequence = [
            item(
                ContrastBolusAgentNumber=1,
                ContrastBolusAgentAdministered="YES",
                ContrastBolusAgentDetected="",
                ContrastBolusAgentPhase="",
            )
        ]
    return groups
