"""Writes docs/schema.md from the result types. `make docs` runs it; a test compares file and types."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from landscape.results import KINDS, Result, Status, stored_fields
from landscape.results.spectra import CURVATURE, SECOND_MOMENTS
from landscape.store import SCHEMA_NAME, SCHEMA_VERSION

TARGET = Path(__file__).with_name("schema.md")
INTRODUCTION = f"""\
# Result files

Written by `make docs` from the result types in `landscape/results/`; do not edit. Schema version {SCHEMA_VERSION}.

A result file is HDF5, in the layout of netCDF-4: h5py, xarray (engines `h5netcdf` and `netcdf4`) and netCDF4 open it.

```python
import xarray

xarray.open_dataset("r.h5", group="small/plane", engine="h5netcdf").loss.plot()
xarray.open_datatree("r.h5", engine="netcdf4")
```

In Python without them: `Store("r.h5").find(kind="eigenpairs", label="small")` gives entries, each with `result`,
`provenance` and `manifest`.

## Layout

| where | what |
|---|---|
| `/` | attributes `schema_name` ({SCHEMA_NAME}), `schema_version`, `created` (UTC), `packed_bytes` (see below) |
| `/LABEL` | a group for each label: a minimum, or a pair `A--B` |
| `/LABEL/KIND` | a group for each result; `KIND-2`, `KIND-3` ... where one label has several of a kind |
| `/LABEL/KIND/FIELD` | a data set for each number or array |

One group may stand under several labels (a hard link): the same settings are one result.

**Arrays** have named axes (dimension scales), a checksum (fletcher32), and the attributes `units` and `long_name`.
Numbers are data sets without axes. **Text** is an attribute of the group; names with values and lists of text are
attributes that hold JSON, in which numbers that are not finite are null. What was not measured is left out.

Each group has, besides its fields, the attributes

| attribute | what |
|---|---|
| `kind` | the kind of result |
| `digest` | sha256 of `settings` as JSON with sorted keys and no spaces: what identifies the result |
| `content` | sha256 of all fields, checked when the result is read (from version 2) |
| `origin` | sha256 of digest, provenance and manifest, checked too (from version 2) |
| `provenance` | JSON: command, settings, versions, machine, threads, kernels, sha256 of the inputs, seconds, time |
| `manifest` | JSON: what fixes the bits beside the settings (threads, CPU, torch, chunks ...), to resume (version 2) |

`status` is one of {", ".join(f"`{status}`" for status in Status)}. `stopped` is a part that waits for `--resume`.

HDF5 does not reclaim what is replaced: a file that has grown by half since `packed_bytes` is copied without the waste.
Behind the HDF5 image lies a sha256 of the whole, where HDF5 does not look. A file that another program has written
to has lost it, and is then read by a process of its own first, which may crash or hang in place of yours.

`FILE.vectors.h5` beside `FILE.h5` has the same layout and holds eigenvectors. `FILE.h5.DIGEST.journal` holds the
products of a computation that was cut, until `--resume` has finished it.

## Kinds

Axes name the shape, in order. A field whose name is that of its only axis holds the positions along it. `unit` 1 is a
number without unit; `{CURVATURE}` is `loss^2 / param^2` where the operator is one of
{", ".join(f"`{name}`" for name in SECOND_MOMENTS)}. Fields marked * may be missing; those marked + tell how one run
went, and may differ between two runs of one result.
"""


def render() -> str:
    """The text of docs/schema.md."""
    return "\n".join([INTRODUCTION, *(_kind(kind) for kind in KINDS.values())])


def _kind(kind: type[Result]) -> str:
    doc = " ".join((kind.__doc__ or "").split())
    rows = [_row(field) for field in stored_fields(kind)]
    head = ["| field | axes | stored as | unit | what |", "|---|---|---|---|---|"]
    return "\n".join([f"### {kind.kind}\n", f"{doc}\n", *head, *rows, ""])


def _row(field: dataclasses.Field[Any]) -> str:
    about = field.metadata
    optional = field.default is None or field.default_factory is not dataclasses.MISSING
    marks = ("*" if optional else "") + ("+" if about.get("of_run") else "")
    kind = re.sub(r" \| None$", "", str(field.type))
    stored = {"Array": "array", "str": "text", "Status": "text", "float": "float64", "int": "int64", "bool": "bool"}
    axes = ", ".join(about.get("dims", ()))
    number = stored.get(kind) not in (None, "text")
    unit = about.get("unit", "1") if number else ""
    cells = (f"`{field.name}`{marks}", axes, stored.get(kind, "JSON"), unit, about["about"].replace("|", "\\|"))
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
