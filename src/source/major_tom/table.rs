//! A parquet file whose description has been read and checked.

use super::column::{self, Datum};
use super::pages;
use super::ranges::Ranges;
use super::{Access, Origin};
use crate::error::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{Length, SerializedPageReader};
use parquet::file::statistics::Statistics;
use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The largest description: that of five thousand cells has some 20 MB.
const LARGEST_FOOTER: u64 = 64 << 20;
/// How much of the end is read at first over the network.
const FIRST_TAIL: u64 = 64 << 10;
/// Rows of a file: the whole of Major TOM Core has 2.2 million per product.
const MOST_ROWS: u64 = 20_000_000;
/// A chunk up to this size is read whole, from a larger one only the pages that are needed.
const SMALL_CHUNK: u64 = 4 << 20;

/// See the module.
pub(super) struct Table {
    /// Where it is.
    pub origin: Origin,
    ranges: Ranges,
    described: ParquetMetaData,
    columns: HashMap<String, usize>,
}

impl Table {
    /// Reads and checks the description at the end of a file.
    ///
    /// # Errors
    /// When the file cannot be reached, is no parquet file, is cut off or damaged.
    pub(super) fn open(origin: &Origin, access: &Access) -> Result<Self> {
        let ranges = Ranges::open(origin, access)?;
        let length = ranges.len();
        let cut_off = || origin.problem("The file is cut off: a parquet file ends with PAR1; fetch it again");
        if length < 12 {
            return Err(cut_off());
        }
        let tail = if ranges.is_remote() { FIRST_TAIL.min(length) } else { 8 };
        ranges.hold(std::iter::once(length - tail..length).collect())?;
        let end = ranges.bytes(length - 8, 8)?;
        let [a, b, c, d, b'P', b'A', b'R', b'1'] = end[..] else { return Err(cut_off()) };
        let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
        if footer > LARGEST_FOOTER || footer > length - 12 {
            return Err(origin.problem(&format!(
                "Its description claims {footer} bytes, which cannot be; the file is damaged, fetch it again"
            )));
        }
        let bytes = ranges.bytes(length - 8 - footer, footer)?;
        ranges.forget();
        let described = sheltered(origin, || ParquetMetaDataReader::decode_metadata(&bytes))?;
        let described = described.map_err(|e| ranges.explain(&e))?;
        let mut columns = HashMap::new();
        for (i, column) in described.file_metadata().schema_descr().columns().iter().enumerate() {
            // Pictures may be kept as a pair of bytes and path.
            let name = match column.path().parts() {
                [name] => Some(name),
                [name, inner] if inner == "bytes" => Some(name),
                _ => None,
            };
            if let Some(name) = name.filter(|_| column.max_rep_level() == 0) {
                columns.entry(name.clone()).or_insert(i);
            }
        }
        let table = Self { origin: origin.clone(), ranges, described, columns };
        table.check()?;
        Ok(table)
    }

    /// What the description says must be possible.
    fn check(&self) -> Result<()> {
        let mut total = 0u64;
        let count = self.described.file_metadata().schema_descr().num_columns();
        for group in self.described.row_groups() {
            let rows = u64::try_from(group.num_rows()).unwrap_or(u64::MAX);
            total = total.saturating_add(rows);
            let whole = group.columns().iter().all(|chunk| {
                let begin = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
                let end = begin.checked_add(chunk.compressed_size());
                let inside = end.and_then(|end| u64::try_from(end).ok()).is_some_and(|end| end <= self.ranges.len());
                begin >= 0 && chunk.compressed_size() >= 0 && inside && chunk.file_path().is_none()
            });
            if rows > MOST_ROWS || !whole || group.num_columns() != count {
                return Err(self.origin.problem("Its description names row groups that are not there; fetch it again"));
            }
        }
        if total > MOST_ROWS {
            return Err(self.origin.problem(&format!(
                "Its description claims {total} rows, more than this program expects; the file may be damaged"
            )));
        }
        Ok(())
    }

    /// Number of row groups.
    pub(super) fn groups(&self) -> usize {
        self.described.num_row_groups()
    }

    /// Rows of a group.
    pub(super) fn rows(&self, group: usize) -> usize {
        usize::try_from(self.described.row_group(group).num_rows()).unwrap_or(0)
    }

