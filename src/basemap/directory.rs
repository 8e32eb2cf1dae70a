//! What the directories of a PMTiles file claim, compared with what they are, before anything takes them at their word.

use super::pmtiles::GZIP;
use flate2::read::GzDecoder;
use std::io::{Error, Read, Result};

/// Bytes of the header.
pub(super) const HEADER: usize = 127;
/// Where it says how directories and the description are compressed.
const COMPRESSION: usize = 97;
/// The most that a directory or the description may be once it is unpacked: directories of whole countries have some 100 kB.
const LARGEST_UNPACKED: u64 = 8 << 20;
/// Numbers that every entry has: tile, run, length and place, a byte each at least.
const NUMBERS: usize = 4;

/// A part of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    pub offset: u64,
    pub length: u64,
}

/// Where a file says that its parts lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sections {
    pub root: Section,
    pub description: Section,
    /// Directories that the first one points to.
    pub leaves: Section,
    compression: u8,
}

impl Sections {
    /// From the first bytes of a file; `None` if these are too few.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(start.get(at..at + 8)?.try_into().ok()?));
        let section = |at: usize| Some(Section { offset: number(at)?, length: number(at + 8)? });
        let (root, description, leaves) = (section(8)?, section(24)?, section(40)?);
        Some(Self { root, description, leaves, compression: *start.get(COMPRESSION)? })
    }

    /// Whether a place lies in the directories that the first one points to.
    pub(super) fn is_leaf(&self, offset: u64) -> bool {
        offset.checked_sub(self.leaves.offset).is_some_and(|at| at < self.leaves.length)
    }

    /// Makes sure that the description is no larger than one can be.
    ///
    /// # Errors
    /// When it is, or cannot be unpacked.
    pub(super) fn check_description(&self, bytes: &[u8]) -> Result<()> {
        self.unpacked(bytes, "description").map(drop)
    }

    /// Makes sure that a directory has room for as many entries as it claims, and points to directories of the file alone.
    ///
    /// # Errors
    /// When it does not, or cannot be unpacked.
    pub(super) fn check_directory(&self, bytes: &[u8]) -> Result<()> {
        let plain = self.unpacked(bytes, "directory")?;
        let mut rest = plain.as_slice();
        let count = number(&mut rest)?;
        let most = (rest.len() / NUMBERS) as u64;
        if count > most {
            return Err(Error::other(format!("a directory claims {count} tiles and has room for {most}")));
        }
        let mut column = || (0..count).map(|_| number(&mut rest)).collect::<Result<Vec<u64>>>();
        let [_, runs, lengths, places] = [column()?, column()?, column()?, column()?];
        let mut end = 0u64;
        for ((run, length), place) in runs.iter().zip(&lengths).zip(&places) {
            // 0: right after the one before.
            let begin = if *place == 0 { end } else { place - 1 };
            end = begin.checked_add(*length).ok_or_else(|| Error::other("a directory points outside"))?;
            // An entry without tiles is another directory.
            if *run == 0 && end > self.leaves.length {
                return Err(Error::other("a directory points to one that is none"));
            }
        }
        Ok(())
    }

    fn unpacked(&self, bytes: &[u8], what: &str) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        match self.compression {
            GZIP => GzDecoder::new(bytes).take(LARGEST_UNPACKED + 1).read_to_end(&mut plain)?,
            _ => bytes.take(LARGEST_UNPACKED + 1).read_to_end(&mut plain)?,
        };
        if plain.len() as u64 > LARGEST_UNPACKED {
            let limit = LARGEST_UNPACKED >> 20;
            return Err(Error::other(format!("its {what} is larger than {limit} MiB once it is unpacked")));
        }
        Ok(plain)
    }
}

/// A number of as many bytes as it needs, seven bits in each, the lowest first.
fn number(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(|| Error::other("a directory is cut off"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Error::other("a directory is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn varint(mut value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn sections(compression: u8, leaves: u64) -> Sections {
        let part = |offset, length| Section { offset, length };
        Sections { root: part(127, 10), description: part(200, 2), leaves: part(300, leaves), compression }
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("packed")
    }

    #[test]
    fn directories_that_claim_more_than_they_hold_are_refused() {
        // Two tiles, and a directory of 40 bytes.
        let sound: Vec<u8> = [3u64, 0, 1, 5, 1, 1, 0, 100, 100, 40, 1, 0, 1].into_iter().flat_map(varint).collect();
        for compression in [1, GZIP] {
            let bytes = if compression == GZIP { packed(&sound) } else { sound.clone() };
            sections(compression, 40).check_directory(&bytes).expect("sound");
            let problem = sections(compression, 39).check_directory(&bytes).expect_err("beyond").to_string();
            assert!(problem.contains("points to one that is none"), "{problem}");
        }
        for claimed in [4, 1000, 1 << 40, u64::MAX] {
            let bytes = [varint(claimed), sound[1..].to_vec()].concat();
            let problem = sections(1, 40).check_directory(&bytes).expect_err("claims").to_string();
            assert!(problem.contains(&format!("claims {claimed} tiles")), "{problem}");
        }
        assert!(sections(1, 40).check_directory(&[0xff; 40]).is_err());
        assert!(sections(1, 40).check_directory(&[]).is_err());
    }

    #[test]
    fn what_unpacks_to_more_than_a_description_is_refused() {
        let large = packed(&vec![b' '; LARGEST_UNPACKED as usize + 1]);
        assert!(large.len() < 16 << 10);
        let problem = sections(GZIP, 0).check_description(&large).expect_err("large").to_string();
        assert!(problem.contains("its description is larger than 8 MiB"), "{problem}");
        sections(GZIP, 0).check_description(&packed(b"{}")).expect("sound");
    }
}
