//! Reader of PyTorch `.pth` weight files: a zip container with a pickle index and raw storages (A.3).
//!
//! The ready-made reader of candle clones memo entries (a small file can ask for unbounded memory) and panics on
//! malformed arguments, hence this one.

use super::pickle::{Step, Storage, TensorRef, read_index};
use super::tensor_data::TensorData;
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

/// Largest pickle index accepted; the published one is about 100 kB.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// Tensors together may need this many times the file's size; more than 1 because they may share storages.
const MAX_GROWTH: u64 = 4;

/// Reads all tensors of a flat state dict.
///
/// # Errors
/// When the file is not such a container, is truncated, or holds anything but tensors by name.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, TensorData>> {
    let bad = |what: String| Error::file(path, format!("This is not a readable PyTorch weight file: {what}"));
    let file = crate::files::open(path).map_err(|e| Error::io(path, "open", &e))?;
    let length = file.metadata().map_err(|e| Error::io(path, "read", &e))?.len();
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| match stand_in(path) {
        Some(what) => Error::file(path, what),
        None if is_safetensors(path) => {
            Error::file(path, "These weights are in the safetensors format; name the file so (….safetensors)")
        }
        None => bad(format!("no zip container ({e}); it may be truncated")),
    })?;
    let index_name = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .find(|name| name == "data.pkl" || name.ends_with("/data.pkl"))
        .ok_or_else(|| bad("it has no data.pkl inside".into()))?;
    let root = index_name.trim_end_matches("data.pkl").to_owned();
    let sealed = is_sealed(&mut archive, &index_name).map_err(|what| bad(format!("its index {what}")))?;
    let order = format!("{root}byteorder");
    if archive.index_for_name(&order).is_some() {
        let text =
            read_entry(&mut archive, &order, 16, sealed).map_err(|what| bad(format!("its byte order {what}")))?;
        if text.trim_ascii() == b"big" {
            return Err(bad(
                "its numbers are written in big-endian byte order; load and save it once on a little-endian machine"
                    .into(),
            ));
        }
    }
    let index = read_entry(&mut archive, &index_name, MAX_INDEX_BYTES, sealed)
        .map_err(|what| bad(format!("its index {what}")))?;
    let entries = read_index(&index).map_err(&bad)?;

    let mut budget = MAX_GROWTH.saturating_mul(length);
    // A storage is dropped after its last tensor, so that hardly more than the tensors is held.
    let mut uses: HashMap<String, usize> = HashMap::new();
    for (_, tensor) in &entries {
        *uses.entry(tensor.storage.key.clone()).or_default() += 1;
    }
    let mut shared: HashMap<String, Vec<u8>> = HashMap::new();
    let mut tensors = BTreeMap::new();
    for (name, tensor) in entries {
        let key = &tensor.storage.key;
        let storage = match shared.remove(key) {
            Some(bytes) => bytes,
            None => read_storage(&mut archive, &format!("{root}data/{key}"), &tensor.storage, sealed)
                .map_err(|what| bad(format!("the data of tensor {name} {what}")))?,
        };
        // Tensors may share a storage; a small file must not ask for much memory that way.
        let count = product(&tensor.shape).and_then(|count| count.checked_mul(tensor.storage.dtype.size_in_bytes()));
        budget = count
            .and_then(|count| budget.checked_sub(count as u64))
            .ok_or_else(|| bad("its tensors need far more memory than the file is large".into()))?;
        let outside = || bad(format!("tensor {name} reaches outside its storage"));
        let left = uses.get_mut(key).map_or(0, |left| {
            *left -= 1;
            *left
        });
        let bytes = if left == 0 {
            tensor.take(storage).ok_or_else(outside)?
        } else {
            let bytes = tensor.gather(&storage).ok_or_else(outside)?;
            shared.insert(key.clone(), storage);
            bytes
        };
        let data = TensorData { dtype: tensor.storage.dtype, shape: tensor.shape.clone(), bytes };
        if tensors.insert(name.clone(), data).is_some() {
            return Err(bad(format!("tensor {name} occurs twice")));
        }
    }
    Ok(tensors)
}

