"""Drawing one schedule beside the one that was given."""

from __future__ import annotations

import io

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tumortwin.board.charts import QUANTITY_COLORS, QUIET, page_style, plain
from tumortwin.planning.scenario import Scenario


def show_scenario(ax: Axes, scenario: Scenario, given: Scenario) -> list[Artist]:
    """Enhancing volume of a schedule over time, with the given course behind it.

    Parameters
    ----------
    ax : Axes
        Where to draw; x in days since the first scan, y in mL.
    scenario, given : Scenario
        What is asked about, and the course as delivered.
    """
    artists: list[Artist] = []
    artists += ax.plot(given.days, given.volumes_ml["enhancing"], color=QUIET, linewidth=1.5, linestyle="--",
                       label="as delivered")
    artists += ax.plot(scenario.days, scenario.volumes_ml["enhancing"], color=QUANTITY_COLORS["enhancing"],
                       linewidth=2.2, label=scenario.schedule.name)
    top = 1.15 * max(given.volumes_ml["enhancing"].max(), 1.0)
    ax.set(xlabel="days since the first scan", ylabel="enhancing volume (mL)", xlim=(given.days[0], given.days[-1]))
    # a fixed scale lets the eye compare positions of the slider; only a worse course than the given one enlarges it
    ax.set_ylim(0, max(top, 1.05 * scenario.volumes_ml["enhancing"].max()))
    plain(ax)
    ax.legend(frameon=False, loc="upper left")
    return artists


def scenario_png(scenario: Scenario, given: Scenario) -> bytes:
    """The picture of :func:`show_scenario` as PNG."""
    import matplotlib as mpl

    with mpl.rc_context(page_style()):
        figure = Figure(figsize=(6.4, 3.6), dpi=110, layout="constrained")
        show_scenario(figure.add_subplot(), scenario, given)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
