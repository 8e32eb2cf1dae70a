"""What other software makes of the catalogue of a batch: catalogue.py STORE.

Wants pystac[validation], stac-geoparquet, pyarrow, duckdb, geopandas, odc-stac and rasterio. DuckDB's spatial extension comes from
its own server and is not asked for: geometry is read as WKB. QGIS's Python is asked where it is installed."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import duckdb
import geopandas
import odc.stac
import pyarrow.parquet
import pystac
import rasterio
import shapely
import stac_geoparquet.arrow
from pystac.validation import validate_dict

warnings.filterwarnings("ignore")
QGIS = """
import sys
from qgis.core import Qgis, QgsApplication, QgsRasterLayer, QgsVectorLayer
QgsApplication.setPrefixPath("/usr", True)
app = QgsApplication([], False)
app.initQgis()
layers = [QgsRasterLayer(path, "r", "gdal") for path in sys.argv[2:]]
table = QgsVectorLayer(sys.argv[1], "items", "ogr")
print(Qgis.QGIS_VERSION, sum(l.isValid() and l.crs().isValid() for l in layers), len(layers), table.isValid(), table.featureCount())
"""


def main(store: Path) -> int:
    faults = []

    def check(what: str, found, expected) -> None:
        ok = found == expected
        short = f"all {len(found)}" if ok and isinstance(found, list) and len(found) > 4 else found
        print(f"{'ok   ' if ok else 'FAULT'} {what}: {short}" + ("" if ok else f", expected {expected}"))
        if not ok:
            faults.append(what)

    done = sorted(path.parent.name for path in store.glob("jobs/*/job.json"))
    # pystac: collection and items, by the schemas that it brings along.
    raw = json.loads((store / "collection.json").read_text())
    check("pystac: collection valid by the schema of", [uri.split("/")[3] for uri in validate_dict(raw, extensions=[])], ["v1.1.0"])
    collection = pystac.Collection.from_file(str(store / "collection.json"))
    items = list(collection.get_items())
    check("pystac: items", sorted(item.id for item in items), done)
    versions = {uri.split("/")[3] for item in items for uri in validate_dict(item.to_dict(transform_hrefs=False), extensions=[])}
    check("pystac: items valid by the schema of", versions, {"v1.1.0"})
    check("pystac: items know their collection", {item.get_collection().id for item in items}, {collection.id})

    path = store / "items.parquet"
    table = pyarrow.parquet.read_table(path)
    check("pyarrow: rows", table.num_rows, len(done))
    back = list(stac_geoparquet.arrow.stac_table_to_items(table))
    check("stac-geoparquet: items", sorted(item["id"] for item in back), done)
    by_id = {item.id: item for item in items}
    geometry = sum(shapely.equals_exact(shapely.geometry.shape(item["geometry"]), shapely.geometry.shape(by_id[item["id"]].geometry), 1e-9) for item in back)
    check("stac-geoparquet: geometries as in the items", geometry, len(done))
    same = sum({k: v["href"] for k, v in item["assets"].items()} == {k: f"./jobs/{item['id']}/{Path(v.href).name}" for k, v in by_id[item["id"]].assets.items()} for item in back)
    check("stac-geoparquet: addresses of files", same, len(done))
    check("stac-geoparquet: items valid by the schema of", {uri.split("/")[3] for uri in validate_dict(back[0], extensions=[])}, {"v1.1.0"})

    frame = geopandas.read_parquet(path)
    check("geopandas: rows, coordinate system", (len(frame), str(frame.crs)), (len(done), "OGC:CRS84"))
    bounds = [round(float(v), 9) for v in frame.total_bounds]
    check("geopandas: bounds as in the collection", bounds, [round(v, 9) for v in raw["extent"]["spatial"]["bbox"][0]])

    rows = duckdb.sql(f"select id, typeof(geometry), typeof(datetime), bbox.xmin from '{path}' order by id").fetchall()
    check("duckdb: rows", [row[0] for row in rows], done)
    print(f"      duckdb {duckdb.__version__}: geometry is {rows[0][1]}, datetime is {rows[0][2]}")
    wanted = frame[frame.bounds.minx <= frame.bounds.minx.median()].id
    found = duckdb.sql(f"select id from '{path}' where bbox.xmin <= (select median(bbox.xmin) from '{path}')").fetchall()
    check("duckdb: a box of the map", sorted(row[0] for row in found), sorted(wanted))

    # odc-stac loads what the table describes, once addresses are absolute.
    item = pystac.Item.from_dict(back[0], migrate=False)
    band = sorted(key for key, asset in item.assets.items() if "image/tiff" in (asset.media_type or ""))[0]
    for asset in item.assets.values():
        asset.href = str((store / asset.href).resolve())
    cube = odc.stac.load([item], bands=[band])
    with rasterio.open(item.assets[band].href) as file:
        check(f"odc-stac: {band}", (cube[band].values[0] == file.read(1)).all(), True)

    rasters = [str(p) for p in sorted((store / "jobs" / done[0]).glob("*.tif"))]
    try:
        said = subprocess.run(["/usr/bin/python3", "-c", QGIS, str(path), *rasters], capture_output=True, text=True, env={"QT_QPA_PLATFORM": "offscreen", "HOME": "/tmp"})
        version, valid, all_, table_valid, features = said.stdout.strip().splitlines()[-1].rsplit(" ", 4)
        check(f"QGIS {version}: rasters opened", int(valid), int(all_))
        print(f"      QGIS {version}: items.parquet opened: {table_valid}, {features} features (needs a GDAL with Parquet)")
    except (FileNotFoundError, IndexError, ValueError):
        print("      QGIS's Python is not installed: not asked")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
