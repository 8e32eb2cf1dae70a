//! Safetensors files, read and written in one pass that hashes them on the way, without a second copy of them in memory.

use super::tensor_data::TensorData;
use crate::error::{Error, Result};
use crate::files::{self, hex};
use candle_core::DType;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Longest header accepted, bytes: the limit of the format's own library.
const LONGEST_HEADER: u64 = 100_000_000;
/// Read and hashed at once, bytes.
const PIECE: usize = 1 << 20;

/// Everything in a file.
pub struct Content {
    /// By name.
    pub tensors: BTreeMap<String, TensorData>,
    /// What whoever wrote the file noted in it, by name.
    pub notes: HashMap<String, String>,
    /// Lower-case hexadecimal SHA-256 of the whole file.
    pub sha256: String,
}

/// Reads all tensors.
///
/// # Errors
/// When the file is missing, truncated, or no such file of floating-point tensors.
pub fn read(path: &Path) -> Result<Content> {
    let mut file = Hashed::open(path)?;
    let metadata = file.header()?;
    let mut tensors = BTreeMap::new();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            other => return Err(bad(path, format!("tensor {name} has type {other:?}, expected floating point"))),
        };
        // The header was held against the file's length: no more is asked for than the file has.
        let bytes = file.bytes(info.data_offsets.1 - info.data_offsets.0)?;
        tensors.insert(name, TensorData { dtype, shape: info.shape.clone(), bytes });
    }
    if file.inner.read(&mut [0]).map_err(|e| Error::io(path, "read", &e))? > 0 {
        return Err(bad(path, "it has become longer while it was read".into()));
    }
    let notes = metadata.metadata().clone().unwrap_or_default();
    Ok(Content { tensors, notes, sha256: hex(&file.hasher.finalize()) })
}

/// Number of values in a file, from its header alone.
///
/// # Errors
/// As [`read`].
pub(super) fn count(path: &Path) -> Result<usize> {
    let metadata = Hashed::open(path)?.header()?;
    Ok(metadata.tensors().values().map(|info| info.shape.iter().product::<usize>()).sum())
}

fn bad(path: &Path, what: String) -> Error {
    if let Some(what) = super::pth::stand_in(path) {
        return Error::file(path, what);
    }
    Error::file(path, format!("This is not a readable safetensors file (truncated?): {what}"))
}

