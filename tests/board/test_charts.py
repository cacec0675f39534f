"""What the charts draw, read back from their artists."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from tumortwin.board import BoardReport, charts
from tumortwin.board.values import Role


@pytest.fixture
def ax():
    return Figure().add_subplot()


def test_held_out_scans_are_hollow(ax, report: BoardReport) -> None:
    charts.show_volumes(ax, report.scans, report.bands)
    markers = [line for line in ax.lines if line.get_marker() == "o"]
    for scan, line in zip(report.scans, markers, strict=True):
        assert line.get_xydata().tolist() == [[scan.day, scan.volumes_ml["whole"]]]
        hollow = to_rgba(line.get_markerfacecolor()) == to_rgba("white")
        assert hollow == (scan.role is Role.HELD_OUT)
    assert ax.get_ylim()[0] == 0


def test_band_holds_its_median(ax, report: BoardReport) -> None:
    charts.show_volumes(ax, (), report.bands)
    for area, band in zip([c for c in ax.collections if len(c.get_paths())], report.bands, strict=True):
        corners = area.get_paths()[0].vertices
        assert corners[:, 1].max() == pytest.approx(band.high.max())
        assert corners[:, 1].min() == pytest.approx(band.low.min())


def test_timeline_has_a_tick_for_each_fraction(ax, report: BoardReport) -> None:
    charts.show_timeline(ax, report.courses, report.scans)
    radiotherapy = report.courses[1]
    assert any(np.array_equal(line.get_xdata(), radiotherapy.days) for line in ax.lines)
    assert [t.get_text() for t in ax.get_yticklabels()][-1] == "Scans"


def test_outcomes_beyond_the_horizon_are_arrows(ax, report: BoardReport) -> None:
    charts.show_outcomes(ax, report.options, "progression_days", "days", report.horizon_days)
    arrows = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == ">"]
    assert arrows == [i for i, o in enumerate(report.options) if np.isinf(o.outcomes["progression_days"].high)]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first option on top


def test_limits_are_relative(ax, report: BoardReport) -> None:
    charts.show_limits(ax, report.options[:2])
    organ = report.options[1].organs[0]
    drawn = [tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == "o"]
    assert pytest.approx((100 * organ.value / organ.limit, 1)) in drawn


def test_parameters_on_the_scale_of_their_priors(ax, report: BoardReport) -> None:
    charts.show_parameters(ax, report.parameters[:4])
    p = report.parameters[0]
    middle = np.sqrt(p.prior_low * p.prior_high)
    spans = [tuple(line.get_xdata()) for line in ax.lines if tuple(line.get_ydata()) == (0, 0)]
    assert pytest.approx((p.prior_low / middle, p.prior_high / middle)) in spans
    assert pytest.approx((p.low / middle, p.high / middle)) in spans
    assert not [line for line in ax.lines if tuple(line.get_ydata()) == (3, 3)]  # a fixed value has no interval


def test_dvh_marks_limits(ax, report: BoardReport) -> None:
    charts.show_dvh(ax, report.dvh, report.dvh_limits)
    assert [line.get_label() for line in ax.lines[: len(report.dvh)]] == [c.structure for c in report.dvh]
    assert [line.get_xdata()[0] for line in ax.lines[len(report.dvh) :]] == [54.0, 55.0]


def test_agreement_has_equal_axes(ax, report: BoardReport) -> None:
    charts.show_agreement(ax, report.comparisons)
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_xlim()[1] >= max(c.predicted.high for c in report.comparisons)
