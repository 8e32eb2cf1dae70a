//! Files and folders as Major TOM publishes them, made of the bundled scenes.

use super::scene;
use copgen::modality::ModalityTable;
use gdal::Dataset;
use gdal::raster::RasterCreationOptions;
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names of products as real ones are.
pub const L2A: &str = "S2B_MSIL2A_20220119T143729_N0510_R096_T18HYE_20240509T123456";
pub const L1C: &str = "S2B_MSIL1C_20220119T143729_N0301_R096_T18HYE_20220119T180123";
pub const S1: &str = "S1A_IW_GRDH_1SDV_20220115T095000_20220115T095025_041480_04EE9B_rtc";

/// A row.
#[derive(Clone, Default)]
pub struct Row {
    pub cell: String,
    pub product: String,
    pub time: String,
    pub cloud: f64,
    /// By column.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// In an index: address, and row group.
    pub link: Option<(String, i64)>,
}

/// How to write a file.
#[derive(Clone)]
pub struct Format {
    pub codec: Compression,
    pub rows_per_group: usize,
    pub statistics: bool,
    /// Columns left out.
    pub without: Vec<&'static str>,
    pub dictionary: bool,
}

impl Default for Format {
    fn default() -> Self {
        Self { codec: Compression::SNAPPY, rows_per_group: 1, statistics: true, without: vec![], dictionary: true }
    }
}

/// Writes one band of a raster as a raster of its own.
pub fn single(source: &Path, band: usize, target: &Path) {
    std::fs::create_dir_all(target.parent().expect("folder")).expect("folder");
    let from = Dataset::open(source).expect("raster");
    let options = gdal::programs::raster::BuildVRTOptions::new(["-b", &band.to_string()]).expect("options");
    let vrt = gdal::programs::raster::build_vrt(None, std::slice::from_ref(&from), Some(options)).expect("bands");
    let driver = gdal::DriverManager::get_driver_by_name("GTiff").expect("driver");
    let options = RasterCreationOptions::from_iter(["COMPRESS=DEFLATE"]);
    vrt.create_copy(&driver, target, &options).expect("copy").close().expect("written");
}

/// The bands of a family of a bundled scene as blobs, with the cloud mask for Sentinel-2 L1C.
pub fn blobs(name: &str, family: &str) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("folder");
    let mut all = BTreeMap::new();
    for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
        if m.family != family && !(m.name == "cloud_mask" && family == "S2L1C") {
            continue;
        }
        let source = scene(name).join(format!("{}.tif", m.name));
        let dataset = Dataset::open(&source).expect("raster");
        for i in 1..=dataset.raster_count() {
            let band = gdal::Metadata::description(&dataset.rasterband(i).expect("band")).expect("description");
            let target = dir.path().join("band.tif");
            single(&source, i, &target);
            all.insert(band, std::fs::read(&target).expect("blob"));
        }
    }
    all
}

/// A row of a bundled scene, in the cell it is named after.
pub fn row(name: &str, family: &str, product: &str, time: &str) -> Row {
    let cell = name.split('_').take(2).collect::<Vec<_>>().join("_");
    Row { cell, product: product.into(), time: time.into(), cloud: 2.5, blobs: blobs(name, family), link: None }
}

