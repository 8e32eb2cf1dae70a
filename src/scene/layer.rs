//! The raster of one modality: from one file with all bands, or one file per band.

use super::codes::Unknown;
use super::legends::{Codes, Legend, recognise};
use super::numbers::{Conversion, already_gone, already_power};
use super::raster_file::RasterFile;
use super::{Gap, checks, units};
use crate::error::{Error, Result};
use crate::grid::Footprint;
use crate::modality::{Group, Mask, Modality, Raster};
use std::path::PathBuf;

/// Pixel sizes may differ from the nominal one by this share (some scenes have 9.995 m).
const PIXEL_TOLERANCE: f64 = 0.002;
/// Pixels whose sizes differ by a smaller share are the same.
const SAME_PIXEL: f64 = 1e-6;
/// Metres of a coordinate system may differ from those on the ground by this share.
const STRETCHED: f64 = 0.02;
/// No system of the Earth has coordinates beyond this, metres.
const FARTHEST_M: f64 = 1e8;
/// From the equator to a pole, in metres of UTM; so far beyond it is no place. The zones of the southern hemisphere count the
/// equator as this.
const POLE_M: f64 = 1e7;
const SAME_GROUND_M: f64 = 1e4;
/// Eastings of a zone of UTM where its metres are surely some.
const UTM_EASTINGS: std::ops::RangeInclusive<f64> = 0.0..=1e6;
/// Largest misfit of two grids, in pixels.
const ALIGNMENT_TOLERANCE: f64 = 0.01;

/// A channel: where it lies, and what its stored numbers mean.
pub(super) struct Channel<'a> {
    /// Its file.
    pub file: &'a RasterFile,
    /// Its band there.
    pub band: usize,
    m: &'a Group,
    /// Whose codes its classes are, if they are another map's.
    legend: Option<&'static Legend>,
    conversion: Conversion,
    /// What is done to its numbers, for people.
    notes: Vec<String>,
}

impl Channel<'_> {
    /// Pixels as the modality has them, NaN where they are no data; class codes that no legend has go to `unknown`.
    ///
    /// # Errors
    /// When they cannot be read, or are no class codes where such are expected.
    pub(super) fn read(&self, at: (usize, usize), size: (usize, usize), unknown: &mut Unknown) -> Result<Vec<f32>> {
        let mut values = self.file.read(&[self.band], at, size)?;
        if self.m.classes().is_some() {
            unknown.convert(self.m, self.legend, &mut values).map_err(|problem| self.wrong(problem))?;
        }
        let nothing = |v: f32| self.m.about.is_no_data(v) || self.m.about.is_no_echo(v);
        values.iter_mut().filter(|v| nothing(**v)).for_each(|v| *v = f32::NAN);
        self.conversion.apply(&mut values);
        Ok(values)
    }

    /// Makes sure that its values are what its tags made of them: they may speak of what was done already.
    ///
    /// # Errors
    /// When the pixels say that it was.
    fn check(&self, values: &[f32]) -> Result<()> {
        let offset = self.m.about.offset.unwrap_or(0.0);
        if self.conversion.moves() && already_gone(values.iter().copied(), offset) {
            return Err(self.wrong(format!(
                "Its tags say that an offset is to be taken off its band {}, and its pixels that it is gone already: many would be reflectances below zero; correct its tags (gdal_edit.py -offset 0)",
                self.file.bands[self.band]
            )));
        }
        if self.conversion.decibels() && already_power(values) {
            return Err(self.wrong(format!(
                "Its tags say that its band {} is in decibels, but read so it is within a decibel of 1 nearly everywhere: its numbers are linear power or amplitudes; correct the unit (gdal_edit.py -units)",
                self.file.bands[self.band]
            )));
        }
        Ok(())
    }

    fn wrong(&self, problem: String) -> Error {
        Error::file(&self.file.path, problem)
    }

    /// Notes what is done to its numbers, once for all channels.
    pub(super) fn tell(&self, notes: &mut Vec<String>) {
        let new: Vec<String> = self.notes.iter().filter(|note| !notes.contains(note)).cloned().collect();
        notes.extend(new);
    }

    /// Whether an offset is taken off.
    pub(super) fn moves(&self) -> bool {
        self.conversion.moves()
    }
}

