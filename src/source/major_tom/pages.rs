//! What the pages of a column chunk claim of themselves, compared with their bytes before they are unpacked: the reader of the
//! parquet crate makes room for whatever a page's header says. Headers are structures of Thrift's compact protocol.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use std::ops::Range;

/// A page is no larger once it is unpacked: some writers put the rasters of many cells into one.
const LARGEST_PAGE: u64 = 1 << 30;
/// A page has no longer header: statistics in it may hold a text.
const LONGEST_HEADER: u64 = 1 << 20;
/// What is read at first of a header: nearly all are shorter.
const USUAL_HEADER: u64 = 4 << 10;
/// No kind of packing makes more of a byte than this, but for pages that stay small.
const GROWTH: u64 = 1032;
/// Pages up to this size may be packed as closely as they like.
const SMALL: u64 = 16 << 20;
/// Structures within structures.
const DEEPEST: usize = 8;

/// Bytes of a range of the file; what is wrong with them else.
type Read<'a> = &'a dyn Fn(Range<u64>) -> crate::error::Result<bytes::Bytes>;

/// Looks at the headers of the pages in a part of the file, up to that with the last row that is wanted; what cannot be else.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn odd(chunk: Range<u64>, last_row: usize, read: Read) -> crate::error::Result<Option<String>> {
    let (mut at, mut rows) = (chunk.start, 0u64);
    while at < chunk.end && rows <= last_row as u64 {
        let mut length = USUAL_HEADER;
        let header = loop {
            let some = read(at..chunk.end.min(at + length))?;
            match (Header::of(&some), length) {
                (Some(header), _) => break header,
                (None, LONGEST_HEADER..) => return Ok(Some("a page has no readable header".into())),
                (None, _) if (some.len() as u64) < length => return Ok(Some("a page is cut off".into())),
                (None, _) => length *= 16,
            }
        };
        let Some((packed, unpacked)) = header.sizes() else {
            return Ok(Some("a page has no size".into()));
        };
        let begin = at + header.length;
        if begin.checked_add(packed).is_none_or(|end| end > chunk.end) {
            return Ok(Some("a page reaches beyond its column".into()));
        }
        if unpacked > LARGEST_PAGE || unpacked > SMALL.max(packed.saturating_mul(GROWTH)) {
            return Ok(Some(format!("a page of {packed} bytes claims to unpack to {unpacked}")));
        }
        // Each value of a dictionary takes a byte at least.
        if header.dictionary.is_some_and(|count| u64::try_from(count).map_or(true, |count| count > unpacked)) {
            return Ok(Some("a dictionary claims more values than it has bytes".into()));
        }
        rows = rows.saturating_add(u64::try_from(header.values).unwrap_or(0));
        at = begin + packed;
    }
    Ok(None)
}

/// What is needed of a header.
#[derive(Debug, Default, PartialEq)]
struct Header {
    /// Bytes of the header itself.
    length: u64,
    unpacked: Option<i64>,
    packed: Option<i64>,
    /// Values of a page of data.
    values: i64,
    /// Values of a dictionary.
    dictionary: Option<i64>,
}

impl Header {
    /// `None` if it is cut off or is none.
    fn of(bytes: &[u8]) -> Option<Self> {
        let (mut header, mut thrift) = (Self::default(), Thrift { bytes, at: 0 });
        thrift.structure(0, &mut |thrift, id, kind| {
            let inner: &mut i64 = match (id, kind) {
                (2, INTEGER) => return thrift.integer().map(|v| header.unpacked = Some(v)),
                (3, INTEGER) => return thrift.integer().map(|v| header.packed = Some(v)),
                (5 | 8, STRUCTURE) => &mut header.values,
                (7, STRUCTURE) => header.dictionary.insert(0),
                _ => return thrift.skip(kind, 0),
            };
            thrift.structure(1, &mut |thrift, id, kind| match (id, kind) {
                (1, INTEGER) => thrift.integer().map(|v| *inner = v),
                _ => thrift.skip(kind, 1),
            })
        })?;
        header.length = thrift.at as u64;
        Some(header)
    }

