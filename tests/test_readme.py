import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_example_of_the_readme_runs_as_it_stands(capsys):
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "better" in printed
    malloc_rate = float(printed.splitlines()[-1])
    assert 190 < malloc_rate < 235  # the stand-in allocates 212 MB/s
    assert names["result"].best_value < 0.9 * names["result"].best.default
