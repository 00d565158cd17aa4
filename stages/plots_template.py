"""`python -m stages.plots_template` writes .dvc/offline.html, with which `dvc plots` makes pages that need no network.

    pip install vl-convert-python
    python -m stages.plots_template
    dvc config --local plots.html_template offline.html

DVC's own template loads Vega's scripts from a network; this one holds them.
"""

from pathlib import Path

from diagxnet.console.errors import InputError
from diagxnet.data.files import write_text
from stages.running import run

PAGE = """<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
{{refresh_tag}}
<title>DVC plots</title>
<style>table {{border-spacing: 15px}}</style>
<script>{scripts}</script>
</head>
<body>
{{plot_divs}}
</body>
</html>
"""


def main() -> None:
    try:
        import vl_convert  # 30 MB that no stage needs, so it is no requirement
    except ModuleNotFoundError:
        raise InputError("needs the package vl-convert-python (run: pip install vl-convert-python)") from None
    if not Path(".dvc").is_dir():
        raise InputError(f"{Path('.dvc').absolute()}: no such folder (run from the repository's root)")
    scripts = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    path = Path(".dvc/offline.html")
    write_text(path, PAGE.format(scripts=scripts))
    print(f"{path}: for good in this clone with: dvc config --local plots.html_template {path.name}")


if __name__ == "__main__":
    run("plots_template", main, timed=False)
