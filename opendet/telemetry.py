"""Nobody is told that our programs run: what the libraries below would report is switched off.

A variable that the user has set stays as it is.
"""

import os

SWITCHES = {
    "DO_NOT_TRACK": "1",  # the convention that several libraries share
    "DVC_NO_ANALYTICS": "1",
    "FIFTYONE_DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ITERATIVE_DO_NOT_TRACK": "1",  # DVC's and DVCLive's makers
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment variable -> what switches the report off."""


def switch_off_telemetry() -> None:
    """For this process and what it starts; before the libraries are imported: they look once."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
