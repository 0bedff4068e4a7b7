"""Writes the charting library as one script: Vega, Vega-Lite and Vega-Embed out of the vl-convert-python wheel.

Argument: the file to write. It sets window.vega, window.vegaLite and window.vegaEmbed.
"""
import pathlib
import sys

import vl_convert

bundle = vl_convert.javascript_bundle()
assert "</script" not in bundle, "would end the script element that holds it"
pathlib.Path(sys.argv[1]).write_text(bundle)