/// Files that together hold one modality.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// All bands lie on the same grid.
    files: Vec<RasterFile>,
    /// How far from the scene's grid this layer's may be, in its own pixels.
    pub alignment: f64,
    /// Whose legend the scene says its classes are in.
    legend: Option<String>,
}

impl Layer {
    /// One file with all bands.
    pub(super) fn single(file: RasterFile) -> Self {
        Self { files: vec![file], alignment: ALIGNMENT_TOLERANCE, legend: None }
    }

    /// Several files on one grid, with their bands named.
    pub(super) fn of(files: Vec<RasterFile>) -> Self {
        Self { files, alignment: ALIGNMENT_TOLERANCE, legend: None }
    }

    /// One file per band, the band named by the file.
    ///
    /// # Errors
    /// When the bands differ in grid, or there are none.
    pub(super) fn per_band(mut files: Vec<RasterFile>) -> Result<Self> {
        for file in &mut files {
            let stem = file.path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
            if file.bands.len() == 1 {
                file.bands = vec![stem];
            }
        }
        let first = files.first().ok_or_else(|| Error::request("A modality without files."))?;
        if let Some(other) =
            files.iter().find(|f| (f.width, f.height, f.grid) != (first.width, first.height, first.grid))
        {
            return Err(Error::file(
                &other.path,
                format!("Its size or position differs from {}", first.path.display()),
            ));
        }
        Ok(Self { files, alignment: ALIGNMENT_TOLERANCE, legend: None }.on_own_grid())
    }

    /// Published tiles are cut from their sources' own pixel grids (B.2): up to one pixel off.
    #[must_use]
    pub(super) fn on_own_grid(mut self) -> Self {
        self.alignment = 1.0 + ALIGNMENT_TOLERANCE;
        self
    }

    /// With classes in the codes of this legend.
    #[must_use]
    pub(super) fn in_codes_of(mut self, legend: Option<&String>) -> Self {
        self.legend = legend.cloned();
        self
    }

    /// The header of the first file: grid, size and coordinate system of all.
    pub(super) fn header(&self) -> &RasterFile {
        &self.files[0]
    }