    /// Bytes as they lie in the file, and once they are unpacked.
    fn sizes(&self) -> Option<(u64, u64)> {
        Some((u64::try_from(self.packed?).ok()?, u64::try_from(self.unpacked?).ok()?))
    }
}

/// Kinds of values in Thrift's compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const SHORT: u8 = 4;
const INTEGER: u8 = 5;
const LONG: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCTURE: u8 = 12;

/// A reader that makes no room for anything.
struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What is done with a field: reader, number and kind.
type Field<'f, 'a> = &'f mut dyn FnMut(&mut Thrift<'a>, i64, u8) -> Option<()>;

impl<'a> Thrift<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some(((value >> 1) as i64) ^ -((value & 1) as i64))
    }

    fn pass(&mut self, count: u64) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn structure(&mut self, depth: usize, field: Field<'_, 'a>) -> Option<()> {
        let mut id = 0;
        if depth >= DEEPEST {
            return None;
        }
        loop {
            let byte = self.byte()?;
            if byte == 0 {
                return Some(());
            }
            // The number of a field is told as the difference to the one before, if that is small.
            id = if byte >> 4 == 0 { self.integer()? } else { id + i64::from(byte >> 4) };
            field(self, id, byte & 0x0f)?;
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        match kind {
            _ if depth > DEEPEST => None,
            TRUE | FALSE => Some(()),
            BYTE => self.pass(1),
            SHORT | INTEGER | LONG => self.number().map(drop),
            DOUBLE => self.pass(8),
            BINARY => self.number().and_then(|length| self.pass(length)),
            LIST | SET => {
                let head = self.byte()?;
                let count = if head >> 4 == 15 { self.number()? } else { u64::from(head >> 4) };
                self.elements(count, head & 0x0f, depth)
            }
            MAP => {
                let count = self.number()?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.elements(1, kinds >> 4, depth).and_then(|()| self.elements(1, kinds & 0x0f, depth))
                })
            }
            STRUCTURE => self.structure(depth + 1, &mut |thrift, _, kind| thrift.skip(kind, depth + 1)),
            _ => None,
        }
    }

    /// Elements of a list: a truth takes a byte there.
    fn elements(&mut self, count: u64, kind: u8, depth: usize) -> Option<()> {
        (0..count).try_for_each(|_| match kind {
            TRUE | FALSE => self.pass(1),
            kind => self.skip(kind, depth + 1),
        })
    }
}

/// Pages of which unpacked texts tell no more lengths than there are values: room is made for whatever they tell.
pub(super) struct Checked {
    pub pages: Box<dyn PageReader>,
    /// The greatest level of definition: 0 of a column without gaps.
    pub levels: i16,
}

impl Checked {
    fn checked(&self, page: Page) -> Result<Page> {
        match lengths_fit(&page, self.levels) {
            Some(()) => Ok(page),
            None => Err(ParquetError::General("a page claims more texts than it has values".into())),
        }
    }
}