/// What a file is that lies in the place of weights, if that can be told from how it begins.
pub(super) fn stand_in(path: &Path) -> Option<&'static str> {
    let file = crate::files::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let mut start = Vec::new();
    file.take(512).read_to_end(&mut start).ok()?;
    let begins = |with: &[u8]| start.starts_with(with);
    // A mark of UTF-8 may stand before a text.
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start);
    let page = String::from_utf8_lossy(text).trim_start().to_ascii_lowercase();
    let is_page = ["<!doctype", "<html", "<?xml", "<!--", "<error"].iter().any(|tag| page.starts_with(tag));
    let is_text = text.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
    match () {
        () if length == 0 => Some("This file is empty; the download may have failed, fetch it again"),
        () if begins(b"version https://git-lfs.github.com/spec/") => Some(
            "This is a pointer of Git LFS, not the weights themselves; fetch them with \"git lfs pull\", or download the file",
        ),
        () if is_page => Some("This is a web page, not weights; the download may have led to a login or an error page"),
        () if is_text && (page.starts_with('{') || page.starts_with('[')) => Some(
            "This is a text in JSON, not weights; it may be the answer of a server that something went wrong, or a description of the model",
        ),
        () if is_text && length <= 512 => {
            Some("This is a short text, not weights; it may be the answer of a server that something went wrong")
        }
        // The magic number with which PyTorch before 1.6 began, in a pickle of protocol 2.
        () if begins(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9") => Some(
            "These weights are in the format of PyTorch before 1.6; load them there and save them anew (torch.save)",
        ),
        () if begins(b"\x1f\x8b") => Some("This file is compressed with gzip; unpack it first (gunzip)"),
        () => None,
    }
}

/// Whether a file begins as one of the safetensors format does: the length of its header, and the header.
fn is_safetensors(path: &Path) -> bool {
    let mut start = [0; 9];
    let read = crate::files::open(path).and_then(|file| {
        let length = file.metadata()?.len();
        let mut file = file.take(9);
        file.read_exact(&mut start)?;
        Ok(length)
    });
    let header = u64::from_le_bytes(start[..8].try_into().unwrap_or_default());
    read.is_ok_and(|length| start[8] == b'{' && header > 1 && header <= length - 8)
}

/// The bytes of a storage; what is wrong with them else.
fn read_storage<R: Read + std::io::Seek>(
    archive: &mut zip::ZipArchive<R>,
    name: &str,
    storage: &Storage,
    sealed: bool,
) -> Step<Vec<u8>> {
    let entry = raw(archive, name)?;
    if entry.compression() != zip::CompressionMethod::Stored {
        return Err("is compressed, which PyTorch never does".into());
    }
    let size = entry.size();
    drop(entry);
    let wanted = storage.elements.checked_mul(storage.dtype.size_in_bytes());
    let wanted = wanted
        .filter(|&bytes| bytes as u64 == size)
        .ok_or_else(|| format!("has {size} bytes, not what its index says"))?;
    let bytes = read_entry(archive, name, wanted as u64, sealed)?;
    if bytes.len() == wanted { Ok(bytes) } else { Err("is truncated".into()) }
}

/// Whether entries carry their checksums. PyTorch can be told to leave them out
/// (`torch.serialization.set_crc32_options(False)`): those of all entries are 0 then, of the index as well.
fn is_sealed<R: Read + std::io::Seek>(archive: &mut zip::ZipArchive<R>, index: &str) -> Step<bool> {
    Ok(raw(archive, index)?.crc32() != 0)
}

/// An entry as it lies in the file; its reader compares no checksum.
fn raw<'a, R: Read + std::io::Seek>(
    archive: &'a mut zip::ZipArchive<R>,
    name: &str,
) -> Step<zip::read::ZipFile<'a, R>> {
    let number = archive.index_for_name(name).ok_or("is missing; the file may be truncated")?;
    archive.by_index_raw(number).map_err(|e| format!("is damaged ({e})"))
}

/// The bytes of an entry of at most this size, compared with their checksum if the file is sealed with them; what is wrong
/// with them else.
fn read_entry<R: Read + std::io::Seek>(
    archive: &mut zip::ZipArchive<R>,
    name: &str,
    most: u64,
    sealed: bool,
) -> Step<Vec<u8>> {
    let entry = raw(archive, name)?;
    let (declared, stored) = (entry.crc32(), entry.compression() == zip::CompressionMethod::Stored);
    let mut bytes = Vec::new();
    let read = if stored {
        entry.take(most + 1).read_to_end(&mut bytes)
    } else {
        drop(entry);
        let entry = archive.by_name(name).map_err(|e| format!("is damaged ({e})"))?;
        entry.take(most + 1).read_to_end(&mut bytes)
    };
    read.map_err(|e| format!("is damaged ({e})"))?;
    if bytes.len() as u64 > most {
        return Err(format!("is larger than {most} bytes"));
    }
    let found = crc32fast::hash(&bytes);
    if sealed && found != declared {
        return Err(format!(
            "is damaged: {name} in it has the checksum {found:08x}, and had {declared:08x} when it was saved; fetch or copy the file anew"
        ));
    }
    Ok(bytes)
}

