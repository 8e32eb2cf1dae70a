#!/usr/bin/env bash
#
# What one would expect: a STAC item says that an asset's nodata is 0 (STAC 1.1
# 'nodata' on the asset), the file itself carries no nodata tag, as is common with
# JPEG 2000 files such as Sentinel-2's. odc.stac.load reads that
# nodata from the item (it puts it into the result's attributes), so it leaves
# such pixels out when it resamples.
#
# What happens instead: the item's nodata only labels and fills the RESULT. Source
# pixels with that value count as valid while resampling: bilinear blends 0 into
# the reflectance next to the swath edge, and for int16 with -9999 the average
# turns pure nodata areas into -10000, which the result's own nodata attribute of
# -9999 does not cover. Passing nodata=0 to load() changes nothing. With the
# default resampling (nearest) 0 stays 0, so tests on defaults do not show it.
#
# Why it matters: dark fringes along swath edges and cloud gaps that pass as
# valid reflectance, and elevation of -10000 m that passes as valid height.
#
# Cause: odc-loader has src_nodata_fallback for exactly this ("file is missing
# nodata marker"), but odc.stac.load never fills it from the item or from nodata=.
# A maintainer calls the item's value a fill value in odc-stac issue 196; the
# documentation of load() does not say that source pixels keep it as data.
#
# Versions: odc-stac 0.5.3, odc-loader 0.6.5, rasterio 1.4.4, pystac 1.15.2.
# Seen on 2026-11-30:
#   tagged file:    [0, 1500]
#   untagged file:  [0, 188, 1313, 1500], nodata attribute 0
#   untagged DEM:   [-10000, 100], nodata attribute -9999
set -euo pipefail
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 xarray==2026.9.0 rasterio==1.4.4 pystac==1.15.2 odc-stac==0.5.3 odc-loader==0.6.5 odc-geo==0.5.3 pyproj==3.7.2 dask==2026.8.0
cd "$work"
"$work/venv/bin/python" - <<'PY'
import logging
import os
import sys

import numpy as np
import odc.stac
import pystac
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

logging.disable(logging.CRITICAL)


def load(pixels, in_item, in_file, resampling, **extra):
    with rasterio.open(
        "t.tif", "w", driver="GTiff", width=100, height=100, count=1, dtype=pixels.dtype,
        crs="EPSG:32633", transform=from_origin(500000, 5000000, 10, 10), nodata=in_file,
    ) as dst:
        dst.write(pixels, 1)
    w, s, e, n = transform_bounds("EPSG:32633", "EPSG:4326", 500000, 4999000, 501000, 5000000)
    item = pystac.Item.from_dict({
        "type": "Feature", "stac_version": "1.1.0", "id": "t", "links": [], "bbox": [w, s, e, n],
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "geometry": {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]},
        "properties": {"datetime": "2026-06-01T10:00:00Z", "proj:code": "EPSG:32633",
                       "proj:shape": [100, 100], "proj:transform": [10, 0, 500000, 0, -10, 5000000]},
        "assets": {"a": {"href": os.path.abspath("t.tif"), "type": "image/tiff; application=geotiff", "roles": ["data"],
                         "nodata": in_item, "data_type": str(pixels.dtype)}},
    })
    out = odc.stac.load([item], crs="EPSG:32633", resolution=20, resampling=resampling, **extra).a
    return [int(v) for v in np.unique(out.values)], out.attrs.get("nodata")


optical = np.full((100, 100), 1500, "uint16")
optical[:, 50:] = 0
dem = np.full((100, 100), 100, "int16")
dem[:, 50:] = -9999
tagged = load(optical, 0, 0, "bilinear")
bare = load(optical, 0, None, "bilinear")
told = load(optical, 0, None, "bilinear", nodata=0)
dem_tagged = load(dem, -9999, -9999, "average")
dem_bare = load(dem, -9999, None, "average")
print("Optical, nodata in item and file: values %s, nodata attribute %s." % tagged)
print("Optical, nodata in the item only: values %s, nodata attribute %s." % bare)
print("The same with nodata=0 passed to load: values %s, nodata attribute %s." % told)
print("Elevation, nodata in item and file: values %s, nodata attribute %s." % dem_tagged)
print("Elevation, nodata in the item only: values %s, nodata attribute %s." % dem_bare)

if tagged != ([0, 1500], 0) or dem_tagged != ([-9999, 100], -9999):
    sys.exit("A twin failed: files with a nodata tag no longer load cleanly.")
if bare[1] != 0 or dem_bare[1] != -9999:
    sys.exit("The behaviour has changed: the item's nodata no longer reaches the attributes.")
if bare[0] == [0, 1500] or told[0] == [0, 1500] or dem_bare[0] == [-9999, 100]:
    sys.exit("The behaviour is gone: the item's nodata is now left out of the resampling.")
print("So the item's nodata is known to the loader, yet its pixels were averaged as data.")
PY
