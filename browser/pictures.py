"""Pictures of every page, to be looked at: `python browser/pictures.py [DIRECTORY]`."""

import sys
from pathlib import Path

from driving import HERE, LETTER, SCENE_TOKEN, log_in, new_context, open_browser, open_scene

WANTED = (
    ("calm", "/", False),
    ("trouble", "/", False),
    ("many", "/", False),
    ("empty", "/", False),
    ("refusing", "/", False),
    ("silent", "/", False),
    ("trouble", "/targets/billing", True),
    ("trouble", "/dead-letters", True),
    ("trouble", f"/dead-letters/{LETTER}?payload=1", True),
    ("trouble", "/ledger", False),
    ("trouble", "/refusals", False),
    ("trouble", "/changes", False),
    ("trouble", "/login", False),
)


def main() -> None:
    """Take them all."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "pictures"
    directory.mkdir(parents=True, exist_ok=True)
    with open_browser() as browser:
        for name in dict.fromkeys(scene for scene, _, _ in WANTED):
            with open_scene(name) as url:
                for scheme, width in (("light", 1280), ("dark", 1280), ("light", 400)):
                    for path, inside in ((path, inside) for scene, path, inside in WANTED if scene == name):
                        context = new_context(browser, scheme=scheme, width=width)
                        page = context.new_page()
                        if inside:
                            log_in(page, url, SCENE_TOKEN)
                        page.goto(url + path)
                        page.wait_for_timeout(300)
                        word = path.strip("/").split("?")[0].split("/")
                        stem = "-".join([name, word[0] or "overview", *(["one"] if len(word) > 1 else [])])
                        page.screenshot(path=directory / f"{stem}-{scheme}-{width}.png", full_page=True)
                        context.close()


if __name__ == "__main__":
    main()
