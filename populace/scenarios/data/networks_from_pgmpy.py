"""Write asia.json and hepar2.json from the wheel of pgmpy 0.1.26: `python networks_from_pgmpy.py pgmpy-....whl`."""

import gzip
import json
import sys
import zipfile
from pathlib import Path

from populace.env import BayesNet

HERE = Path(__file__).parent

with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in ("asia", "hepar2"):
        text = gzip.decompress(wheel.read(f"pgmpy/utils/example_models/{name}.bif.gz")).decode()
        network = BayesNet.from_bif(text).to_json()
        (HERE / f"{name}.json").write_text(json.dumps(network, separators=(",", ":")) + "\n", encoding="utf-8")
