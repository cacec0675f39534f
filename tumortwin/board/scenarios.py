"""Drawing one schedule beside the one that was given."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tumortwin.board.charts import QUANTITY_COLORS, page_style, plain
from tumortwin.board.wording import name_of
from tumortwin.planning.scenario import Scenario


def show_scenario(ax: Axes, scenario: Scenario, given: Scenario) -> list[Artist]:
    """Volumes of a schedule over time, dashed those of the given course.

    Parameters
    ----------
    ax : Axes
        Where to draw; x in days since the first scan, y in mL.
    scenario, given : Scenario
        What is asked about, and the course as delivered.
    """
    artists: list[Artist] = []
    for quantity in scenario.volumes_ml:
        color, name = QUANTITY_COLORS[quantity], name_of(quantity)
        artists += ax.plot(
            given.days,
            given.volumes_ml[quantity],
            color=color,
            linewidth=1.2,
            linestyle="--",
            label=f"{name}, as delivered",
        )
        artists += ax.plot(
            scenario.days,
            scenario.volumes_ml[quantity],
            color=color,
            linewidth=2.2,
            label=f"{name}, {scenario.schedule.name}",
        )
    ax.set(xlabel="days since the first scan", ylabel="volume (mL)", xlim=(given.days[0], given.days[-1]))
    # a fixed scale lets the eye compare positions of the slider; only a worse course than the given one enlarges it
    highest = max(v.max() for v in scenario.volumes_ml.values())
    ax.set_ylim(0, max(1.15, 1.15 * max(v.max() for v in given.volumes_ml.values()), 1.05 * highest))
    plain(ax)
    ax.legend(frameon=False, loc="upper left")
    return artists


def scenario_png(scenario: Scenario, given: Scenario) -> bytes:
    """Draw the picture of :func:`show_scenario` as PNG."""
    with mpl.rc_context(page_style()):
        figure = Figure(figsize=(6.4, 3.6), dpi=110, layout="constrained")
        show_scenario(figure.add_subplot(), scenario, given)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
