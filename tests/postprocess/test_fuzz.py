"""Any bytes in, by way of a file: one row for each answer, a valid path or an explicit status, never an error."""

import json
import random

import pytest

from catalog.schema import PRESETS
from postprocess import Snapper, read_answers
from postprocess.files import snap_answers
from tests.postprocess.conftest import PATHS

