"""The whole road in one call: from a patient's folder to the files a tumor board is given."""

from tumortwin.road.config import config_template, read_config
from tumortwin.road.options import RunOptions
from tumortwin.road.stages import RoadResult, StageError, run

__all__ = ["RoadResult", "RunOptions", "StageError", "config_template", "read_config", "run"]