    /// Where the files are.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.files.iter().map(|f| f.path.clone()).collect();
        paths.dedup();
        paths
    }

    /// Ground it covers with pixels of `pixel_m`.
    pub(super) fn footprint(&self, pixel_m: f64) -> Footprint {
        let header = self.header();
        let [left, top, ..] = header.grid.unwrap_or_default();
        Footprint {
            crs: header.crs.clone(),
            left,
            top,
            width_m: header.width as f64 * pixel_m,
            height_m: header.height as f64 * pixel_m,
        }
    }

    /// Whether every channel is there.
    pub(super) fn holds(&self, m: &Group) -> bool {
        m.channels.iter().all(|channel| self.locate(m, channel).is_ok())
    }

    /// Whether the raster is as large as the extent.
    pub(super) fn covers_like(&self, extent: &Footprint, pixel_m: f64) -> bool {
        let own = self.footprint(pixel_m);
        own.width_m == extent.width_m && own.height_m == extent.height_m
    }

    /// Makes sure that pixels have this size in metres on the ground.
    ///
    /// # Errors
    /// When they have another size, or the coordinate system is not in metres on the ground.
    pub(super) fn check_pixels(&self, name: &str, pixel_m: f64) -> Result<()> {
        let header = self.header();
        if let Some([left, top, ..]) = header.grid
            && left.abs().max(top.abs()) > FARTHEST_M
        {
            return Err(Error::file(
                &header.path,
                format!(
                    "It begins at {left}, {top}, which is no place on Earth in any system; give it the right one (gdal_edit.py -a_ullr)"
                ),
            ));
        }
        if let Some(crs) = &header.crs
            && !crs.is_metric()?
        {
            return Err(Error::file(
                &header.path,
                format!(
                    "Its coordinate system {} does not measure the ground in metres; warp it to a UTM zone first (gdalwarp -t_srs EPSG:326zz -tr {pixel_m} {pixel_m})",
                    crs.short()
                ),
            ));
        }
        if let (Some(crs), Some([left, top, _, dy])) = (&header.crs, header.grid)
            && crs.is_utm()
            && let equator = if crs.0.starts_with("EPSG:327") { POLE_M } else { 0.0 }
            && (top + dy * header.height as f64 / 2.0 - equator).abs() > POLE_M + SAME_GROUND_M
        {
            return Err(Error::file(
                &header.path,
                format!(
                    "It begins at {left}, {top}, and no place on Earth lies there in {}; give it the right one (gdal_edit.py -a_ullr)",
                    crs.short()
                ),
            ));
        }
        if let (Some(crs), Some([left, top, dx, dy])) = (&header.crs, header.grid)
            && !(crs.is_utm() && UTM_EASTINGS.contains(&(left + dx * header.width as f64 / 2.0)))
        {
            let middle = (left + dx * header.width as f64 / 2.0, top + dy * header.height as f64 / 2.0);
            let metres = crs.metres_of_a_metre(middle)?;
            if metres.is_nan() || (metres - 1.0).abs() > STRETCHED {
                return Err(Error::file(
                    &header.path,
                    format!(
                        "1000 m of its coordinate system {} are {:.0} m on the ground there; warp it to a UTM zone first (gdalwarp -t_srs EPSG:326zz -tr {pixel_m} {pixel_m})",
                        crs.short(),
                        metres * 1000.0
                    ),
                ));
            }
        }
        for pixel in header.grid.iter().flat_map(|[_, _, dx, dy]| [*dx, -dy]) {
            if (pixel / pixel_m - 1.0).abs() > PIXEL_TOLERANCE {
                return Err(Error::file(
                    &header.path,
                    format!(
                        "{name} needs pixels of {pixel_m} m, the raster has {pixel} m; resample it first (gdalwarp -tr)"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// A channel of a modality, and what its stored numbers mean.
    ///
    /// # Errors
    /// When it is missing, or it cannot be told what its numbers mean.
    pub(super) fn channel<'a>(&'a self, m: &'a Group, name: &str) -> Result<Channel<'a>> {
        let (file, band) = self.locate(m, name)?;
        let wrong = |problem| Error::file(&file.path, problem);
        let (mut legend, mut done) = (None, Vec::new());
        if m.classes().is_some() {
            let found = file.codes(band)?;
            if let Codes::Other(other) = recognise(m, &found, self.legend.as_deref()).map_err(wrong)? {
                legend = Some(other);
                done.push(other.note(m, &found));
            }
        }
        let conversion = file.numbers[band].conversion(m).map_err(wrong)?;
        done.extend(conversion.note().map(str::to_owned));
        let stem = file.path.file_name().unwrap_or_default().to_string_lossy();
        let notes = done.into_iter().map(|done| format!("{stem}: {done}.")).collect();
        Ok(Channel { file, band, m, legend, conversion, notes })
    }

    /// The file and band that hold a channel.
    ///
    /// # Errors
    /// When it is missing.
    fn locate(&self, m: &Group, channel: &str) -> Result<(&RasterFile, usize)> {
        // A single band without a name can only stand for a modality with a single channel.
        let find = |file: &RasterFile| file.band(channel, m.channels.len() == 1);
        let found = self.files.iter().find_map(|file| find(file).ok().map(|band| (file, band)));
        match found {
            Some(found) => Ok(found),
            None => find(self.header()).map(|band| (self.header(), band)),
        }
    }

    /// The pixels of a modality in a window of the scene, and what is missing of them; suspicious findings go to `notes`.
    /// Pixels are valid where all channels are: no-data values and masks of the files, values that are not finite, and
    /// [codes of the modality](Modality::no_data) that say so make them invalid.
    ///
    /// # Errors
    /// When resolution, coordinate system or alignment do not fit, the window leaves the raster, or a band is missing.
    ///
    /// `offset_possible`: whether the product may carry the Sentinel-2 offset of newer processing baselines.
    pub(super) fn read(
        &self,
        m: &Modality,
        window: &Footprint,
        offset_possible: bool,
        notes: &mut Vec<String>,
    ) -> Result<(Raster, Option<Gap>)> {
        let header = self.header();
        let wrong = |what: String| Err(Error::file(&header.path, what));
        let (mut column, mut row) = (window.left / m.ground_m, -window.top / m.ground_m);
        self.check_pixels(&m.name, m.ground_m)?;
        let mut alignment = self.alignment.min(0.5);
        if let Some([left, top, dx, dy]) = header.grid {
            if header.crs != window.crs {
                let name = |crs: &Option<crate::grid::Crs>| crs.as_ref().map_or("none".into(), crate::grid::Crs::short);
                return wrong(format!(
                    "Its coordinate system is {}, the window's is {}; warp it to the same (gdalwarp -t_srs)",
                    name(&header.crs),
                    name(&window.crs)
                ));
            }
            // By its own pixels: over a scene of a thousand, one that is two thousandths shorter adds up to two.
            (column, row) = ((window.left - left) / dx, (window.top - top) / dy);
            if [dx, -dy].iter().any(|pixel| (pixel / m.ground_m - 1.0).abs() > SAME_PIXEL) {
                alignment = 0.5 + ALIGNMENT_TOLERANCE;
            }
        } else if window.crs.is_some() {
            return wrong("It has no georeference, while the other rasters of the scene have one".into());
        }
        let misfit = (column - column.round()).abs().max((row - row.round()).abs());
        if misfit > alignment {
            return wrong(format!(
                "Its pixels do not line up with the window: off by {:.2} of a {} m pixel, at most {:.2} are accepted; align it first (gdalwarp -tap)",
                misfit, m.ground_m, alignment
            ));
        }
        if misfit > ALIGNMENT_TOLERANCE {
            notes.push(format!(
                "{} lies {:.1} m beside the window's grid and was taken at the nearest pixel.",
                m.name,
                misfit * m.ground_m
            ));
        }
        let (column, row) = (column.round(), row.round());
        if column < 0.0 || row < 0.0 {
            return wrong(format!("The window begins {} m outside the raster", -(column.min(row)) * m.ground_m));
        }
        let (rows, columns) = window.pixels(m.ground_m)?;
        let mut data = Vec::with_capacity(m.channels.len() * rows * columns);
        if header.by_order {
            notes.push(format!(
                "{}: its bands have no names; they were taken in the order {}; give them names if that is another one.",
                header.path.file_name().unwrap_or_default().to_string_lossy(),
                m.channels.join(", ")
            ));
        }
        let (mut gap, mut moved): (Option<Gap>, bool) = (None, false);
        for channel in &m.channels {
            let found = self.channel(m, channel)?;
            let mut unknown = Unknown::default();
            let values = found.read((column as usize, row as usize), (columns, rows), &mut unknown)?;
            found.check(&values)?;
            moved |= found.moves();
            found.tell(notes);
            let file = found.file;
            let strange = unknown.note(m).map_err(|problem| Error::file(&file.path, problem))?;
            let stem = file.path.file_name().unwrap_or_default().to_string_lossy();
            notes.extend(strange.map(|note| format!("{stem}: {note}.")));
            let share = values.iter().filter(|v| v.is_nan()).count() as f64 / values.len().max(1) as f64;
            if share > gap.as_ref().map_or(0.0, |gap| gap.share) {
                gap = Some(Gap { file: file.path.clone(), band: channel.clone(), share });
            }
            data.extend(values);
        }
        let mut raster = Raster::new(m.channels.len(), rows, columns, data)?;
        if let Some(gap) = &gap {
            let known = |pixel: usize| (0..raster.channels).all(|c| !raster.channel(c)[pixel].is_nan());
            let valid = Mask::from_fn(raster.height, raster.width, known);
            raster = raster.with_valid(&valid)?;
            notes.push(gap.note(m, &raster));
        }
        let name = header.path.file_name().unwrap_or_default().to_string_lossy();
        units::check(m, &raster, &name, notes).map_err(|(channel, problem)| {
            let file = self.locate(m, &m.channels[channel]).map_or(header, |(file, _)| file);
            Error::file(&file.path, problem)
        })?;
        checks::values(m, &raster, header, offset_possible && !moved, notes);
        Ok((raster, gap))
    }
}
