"""Write what is generated from the event classes: ``python -m roomledger_events [folder]``.

Into the folder, `events/` of the repository unless another one is named, go ``schema/*.json`` and
``asyncapi.yaml``.  This is for those who change events; it needs PyYAML, which nothing else here does.
"""

import json
import sys
from pathlib import Path
from typing import Final

from roomledger_events.documents import asyncapi, schemas

FOLDER: Final = Path(__file__).parents[1]
_HEAD: Final = "# Generated from the event classes by `python -m roomledger_events`; do not edit.\n"


def texts() -> dict[str, str]:
    """Return what is generated, by its path in the folder."""
    import yaml  # noqa: PLC0415  - for those who change events only; nobody else has it

    found = {
        f"schema/{name}.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in schemas().items()
    }
    # Through JSON first, so that no two places share an object: the YAML would then hold anchors.
    document = json.loads(json.dumps(asyncapi()))
    found["asyncapi.yaml"] = _HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return found


def write(folder: Path) -> list[Path]:
    """Write what is generated, remove the schemas of types that are no more, and return what changed."""
    wanted = {folder / path: text for path, text in texts().items()}
    changed = [path for path in sorted(folder.glob("schema/*.json")) if path not in wanted]
    for path in changed:
        path.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for written in write(Path(sys.argv[1]) if sys.argv[1:] else FOLDER):
        sys.stdout.write(f"{written}\n")
