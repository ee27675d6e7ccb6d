"""What the results server says in HTML: the contents of a folder. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePosixPath
from urllib.parse import quote

from flows.report import COMPARISON_FILE

PICTURE = "comparison.png"
"""Shown above the contents of a folder that has one."""

_FIRST = (PICTURE, "comparison.svg", COMPARISON_FILE)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.3rem;font-weight:600}ul{list-style:none;padding:0;columns:18rem}img{max-width:100%}"
    "a{color:#0b57d0;text-decoration:none}a:hover{text-decoration:underline}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}a{color:#8ab4f8}img{background:#fff}}"
)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the results store, by the names in it."""

    path: PurePosixPath
    """Relative to the store's root."""
    folders: Sequence[str]
    files: Sequence[str]


def render_folder(folder: Folder) -> str:
    """Return the page of a folder. Every link is relative, so that it holds behind any prefix."""
    title = "Comparisons" if folder.path == PurePosixPath() else str(folder.path)
    files = sorted(folder.files, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name))
    links = [_link(f"{name}/") for name in folder.folders] + [_link(name) for name in files]
    parts = [
        "" if folder.path == PurePosixPath() else '<p><a href="../">Up</a></p>',
        f'<p><a href="{PICTURE}"><img src="{PICTURE}" alt="Accuracy curves"></a></p>' if PICTURE in files else "",
        f"<ul>{''.join(links)}</ul>" if links else "<p>There is nothing here yet.</p>",
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def _link(name: str) -> str:
    return f'<li><a href="./{quote(name)}">{escape(name)}</a></li>'
