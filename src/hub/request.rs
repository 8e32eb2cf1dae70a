//! What is asked of an installation.

/// Which model, and how much of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InstallRequest {
    /// The model, by its name in the catalogue.
    pub id: String,
    /// Modalities whose autoencoders are wanted, by name; all if left out.
    pub modalities: Option<Vec<String>>,
    /// Half-precision weights.
    pub half: bool,
}