/// Writes tensors as they are, with notes for whoever reads the file; the SHA-256 of what was written. Places are laid out
/// as the format's own library does: by type, the widest first, then by name.
///
/// # Errors
/// When the file cannot be written, or a tensor's bytes do not fit its shape; `path` names it.
pub(super) fn write<'a>(
    path: &Path,
    file: &mut File,
    tensors: impl Iterator<Item = (&'a str, &'a TensorData)>,
    notes: Option<HashMap<String, String>>,
) -> Result<String> {
    let mut tensors: Vec<(Dtype, &str, &TensorData)> =
        tensors.map(|(name, data)| (stored_type(data.dtype), name, data)).collect();
    tensors.sort_by(|(left, name, _), (right, other, _)| right.cmp(left).then(name.cmp(other)));
    let mut end = 0;
    let places = tensors.iter().map(|(dtype, name, data)| {
        let start = end;
        end += data.bytes.len();
        let info = TensorInfo { dtype: *dtype, shape: data.shape.clone(), data_offsets: (start, end) };
        ((*name).to_owned(), info)
    });
    let places: Vec<_> = places.collect();
    let metadata = Metadata::new(notes, places).map_err(|e| Error::file(path, e.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| Error::file(path, e.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut hasher = Sha256::new();
    let length = (header.len() as u64).to_le_bytes();
    for bytes in [&length[..], &header[..]].into_iter().chain(tensors.iter().map(|(.., data)| data.bytes.as_slice())) {
        for piece in bytes.chunks(PIECE) {
            file.write_all(piece).map_err(|e| Error::io(path, "write", &e))?;
            hasher.update(piece);
        }
    }
    Ok(hex(&hasher.finalize()))
}

fn stored_type(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F64 => Dtype::F64,
        _ => Dtype::F32,
    }
}

/// A file that is hashed as it is read.
struct Hashed<'a> {
    path: &'a Path,
    inner: File,
    length: u64,
    hasher: Sha256,
}

impl<'a> Hashed<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let inner = files::open(path).map_err(|e| Error::io(path, "read", &e))?;
        let length = inner.metadata().map_err(|e| Error::io(path, "read", &e))?.len();
        Ok(Self { path, inner, length, hasher: Sha256::new() })
    }

    /// The next bytes.
    fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        for piece in bytes.chunks_mut(PIECE) {
            self.inner.read_exact(piece).map_err(|e| match e.kind() {
                std::io::ErrorKind::UnexpectedEof => bad(self.path, "it ends too early".into()),
                _ => Error::io(self.path, "read", &e),
            })?;
            self.hasher.update(piece);
        }
        Ok(bytes)
    }

    /// What the file says of its tensors: their places follow each other without gaps to the end of the file.
    fn header(&mut self) -> Result<Metadata> {
        let first = self.bytes(8)?;
        let length = first.iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let rest = self.length.saturating_sub(8);
        if length > LONGEST_HEADER.min(rest) {
            return Err(bad(self.path, format!("its header would be {length} bytes long")));
        }
        let header = self.bytes(length as usize)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| bad(self.path, e.to_string()))?;
        if metadata.data_len() as u64 != rest - length {
            let text = format!("its tensors take {} bytes, and it holds {}", metadata.data_len(), rest - length);
            return Err(bad(self.path, text));
        }
        Ok(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{sha256_of, write_tensors};

    #[test]
    fn one_pass_gives_the_tensors_and_the_hash_of_the_file() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.safetensors");
        let tensor = |n: usize| TensorData::new(vec![n], &(0..n).map(|i| i as f32).collect::<Vec<_>>());
        let whole: BTreeMap<String, TensorData> =
            [("b", 5), ("a", 400_000), ("c", 0)].map(|(name, n)| (name.to_owned(), tensor(n))).into();
        write_tensors(&path, &whole, Some([("note".to_owned(), "x".to_owned())].into())).expect("written");
        let found = read(&path).expect("read");
        assert_eq!(found.notes["note"], "x");
        assert_eq!(found.sha256, sha256_of(&path).expect("hash"));
        assert_eq!(count(&path).expect("count"), 400_005);
        let of = |tensors: BTreeMap<String, TensorData>| {
            tensors.into_iter().map(|(name, t)| (name, t.shape, t.bytes)).collect::<Vec<_>>()
        };
        assert_eq!(of(found.tensors), of(whole));
    }

    #[test]
    fn files_are_those_of_the_formats_own_library() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.safetensors");
        let half = TensorData { dtype: DType::F16, shape: vec![3], bytes: vec![1, 2, 3, 4, 5, 6] };
        let tensors: BTreeMap<String, TensorData> =
            [("a".to_owned(), half), ("b".to_owned(), TensorData::new(vec![2, 1], &[1.0, 2.0]))].into();
        let sha256 = write_tensors(&path, &tensors, None).expect("written");
        let written = std::fs::read(&path).expect("read");
        let views = tensors.iter().map(|(name, t)| {
            (name, safetensors::tensor::TensorView::new(stored_type(t.dtype), t.shape.clone(), &t.bytes).expect("view"))
        });
        assert_eq!(written, safetensors::serialize(views, None).expect("bytes"));
        assert_eq!(sha256, sha256_of(&path).expect("hash"));
    }

    #[test]
    fn claims_beyond_the_file_are_refused_before_memory_is_taken_for_them() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.safetensors");
        let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
        let huge = r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}"#;
        let long = r#"{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#;
        for (bytes, word) in [
            (u64::MAX.to_le_bytes().to_vec(), "header"),
            ([&99_999_999u64.to_le_bytes()[..], b"{}"].concat(), "header"),
            (header(huge), "verflow"),
            (header(long), "4000000000000"),
            (b"\x01\x02\x03".to_vec(), "too early"),
        ] {
            std::fs::write(&path, bytes).expect("written");
            let problem = read(&path).err().expect("refused").to_string();
            assert!(problem.contains(word) && problem.contains("a.safetensors"), "{problem}");
        }
    }
}