impl Iterator for Checked {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Checked {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.map(|page| self.checked(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.pages.take_deferred_dictionary()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

/// `None` if the texts of a page are more than its values, or cut off.
fn lengths_fit(page: &Page, levels: i16) -> Option<()> {
    let (buf, values, encoding, begin) = match page {
        Page::DataPage { buf, num_values, encoding, def_level_encoding, .. } => {
            let begin = match (levels, def_level_encoding) {
                (0, _) => 0,
                (_, Encoding::RLE) => {
                    let length = u32::from_le_bytes(buf.get(..4)?.try_into().ok()?);
                    usize::try_from(length).ok()?.checked_add(4)?
                }
                // One after another, in as many bits as the greatest takes.
                _ => (usize::try_from(*num_values).ok()? * (16 - levels.leading_zeros() as usize)).div_ceil(8),
            };
            (buf, *num_values, *encoding, begin)
        }
        Page::DataPageV2 { buf, num_values, encoding, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let begin = def_levels_byte_len.checked_add(*rep_levels_byte_len)?;
            (buf, *num_values, *encoding, usize::try_from(begin).ok()?)
        }
        Page::DictionaryPage { .. } => return Some(()),
    };
    let texts = buf.get(begin.min(buf.len())..)?;
    match encoding {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => numbers(texts, values).map(drop),
        // How much of the text before each begins with, then the rest.
        Encoding::DELTA_BYTE_ARRAY => numbers(texts.get(numbers(texts, values)?..)?, values).map(drop),
        _ => Some(()),
    }
}

/// Bytes of so many packed differences at most; `None` if they claim to be more, or are cut off.
fn numbers(bytes: &[u8], most: u32) -> Option<usize> {
    let mut packed = Thrift { bytes, at: 0 };
    let (block, parts) = (packed.number()?, packed.number()?);
    let count = packed.number().filter(|count| *count <= u64::from(most))?;
    packed.number()?;
    let in_part = block.checked_div(parts).filter(|in_part| *in_part > 0)?;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        packed.number()?;
        let widths = packed.at;
        packed.pass(parts)?;
        for part in 0..usize::try_from(parts).ok()? {
            if left == 0 {
                break;
            }
            let width = u64::from(*bytes.get(widths + part)?);
            packed.pass(width.checked_mul(in_part)?.div_ceil(8))?;
            left = left.saturating_sub(in_part);
        }
    }
    Some(packed.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(value: i64) -> Vec<u8> {
        let (mut value, mut bytes) = (((value << 1) ^ (value >> 63)) as u64, Vec::new());
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    /// A header: kind of page, both sizes, and in the structure of this number how many values.
    fn header(kind: i64, unpacked: i64, packed: i64, structure: u8, values: i64) -> Vec<u8> {
        let field = |value: i64| [vec![0x15], varint(value)].concat();
        let statistics = [vec![0x1c, 0x18], vec![3, b'a', b'b', b'c', 0]].concat();
        let inner = [field(values), field(0), statistics, vec![0]].concat();
        [field(kind), field(unpacked), field(packed), vec![((structure - 3) << 4) | 0x0c], inner, vec![0]].concat()
    }

    fn looked_at(pages: &[(Vec<u8>, usize)], last_row: usize) -> Option<String> {
        let bytes: Vec<u8> =
            pages.iter().flat_map(|(header, size)| [header.clone(), vec![7; *size]].concat()).collect();
        let bytes = bytes::Bytes::from(bytes);
        let length = bytes.len() as u64;
        let read = |range: Range<u64>| Ok(bytes.slice(range.start as usize..range.end.min(length) as usize));
        odd(0..length, last_row, &read).expect("read")
    }

    #[test]
    fn pages_that_claim_more_than_they_can_hold_are_found_before_they_are_unpacked() {
        let dictionary = |values| (header(2, 400, 40, 7, values), 40);
        let data = |unpacked| (header(0, unpacked, 30, 5, 10), 30);
        assert_eq!(looked_at(&[dictionary(100), data(500), data(500)], 19), None);
        assert_eq!(Header::of(&data(500).0).map(|h| (h.values, h.length)), Some((10, data(500).0.len() as u64)));
        for (pages, says) in [
            (vec![data(2_000_000_000)], "30 bytes claims to unpack to 2000000000"),
            (vec![data(20_000_000)], "claims to unpack to 20000000"),
            (vec![data(-1)], "no size"),
            (vec![dictionary(401)], "more values than it has bytes"),
            (vec![dictionary(2_000_000_000)], "more values"),
            (vec![(header(0, 500, 31, 5, 10), 30)], "beyond its column"),
            (vec![data(500), (vec![0xff; 30], 0)], "readable header"),
        ] {
            let found = looked_at(&pages, 19).unwrap_or_default();
            assert!(found.contains(says) || found.contains("cut off") && says == "readable header", "{found}");
        }
        // What lies behind the last row that is wanted is not read.
        assert_eq!(looked_at(&[data(500), data(2_000_000_000)], 9), None);
        // A text in the statistics that claims to be endless.
        let mut text = header(0, 500, 30, 5, 10);
        let at = text.windows(2).position(|two| two == [0x18, 3]).expect("a text") + 1;
        text.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
        assert!(looked_at(&[(text, 30)], 9).is_some());
    }

    #[test]
    fn texts_that_claim_to_be_more_than_the_values_are_refused() {
        use parquet::column::writer::ColumnWriter;
        use parquet::data_type::ByteArray;
        use parquet::file::properties::{WriterProperties, WriterVersion};
        use parquet::file::reader::{FileReader, SerializedFileReader};
        use parquet::file::writer::SerializedFileWriter;
        let texts: Vec<ByteArray> = (0..300).map(|i| ByteArray::from(format!("text {}", i / 7).into_bytes())).collect();
        let levels: Vec<i16> = (0..400).map(|i| i16::from(i % 4 != 0)).collect();
        for (encoding, version, optional) in [
            (Encoding::DELTA_LENGTH_BYTE_ARRAY, WriterVersion::PARQUET_1_0, true),
            (Encoding::DELTA_LENGTH_BYTE_ARRAY, WriterVersion::PARQUET_2_0, false),
            (Encoding::DELTA_BYTE_ARRAY, WriterVersion::PARQUET_1_0, false),
            (Encoding::DELTA_BYTE_ARRAY, WriterVersion::PARQUET_2_0, true),
        ] {
            let kind = if optional { "optional" } else { "required" };
            let schema = format!("message m {{ {kind} binary note; }}");
            let schema = parquet::schema::parser::parse_message_type(&schema).expect("schema");
            let properties = WriterProperties::builder().set_dictionary_enabled(false).set_encoding(encoding);
            let properties = properties.set_writer_version(version).build();
            let mut file = Vec::new();
            let mut writer = SerializedFileWriter::new(&mut file, schema.into(), properties.into()).expect("writer");
            let mut group = writer.next_row_group().expect("group");
            let mut column = group.next_column().expect("column").expect("one");
            let ColumnWriter::ByteArrayColumnWriter(w) = column.untyped() else { panic!("binary") };
            w.write_batch(&texts, optional.then_some(levels.as_slice()), None).expect("texts");
            column.close().and_then(|_| group.close()).and_then(|_| writer.close()).expect("file");
            let reader = SerializedFileReader::new(bytes::Bytes::from(file)).expect("file");
            let pages = reader.get_row_group(0).and_then(|group| group.get_column_page_reader(0)).expect("pages");
            let mut checked = Checked { pages, levels: i16::from(optional) };
            let page = checked.next().expect("a page").expect("sound");
            // The same bytes as of one text: they tell of hundreds.
            let fewer = match page {
                Page::DataPage { buf, encoding, def_level_encoding, rep_level_encoding, .. } => Page::DataPage {
                    buf,
                    num_values: 1,
                    encoding,
                    def_level_encoding,
                    rep_level_encoding,
                    statistics: None,
                },
                Page::DataPageV2 {
                    buf,
                    encoding,
                    num_nulls,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed,
                    ..
                } => Page::DataPageV2 {
                    buf,
                    num_values: 1,
                    encoding,
                    num_nulls,
                    num_rows: 1,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed,
                    statistics: None,
                },
                Page::DictionaryPage { .. } => panic!("{encoding:?}"),
            };
            assert!(checked.checked(fewer).is_err(), "{encoding:?}");
        }
    }
}
