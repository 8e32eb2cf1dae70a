//! The questions a model is asked.

/// A question, by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Task {
    /// Encoding and decoding alone.
    Reconstruct,
    /// Sentinel-2 L2A from everything else.
    Rest,
    /// Sentinel-2 L1C, radar and elevation, each from everything else.
    Others,
    /// Sentinel-2 L2A at 20 m and 60 m from its 10 m bands.
    Bands,
    /// Sentinel-2 L2A from elevation, land cover and radar.
    Radar,
    /// The same under a sky said to be clear.
    ClearRadar,
    /// Sentinel-2 L2A at 10 m from radar and land cover, under a sky said to be clear.
    RadarCover,
    /// Sentinel-2 L2A at 10 m from radar alone, under a sky said to be clear.
    RadarAlone,
    /// Sentinel-2 L2A at 10 m from L1C alone.
    Level,
    /// Whether a classifier tells Sentinel-2 L2A from radar from real windows.
    ToldApart,
    /// Land cover from Sentinel-2 L2A.
    Cover,
    /// Location and date from everything else.
    Where,
    /// Spread of Sentinel-2 L2A as more is given.
    Certainty,
    /// Realisations beside repeated acquisitions of one place.
    Dates,
    /// Clear sky asked for where it was cloudy.
    Clear,
    /// Cloud-free views that keep the clear pixels of a cloudy image.
    #[value(name = "cloudfree")]
    CloudFree,
}

impl Task {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 16] = [
        Self::Reconstruct,
        Self::Rest,
        Self::Others,
        Self::Bands,
        Self::Radar,
        Self::ClearRadar,
        Self::RadarCover,
        Self::RadarAlone,
        Self::Level,
        Self::ToldApart,
        Self::Cover,
        Self::Where,
        Self::Certainty,
        Self::Dates,
        Self::Clear,
        Self::CloudFree,
    ];

    /// Its name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reconstruct => "reconstruct",
            Self::Rest => "rest",
            Self::Others => "others",
            Self::Bands => "bands",
            Self::Radar => "radar",
            Self::ClearRadar => "clear_radar",
            Self::RadarCover => "radar_cover",
            Self::RadarAlone => "radar_alone",
            Self::Level => "level",
            Self::ToldApart => "told_apart",
            Self::Cover => "cover",
            Self::Where => "where",
            Self::Certainty => "certainty",
            Self::Dates => "dates",
            Self::Clear => "clear",
            Self::CloudFree => "cloudfree",
        }
    }

    /// What is asked.
    pub fn question(self) -> &'static str {
        match self {
            Self::Reconstruct => "encoding and decoding alone",
            Self::Rest => "Sentinel-2 L2A from everything else",
            Self::Others => "Sentinel-2 L1C, radar and elevation, each from everything else",
            Self::Bands => "Sentinel-2 L2A at 20 m and 60 m from its 10 m bands",
            Self::Radar => "Sentinel-2 L2A from elevation, land cover and radar",
            Self::ClearRadar => "the same under a sky said to be clear",
            Self::RadarCover => "Sentinel-2 L2A at 10 m from radar and land cover, under a clear sky",
            Self::RadarAlone => "Sentinel-2 L2A at 10 m from radar alone, under a clear sky",
            Self::Level => "Sentinel-2 L2A at 10 m from L1C alone",
            Self::ToldApart => "whether Sentinel-2 L2A from radar is told from real windows by a small classifier",
            Self::Cover => "land cover from Sentinel-2 L2A",
            Self::Where => "location and date from everything else",
            Self::Certainty => "spread of Sentinel-2 L2A as more is given",
            Self::Dates => "realisations beside repeated acquisitions of one place",
            Self::Clear => "clear sky asked for where it was cloudy",
            Self::CloudFree => "what lies under clouds, the clear pixels kept",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_task_is_known_by_the_name_it_reports() {
        assert_eq!(Task::ALL, Task::value_variants());
        for task in Task::ALL {
            assert_eq!(Task::from_str(task.name(), false), Ok(task));
        }
        assert!(Task::from_str("guess", true).is_err());
    }
}