/// Writes rows as a parquet file with the columns of Major TOM Core.
pub fn write(path: &Path, rows: &[Row], format: &Format) {
    let mut columns: Vec<(String, &str)> = vec![
        ("product_id".into(), "binary product_id (UTF8)"),
        ("grid_cell".into(), "binary grid_cell (UTF8)"),
        ("grid_row_u".into(), "int32 grid_row_u"),
        ("grid_col_r".into(), "int32 grid_col_r"),
        ("timestamp".into(), "binary timestamp (UTF8)"),
        ("cloud_cover".into(), "double cloud_cover"),
        ("nodata".into(), "double nodata"),
        ("centre_lat".into(), "double centre_lat"),
        ("centre_lon".into(), "double centre_lon"),
        ("crs".into(), "binary crs (UTF8)"),
    ];
    if rows.iter().any(|row| row.link.is_some()) {
        columns.push(("parquet_url".into(), "binary parquet_url (UTF8)"));
        columns.push(("parquet_row".into(), "int64 parquet_row"));
    }
    let bands: std::collections::BTreeSet<&String> = rows.iter().flat_map(|row| row.blobs.keys()).collect();
    columns.extend(bands.iter().map(|band| ((*band).clone(), "binary")));
    columns.retain(|(name, _)| !format.without.contains(&name.as_str()));
    let line = |(name, kind): &(String, &str)| match *kind {
        "binary" => format!("optional binary {name};"),
        kind => format!("optional {kind};"),
    };
    let schema = format!("message schema {{ {} }}", columns.iter().map(line).collect::<String>());
    let schema = Arc::new(parse_message_type(&schema).expect("schema"));
    let statistics = if format.statistics { EnabledStatistics::Chunk } else { EnabledStatistics::None };
    let properties = WriterProperties::builder()
        .set_compression(format.codec)
        .set_statistics_enabled(statistics)
        .set_dictionary_enabled(format.dictionary)
        .build();
    let file = std::fs::File::create(path).expect("file");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).expect("writer");
    for group in rows.chunks(format.rows_per_group) {
        let mut into = writer.next_row_group().expect("group");
        let mut names = columns.iter();
        while let Some(mut column) = into.next_column().expect("column") {
            let name = names.next().expect("name").0.as_str();
            let text = |row: &Row| -> Option<Vec<u8>> {
                match name {
                    "product_id" => Some(row.product.clone().into()),
                    "grid_cell" => Some(row.cell.clone().into()),
                    "timestamp" => Some(row.time.clone().into()),
                    "crs" => Some(b"EPSG:EPSG:32718".to_vec()),
                    "parquet_url" => row.link.as_ref().map(|link| link.0.clone().into()),
                    band => row.blobs.get(band).cloned(),
                }
            };
            let levels =
                |there: &dyn Fn(&Row) -> bool| group.iter().map(|row| i16::from(there(row))).collect::<Vec<_>>();
            match column.untyped() {
                ColumnWriter::ByteArrayColumnWriter(w) => {
                    let values: Vec<ByteArray> = group.iter().filter_map(text).map(ByteArray::from).collect();
                    w.write_batch(&values, Some(&levels(&|row| text(row).is_some())), None).expect("values");
                }
                ColumnWriter::DoubleColumnWriter(w) => {
                    let values: Vec<f64> = group.iter().map(|row| row.cloud).collect();
                    w.write_batch(&values, Some(&levels(&|_| true)), None).expect("values");
                }
                ColumnWriter::Int32ColumnWriter(w) => {
                    w.write_batch(&vec![7; group.len()], Some(&levels(&|_| true)), None).expect("values");
                }
                ColumnWriter::Int64ColumnWriter(w) => {
                    let values: Vec<i64> = group.iter().filter_map(|row| Some(row.link.as_ref()?.1)).collect();
                    w.write_batch(&values, Some(&levels(&|row| row.link.is_some())), None).expect("values");
                }
                _ => panic!("{name} is of no kind that was declared"),
            }
            column.close().expect("column");
        }
        into.close().expect("group");
    }
    writer.close().expect("file");
}

/// A folder in the layout of the published subset, with a bundled scene in its cell.
pub fn layout(root: &Path, name: &str) -> PathBuf {
    let cell = name.split('_').take(2).collect::<Vec<_>>().join("_");
    let (row, column) = cell.split_once('_').expect("cell");
    for m in ModalityTable::published().iter().filter(|m| !m.is_scalar()) {
        let source = scene(name).join(format!("{}.tif", m.name));
        let dataset = Dataset::open(&source).expect("raster");
        for i in 1..=dataset.raster_count() {
            let band = gdal::Metadata::description(&dataset.rasterband(i).expect("band")).expect("description");
            let path = match m.name.as_str() {
                "LULC" => format!("Core-LULC/{row}/{column}/{cell}_2021.tif"),
                "DEM" => format!("Core-DEM/{row}/{cell}/id/DEM.tif"),
                "cloud_mask" => format!("Core-S2L1C/{row}/{cell}/{L1C}/cloud_mask.tif"),
                "S1RTC" => format!("Core-S1RTC/{row}/{cell}/{S1}/{band}.tif"),
                family if family.starts_with("S2L1C") => format!("Core-S2L1C/{row}/{cell}/{L1C}/{band}.tif"),
                _ => format!("Core-S2L2A/{row}/{cell}/{L2A}/{band}.tif"),
            };
            single(&source, i, &root.join(path));
        }
    }
    root.to_path_buf()
}
