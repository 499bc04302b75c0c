"""Prints the .deb's copyright file: dvdcli's own license, and that of each package that is put beside it."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, distributions


def license_of(package: Distribution) -> str:
    """Return the short name of the license of *package*."""
    metadata = package.metadata
    classified = [c.rpartition(" :: ")[2] for c in metadata.get_all("Classifier", []) if c.startswith("License ::")]
    return metadata.get("License-Expression") or ", ".join(classified) or metadata.get("License") or "see below"


def texts(package: Distribution) -> list[str]:
    """Return the license texts of *package*."""
    words = ("license", "licence", "copying", "notice")
    wanted = [p for p in package.files or [] if ".dist-info" in str(p) and p.name.lower().startswith(words)]
    return [path.read_text(encoding="utf-8").strip() for path in wanted]


def main() -> None:
    """Print the file for the packages in the directory that the command line names."""
    print("dvdcli: Apache-2.0; the text is in /usr/share/common-licenses/Apache-2.0.")
    print("\nDebian has the packages that it needs only in older releases; so these are in /usr/lib/dvdcli:")
    for package in sorted(distributions(path=[sys.argv[1]]), key=lambda each: each.metadata["Name"].lower()):
        if package.metadata["Name"] == "dvdcli":
            continue
        print(f"\n\n== {package.metadata['Name']} {package.version}: {license_of(package)}")
        for text in texts(package):
            if "Apache License" in text[:200]:
                text = "(the text of the Apache License 2.0, as in /usr/share/common-licenses/Apache-2.0)"
            print(f"\n{text}")


if __name__ == "__main__":
    main()
