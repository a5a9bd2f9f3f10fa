"""Pages of the repository that lie beside `docs` are part of the site, and links to them lead there."""

import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_BESIDE = ("CHANGELOG.md", *(f"benchmarks/{path.name}" for path in sorted((_ROOT / "benchmarks").glob("results*.md"))))
_LINK = re.compile(rf"\]\(\.\./({'|'.join(map(re.escape, _BESIDE))})")


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for page in _BESIDE:
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / page)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _LINK.sub(r"](\1", markdown)
