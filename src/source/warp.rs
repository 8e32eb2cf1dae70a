//! Descriptions of rasters seen on another grid, which GDAL opens like files (VRT driver, warped datasets).

use super::pixel_grid::{PixelGrid, Resampling};
use gdal::spatial_ref::SpatialRef;
use gdal::{GeoTransform, GeoTransformEx};

/// Stands for "nothing here" while warping; no measurement is below.
pub(super) const NOTHING: f32 = -1e30;

/// What a source says is nothing; masks are followed without being told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gaps {
    /// The value that stands for nothing.
    pub no_data: Option<f64>,
    /// Number of the band that says how opaque the others are.
    pub alpha: Option<usize>,
    /// Number of the band that is meant.
    pub band: usize,
}

/// A description of the source seen on the grid, which GDAL opens like a file (VRT driver, warped datasets).
///
/// # Errors
/// When GDAL cannot write down the coordinate systems, or pixels have no size.
pub(super) fn warped(
    name: &str,
    transform: &GeoTransform,
    own: &SpatialRef,
    grid: &PixelGrid,
    target: &SpatialRef,
    resampling: Resampling,
    gaps: Gaps,
) -> gdal::errors::Result<String> {
    let escaped =
        |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let numbers = |t: &GeoTransform| t.map(|v| format!("{v:.17e}")).join(",");
    let onto = grid.footprint.geo_transform(grid.pixel_m);
    let (own_back, onto_back) = (transform.invert()?, onto.invert()?);
    let (width, height) = grid.size();
    let (own_wkt, target_wkt) = (own.to_wkt()?, target.to_wkt()?);
    let none = gaps.no_data.map_or(String::new(), |v| format!("<SrcNoDataReal>{v}</SrcNoDataReal>"));
    let alpha = gaps.alpha.map_or(String::new(), |band| format!("<SrcAlphaBand>{band}</SrcAlphaBand>"));
    // Only 0 is nothing, whatever the largest number that a band of this kind can hold.
    let opaque = gaps.alpha.map_or("", |_| "<Option name=\"SRC_ALPHA_MAX\">1</Option>");
    Ok(format!(
        "<VRTDataset rasterXSize=\"{width}\" rasterYSize=\"{height}\" subClass=\"VRTWarpedDataset\">\
         <SRS>{target}</SRS><GeoTransform>{onto}</GeoTransform>\
         <VRTRasterBand dataType=\"Float32\" band=\"1\" subClass=\"VRTWarpedRasterBand\"/>\
         <GDALWarpOptions><WarpMemoryLimit>6.4e7</WarpMemoryLimit><ResampleAlg>{algorithm}</ResampleAlg>\
         <WorkingDataType>Float32</WorkingDataType><Option name=\"INIT_DEST\">{NOTHING:e}</Option>{opaque}\
         <SourceDataset relativeToVRT=\"0\">{source}</SourceDataset>\
         <Transformer><GenImgProjTransformer>\
         <SrcGeoTransform>{from}</SrcGeoTransform><SrcInvGeoTransform>{from_back}</SrcInvGeoTransform>\
         <DstGeoTransform>{onto}</DstGeoTransform><DstInvGeoTransform>{onto_back}</DstInvGeoTransform>\
         <ReprojectTransformer><ReprojectionTransformer>\
         <SourceSRS>{own}</SourceSRS><TargetSRS>{target}</TargetSRS>\
         </ReprojectionTransformer></ReprojectTransformer></GenImgProjTransformer></Transformer>\
         <BandList><BandMapping src=\"{band}\" dst=\"1\">{none}<DstNoDataReal>{NOTHING:e}</DstNoDataReal></BandMapping></BandList>\
         {alpha}</GDALWarpOptions></VRTDataset>",
        algorithm = resampling.algorithm(),
        band = gaps.band,
        source = escaped(name),
        own = escaped(&own_wkt),
        target = escaped(&target_wkt),
        from = numbers(transform),
        from_back = numbers(&own_back),
        onto = numbers(&onto),
        onto_back = numbers(&onto_back),
    ))
}