/// Number of elements of a shape; `None` if it is beyond what can be counted.
fn product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

impl TensorRef {
    /// Whether its elements lie one after another in the storage; `None` if its sizes are beyond what can be counted.
    fn is_contiguous(&self) -> Option<bool> {
        let (mut contiguous, mut is_contiguous) = (1usize, true);
        for (&d, &s) in self.shape.iter().zip(&self.stride).rev() {
            is_contiguous &= d == 1 || s == contiguous;
            contiguous = contiguous.checked_mul(d.max(1))?;
        }
        Some(is_contiguous)
    }

    /// As [`gather`](Self::gather), from a storage that nobody else needs: where the tensor is all of it, nothing is
    /// copied.
    fn take(&self, storage: Vec<u8>) -> Option<Vec<u8>> {
        let all = product(&self.shape)?.checked_mul(self.storage.dtype.size_in_bytes())? == storage.len();
        if all && self.offset == 0 && self.is_contiguous()? { Some(storage) } else { self.gather(&storage) }
    }

    /// Contiguous little-endian bytes of the tensor; `None` when it does not fit its storage.
    fn gather(&self, storage: &[u8]) -> Option<Vec<u8>> {
        let size = self.storage.dtype.size_in_bytes();
        let count = product(&self.shape)?;
        if self.is_contiguous()? {
            let start = self.offset.checked_mul(size)?;
            return Some(storage.get(start..start.checked_add(count.checked_mul(size)?)?)?.to_vec());
        }
        // A view may repeat elements (stride 0); what all of them need was compared with the size of the file.
        let mut bytes = Vec::with_capacity(count * size);
        for i in 0..count {
            let (mut rest, mut at) = (i, self.offset);
            for (&d, &s) in self.shape.iter().zip(&self.stride).rev() {
                at = at.checked_add((rest % d).checked_mul(s)?)?;
                rest /= d;
            }
            let start = at.checked_mul(size)?;
            bytes.extend_from_slice(storage.get(start..start.checked_add(size)?)?);
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use std::rc::Rc;

    fn tensor(shape: &[usize], stride: &[usize], offset: usize, elements: usize) -> TensorRef {
        let storage = Rc::new(Storage { key: "0".into(), dtype: DType::F32, elements });
        TensorRef { storage, offset, shape: shape.to_vec(), stride: stride.to_vec() }
    }

    #[test]
    fn sizes_beyond_what_can_be_counted_are_outside_the_storage() {
        let storage = vec![0u8; 16];
        // No element, as one size is 0, but a product of the others that overflows.
        let half = 1usize << 63;
        for (shape, stride) in [
            (vec![0, half, 4], vec![1, 1, 1]),
            (vec![half, 0, 4], vec![1, 4, 1]),
            (vec![half, 2], vec![2, 1]),
            (vec![usize::MAX], vec![1]),
        ] {
            let tensor = tensor(&shape, &stride, 0, 4);
            assert!(tensor.gather(&storage).is_none() && tensor.take(storage.clone()).is_none(), "{shape:?}");
        }
        assert!(tensor(&[2], &[1], usize::MAX, 4).gather(&storage).is_none());
        assert!(tensor(&[2], &[usize::MAX], 1, 4).gather(&storage).is_none());
    }

    #[test]
    fn views_are_gathered_and_whole_storages_are_taken_over() {
        let storage: Vec<u8> = (0..16).collect();
        assert_eq!(tensor(&[2, 2], &[2, 1], 0, 4).take(storage.clone()), Some(storage.clone()));
        assert_eq!(tensor(&[2], &[1], 2, 4).take(storage.clone()), Some((8..16).collect()));
        let turned: Vec<u8> = [0, 8, 4, 12].into_iter().flat_map(|at| at..at + 4).collect();
        assert_eq!(tensor(&[2, 2], &[1, 2], 0, 4).take(storage), Some(turned));
    }
}