    /// Whether it has a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    fn chunk(&self, group: usize, column: &str) -> Option<&ColumnChunkMetaData> {
        Some(self.described.row_group(group).column(*self.columns.get(column)?))
    }

    /// What is known of a chunk without reading it.
    pub(super) fn statistics(&self, group: usize, column: &str) -> Option<&Statistics> {
        self.chunk(group, column)?.statistics()
    }

    /// Bytes of a column's chunk once unpacked, as its description says; 0 without the column.
    pub(super) fn unpacked(&self, group: usize, column: &str) -> u64 {
        self.chunk(group, column).map_or(0, |chunk| u64::try_from(chunk.uncompressed_size()).unwrap_or(u64::MAX))
    }

    fn range(chunk: &ColumnChunkMetaData) -> Range<u64> {
        let (start, length) = chunk.byte_range();
        start..start + length
    }

    /// Fetches chunks together that [`values`](Self::values) will read whole; kept until [`forget`](Self::forget).
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn hold(&self, chunks: impl IntoIterator<Item = (usize, String)>) -> Result<()> {
        let whole = |(group, column): (usize, String)| {
            let range = self.chunk(group, &column).map(Self::range)?;
            (self.rows(group) == 1 || range.end - range.start <= SMALL_CHUNK).then_some(range)
        };
        self.ranges.hold(chunks.into_iter().filter_map(whole).collect())
    }

    /// Drops what was fetched ahead.
    pub(super) fn forget(&self) {
        self.ranges.forget();
    }

    /// Values of a column in some rows (ascending) of a group; `None` for each without the column.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn values(&self, group: usize, column: &str, rows: &[usize]) -> Result<Vec<Option<Datum>>> {
        let Some(chunk) = self.chunk(group, column) else { return Ok(vec![None; rows.len()]) };
        if let Some(same) = column::same_everywhere(chunk.statistics(), self.rows(group) as u64) {
            return Ok(vec![Some(same); rows.len()]);
        }
        self.hold([(group, column.to_owned())])?;
        if let Some(&last) = rows.last() {
            let part = |range: Range<u64>| self.ranges.header(range);
            if let Some(odd) = pages::odd(Self::range(chunk), last, &part)? {
                return Err(self.origin.problem(&format!("Its column {column} cannot be read: {odd}; fetch it again")));
            }
        }
        let read = || {
            let pages = SerializedPageReader::new(Arc::new(self.ranges.clone()), chunk, self.rows(group), None)?;
            let levels = chunk.column_descr().max_def_level();
            let pages = pages::Checked { pages: Box::new(pages), levels };
            column::values(chunk.column_descr_ptr(), Box::new(pages), rows)
        };
        sheltered(&self.origin, read)?.map_err(|e| self.ranges.explain(&e))
    }

    /// Instants of some rows, see [`values`](Self::values).
    ///
    /// # Errors
    /// When they cannot be read.
    pub(super) fn instants(&self, group: usize, column: &str, rows: &[usize]) -> Result<Vec<Option<String>>> {
        let Some(chunk) = self.chunk(group, column) else { return Ok(vec![None; rows.len()]) };
        let values = self.values(group, column, rows)?;
        Ok(values.into_iter().map(|value| value?.instant(chunk.column_descr())).collect())
    }
}

/// A damaged file must not end the program, whatever the parquet crate makes of it.
fn sheltered<T>(origin: &Origin, read: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| origin.problem("The file is damaged in a way that cannot be read; fetch it again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::column::writer::ColumnWriter;
    use parquet::data_type::ByteArray;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;

    #[test]
    fn a_page_that_claims_to_unpack_to_more_than_any_is_refused_before_it_is() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("part.parquet");
        let schema =
            parquet::schema::parser::parse_message_type("message m { optional binary note; }").expect("schema");
        let codec = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(codec).set_dictionary_enabled(false);
        let file = std::fs::File::create(&path).expect("file");
        let mut writer = SerializedFileWriter::new(file, schema.into(), properties.build().into()).expect("writer");
        let mut group = writer.next_row_group().expect("group");
        let mut column = group.next_column().expect("column").expect("one");
        let ColumnWriter::ByteArrayColumnWriter(w) = column.untyped() else { panic!("binary") };
        // Its size takes four bytes in the header, and so does a larger one.
        let note = vec![b' '; 1_200_000];
        w.write_batch(&[ByteArray::from(note.clone())], Some(&[1]), None).expect("note");
        column.close().and_then(|_| group.close()).and_then(|_| writer.close()).expect("file");
        let access = Access::new(crate::net::Network::default(), Arc::default());
        let origin = Origin::File(path.clone());
        let read = || Table::open(&origin, &access).and_then(|table| table.values(0, "note", &[0]));
        assert_eq!(read().expect("sound"), [Some(Datum::Bytes(note))]);
        let mut bytes = std::fs::read(&path).expect("bytes");
        assert_eq!(bytes[4..7], [0x15, 0, 0x15], "kind of page and its size come first");
        bytes[7..11].copy_from_slice(&[0xfe, 0xff, 0xff, 0x7f]);
        std::fs::write(&path, bytes).expect("damaged");
        let problem = read().expect_err("claims").to_string();
        assert!(problem.contains("column note") && problem.contains("claims to unpack to"), "{problem}");
    }
}
