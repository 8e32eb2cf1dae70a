//! What each modality does in one run: given, generated, or ignored.

use crate::error::{Error, Result};
use crate::modality::ModalityTable;
use serde::{Deserialize, Serialize};

/// The part a modality plays (specification E.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Its value is a condition.
    Given,
    /// It is sampled and kept.
    Generated,
    /// It is neither a condition nor wanted; [`IgnoredMode`](super::IgnoredMode) says what the network sees.
    Ignored,
}

/// One role per modality, in table order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(pub Vec<Role>);

impl std::ops::Deref for Roles {
    type Target = [Role];
    fn deref(&self) -> &[Role] {
        &self.0
    }
}

impl Roles {
    /// Given modalities, generated ones (`None`: all that are not given), the rest ignored.
    ///
    /// # Errors
    /// When a modality is both, or nothing is left to generate.
    pub fn new(table: &ModalityTable, given: &[usize], generated: Option<&[usize]>) -> Result<Self> {
        let mut roles = vec![if generated.is_some() { Role::Ignored } else { Role::Generated }; table.len()];
        for &i in generated.unwrap_or_default() {
            roles[i] = Role::Generated;
        }
        for &i in given {
            if generated.is_some_and(|generated| generated.contains(&i)) {
                return Err(Error::request(format!(
                    "{} is both given and to be generated; choose one.",
                    table[i].name
                )));
            }
            roles[i] = Role::Given;
        }
        let roles = Self(roles);
        roles.check(table)?;
        Ok(roles)
    }

    /// Whether this combination can be sampled.
    ///
    /// # Errors
    /// The reason why not, in one sentence.
    pub fn check(&self, table: &ModalityTable) -> Result<()> {
        if self.len() != table.len() {
            return Err(Error::request(format!("{} roles for {} modalities.", self.len(), table.len())));
        }
        if !self.contains(&Role::Generated) {
            return Err(Error::request("Nothing is left to generate: set at least one modality to generated."));
        }
        Ok(())
    }

    /// Whether a modality is generated.
    pub fn generated(&self, i: usize) -> bool {
        self.get(i) == Some(&Role::Generated)
    }

    /// Indices of all modalities with this role.
    pub fn with(&self, role: Role) -> Vec<usize> {
        (0..self.len()).filter(|&i| self[i] == role).collect()
    }
}
