"""What other software makes of an export: `readers.py FOLDER`, which holds a STAC item and its files."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import odc.stac
import pystac
import rasterio
import rioxarray
import stac_geoparquet.arrow
import stackstac
from pystac.validation import validate_dict

warnings.filterwarnings("ignore")
SIDE = 96
# Bands of 10 m, and those of 20, 30 and 60 m, as single files: two realisations, mean and variance.
BANDS = {"S2L2A_10m": 4, "S2L2A_20m": 6, "S2L2A_60m": 2, "S1RTC": 2, "DEM": 1, "LULC": 1}


def main(folder: Path) -> int:
    path = next(folder.glob("*_item.json"))
    raw = json.loads(path.read_text())
    wanted = 4 * sum(BANDS.values())
    rasters = {key: asset for key, asset in raw["assets"].items() if asset["type"].startswith("image/tiff")}
    faults = []

    def check(what: str, found, expected) -> None:
        ok = found == expected
        print(f"{'ok   ' if ok else 'FAULT'} {what}: {found}" + ("" if ok else f", expected {expected}"))
        if not ok:
            faults.append(what)

    check("item: bands, each an asset of its own", len(rasters), wanted)
    # By the schemas that pystac brings along; those of extensions lie on the web.
    schemas = validate_dict(raw, extensions=[])
    check("pystac: valid by the schema of", [uri.split("/")[3] for uri in schemas], ["v1.1.0"])
    item = pystac.Item.from_dict(raw, href=str(path), migrate=False)
    item.make_asset_hrefs_absolute()
    # GDAL itself: grid, type, no data, scale and unit are those of the item.
    same = 0
    for key, asset in rasters.items():
        with rasterio.open(folder / asset["href"]) as file:
            band = asset["raster:bands"][0]
            same += (
                list(file.shape) == asset["proj:shape"]
                and list(file.transform)[:6] == asset["proj:transform"]
                and file.dtypes[0] == band["data_type"]
                and file.nodata == band.get("nodata")
                and file.scales[0] == band.get("scale", 1)
                and (file.units[0] or "") == band.get("unit", "")
                and file.crs.to_epsg() == raw["properties"]["proj:epsg"]
            )
    check("rasterio: grid, type, no data, scale and unit as in the item", same, wanted)

    def values(key: str) -> np.ndarray:
        with rasterio.open(folder / rasters[key]["href"]) as file:
            return file.read(1)

    tens = next(key for key in rasters if key.startswith("r000_S2L2A_10m"))
    loaded = odc.stac.load([item])
    check("odc-stac: bands", len(loaded.data_vars), wanted)
    check("odc-stac: size", (loaded.sizes["y"], loaded.sizes["x"]), (SIDE, SIDE))
    check("odc-stac: pixels of 10 m", bool((loaded[tens].values[0] == values(tens)).all()), True)
    check("odc-stac: type, no data", (str(loaded[tens].dtype), loaded[tens].attrs.get("nodata")), ("uint16", 0))
    # A grid that does not lie on multiples of its pixels is read as it is only if that is asked for.
    left, top = (rasters[tens]["proj:transform"][k] for k in (2, 5))
    snapped = left % 10 == 0 and top % 10 == 0
    stack = stackstac.stack([item.to_dict()], snap_bounds=snapped, rescale=True)
    check("stackstac: bands", stack.sizes["band"], wanted)
    check("stackstac: size", (stack.sizes["y"], stack.sizes["x"]), (SIDE, SIDE))
    found = stack.sel(band=tens).isel(time=0).values
    check("stackstac: reflectance", bool(np.allclose(found, values(tens) * 1e-4, atol=1e-9)), True)
    table = stac_geoparquet.arrow.parse_stac_items_to_arrow([raw])
    back = list(stac_geoparquet.arrow.stac_table_to_items(table.read_all() if hasattr(table, "read_all") else table))
    check("stac-geoparquet: assets after a round trip", len([a for a in back[0]["assets"].values() if a]), len(raw["assets"]))
    for statistic, digits in (("mean", 4), ("variance", 8)):
        key = next(k for k in rasters if "_S2L2A_10m_" in k and k.endswith(statistic))
        raster = rioxarray.open_rasterio(folder / rasters[key]["href"], mask_and_scale=True)
        ratio = float(raster.mean()) / float(values(key).mean())
        check(f"rioxarray: {statistic} in units of reflectance", round(ratio * 10**digits, 3), 1.0)
        print(f"      its unit: {raster.attrs.get('units')}")
    classes = next(k for k in rasters if k.endswith("r000_LULC"))
    with rasterio.open(folder / rasters[classes]["href"]) as file:
        codes = set(np.unique(file.read(1)))
        overview = file.overviews(1)
        small = set(np.unique(file.read(1, out_shape=(SIDE // 2, SIDE // 2)))) if overview else codes
    check("rasterio: overviews hold no class that is not there", small <= codes, True)
    return 1 if faults else 0


sys.exit(main(Path(sys.argv[1])))
