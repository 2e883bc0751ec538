"""``python docs/pictures.py``: take the README's pictures from the executed notebooks.

A picture is the first one that the cell with a given call shows. A test holds the files against the
notebooks.
"""

import base64
import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "pictures"
#: File -> (notebook, what its cell calls).
PICTURES = {
    "search.png": ("01_ten_minutes_to_a_tuned_jvm", "plot_convergence(result)"),
    "learned.png": ("01_ten_minutes_to_a_tuned_jvm", "plot_prior_posterior(result"),
}


def picture(notebook: str, call: str) -> bytes:
    """Return the PNG that a notebook's cell shows.

    Raises LookupError where no cell with the call shows one.
    """
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    for cell in cells:
        if cell["cell_type"] == "code" and call in "".join(cell["source"]):
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    raise LookupError(f"no cell of {notebook} with {call} shows a picture: execute the notebook.")


def main() -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    for name, (notebook, call) in PICTURES.items():
        (FOLDER / name).write_bytes(picture(notebook, call))


if __name__ == "__main__":
    main()
