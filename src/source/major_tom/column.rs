//! Values of one column chunk.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit};
use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result};
use parquet::file::statistics::Statistics;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Datum {
    /// Whole number; also days and instants, in the column's unit.
    Whole(i64),
    /// Number.
    Real(f64),
    /// Text or a blob.
    Bytes(Vec<u8>),
}

impl Datum {
    /// As text.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Whole(n) => Some(n.to_string()),
            Self::Real(x) => Some(x.to_string()),
            Self::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        }
    }

    /// As a number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(n) => Some(*n as f64),
            Self::Real(x) => Some(*x).filter(|x| x.is_finite()),
            Self::Bytes(_) => self.text()?.trim().parse().ok().filter(|x: &f64| x.is_finite()),
        }
    }

    /// As an instant, ISO 8601: from text, days, or a count since 1970 in the unit that the column names.
    pub(super) fn instant(&self, column: &ColumnDescriptor) -> Option<String> {
        match self {
            Self::Real(_) => None,
            Self::Bytes(_) => instant_in(&self.text()?),
            Self::Whole(n) => {
                let per_second = match (column.logical_type_ref(), column.converted_type()) {
                    (Some(LogicalType::Date), _) | (None, ConvertedType::DATE) => {
                        let span = jiff::Span::new().try_days(*n).ok()?;
                        return Some(jiff::civil::date(1970, 1, 1).checked_add(span).ok()?.to_string());
                    }
                    (Some(LogicalType::Timestamp(t)), _) => match t.unit {
                        TimeUnit::MILLIS => 1000,
                        TimeUnit::MICROS => 1_000_000,
                        TimeUnit::NANOS => 1_000_000_000,
                    },
                    (None, ConvertedType::TIMESTAMP_MILLIS) => 1000,
                    (None, ConvertedType::TIMESTAMP_MICROS) => 1_000_000,
                    _ => return None,
                };
                Some(jiff::Timestamp::from_second(n.div_euclid(per_second)).ok()?.to_string())
            }
        }
    }
}

/// `2023-04-20 11:43:51.024`, with or without a zone or a time, as an instant or a day of ISO 8601.
fn instant_in(text: &str) -> Option<String> {
    let text = text.trim().replacen(' ', "T", 1);
    let day: jiff::civil::Date = text.get(..10)?.parse().ok()?;
    match text.get(..19).and_then(|t| t.parse::<jiff::civil::DateTime>().ok()) {
        Some(time) => Some(format!("{time}Z")),
        None => Some(day.to_string()),
    }
}

/// The one value that all rows of a chunk have, if its statistics say that they have only one.
pub(super) fn same_everywhere(statistics: Option<&Statistics>, rows: u64) -> Option<Datum> {
    let all = statistics?;
    if all.null_count_opt().map_or(rows != 1, |nulls| nulls > 0) || all.is_min_max_deprecated() {
        return None;
    }
    let both = |low: Option<Datum>, high: Option<Datum>| low.filter(|low| high.as_ref() == Some(low));
    match all {
        Statistics::Int32(s) => both(whole(s.min_opt()), whole(s.max_opt())),
        Statistics::Int64(s) => both(whole(s.min_opt()), whole(s.max_opt())),
        Statistics::Float(s) => both(real(s.min_opt()), real(s.max_opt())),
        Statistics::Double(s) => both(real(s.min_opt()), real(s.max_opt())),
        // A long text may be cut in them.
        Statistics::ByteArray(s) if s.min_is_exact() && s.max_is_exact() => {
            both(bytes(s.min_opt()), bytes(s.max_opt()))
        }
        _ => None,
    }
}

/// Whether the statistics leave room for a text.
pub(super) fn may_hold(statistics: Option<&Statistics>, text: &str) -> bool {
    let Some(Statistics::ByteArray(s)) = statistics else { return true };
    if statistics.is_some_and(Statistics::is_min_max_deprecated) {
        return true;
    }
    let below = s.min_opt().is_some_and(|low| text.as_bytes() < low.data());
    let above = s.max_opt().is_some_and(|high| s.max_is_exact() && text.as_bytes() > high.data());
    !(below || above)
}

fn whole<T: Copy + Into<i64>>(value: Option<&T>) -> Option<Datum> {
    value.map(|&v| Datum::Whole(v.into()))
}

fn real<T: Copy + Into<f64>>(value: Option<&T>) -> Option<Datum> {
    value.map(|&v| Datum::Real(v.into()))
}

fn bytes(value: Option<&ByteArray>) -> Option<Datum> {
    value.map(|v| Datum::Bytes(v.data().to_vec()))
}

/// Values of these rows (ascending) of a chunk; pages between them are passed over.
///
/// # Errors
/// When the chunk is damaged or of a type that no column of Major TOM has.
pub(super) fn values(column: ColumnDescPtr, pages: Box<dyn PageReader>, rows: &[usize]) -> Result<Vec<Option<Datum>>> {
    let full = column.max_def_level();
    let halves = column.logical_type_ref() == Some(&LogicalType::Float16);
    match get_column_reader(column, pages) {
        ColumnReader::Int32ColumnReader(r) => picked(r, rows, full, |v| Datum::Whole(v.into())),
        ColumnReader::Int64ColumnReader(r) => picked(r, rows, full, Datum::Whole),
        ColumnReader::FloatColumnReader(r) => picked(r, rows, full, |v| Datum::Real(v.into())),
        ColumnReader::DoubleColumnReader(r) => picked(r, rows, full, Datum::Real),
        ColumnReader::ByteArrayColumnReader(r) => picked(r, rows, full, |v| Datum::Bytes(v.data().to_vec())),
        ColumnReader::BoolColumnReader(r) => picked(r, rows, full, |v| Datum::Whole(v.into())),
        // Instants as older writers have them.
        ColumnReader::Int96ColumnReader(r) => picked(r, rows, full, |v| {
            let instant = jiff::Timestamp::from_nanosecond(v.to_nanos().into());
            Datum::Bytes(instant.map(|instant| instant.to_string()).unwrap_or_default().into_bytes())
        }),
        ColumnReader::FixedLenByteArrayColumnReader(r) => picked(r, rows, full, |v| match *v.data() {
            [low, high] if halves => Datum::Real(f64::from(half::f16::from_le_bytes([low, high]))),
            ref bytes => Datum::Bytes(bytes.to_vec()),
        }),
    }
}

fn picked<T: DataType>(
    mut reader: ColumnReaderImpl<T>,
    rows: &[usize],
    full: i16,
    datum: impl Fn(T::T) -> Datum,
) -> Result<Vec<Option<Datum>>> {
    let short = || ParquetError::General("a column has fewer values than its row group has rows".into());
    let (mut all, mut at, mut next) = (Vec::with_capacity(rows.len()), 0, 0);
    while next < rows.len() {
        // Rows that follow each other are read at once.
        let run = 1 + rows[next..].windows(2).take_while(|pair| pair[1] == pair[0] + 1).count();
        let skip = rows[next].checked_sub(at).ok_or_else(short)?;
        if skip > 0 && reader.skip_records(skip)? != skip {
            return Err(short());
        }
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (records, ..) = reader.read_records(run, (full > 0).then_some(&mut levels), None, &mut values)?;
        if records != run {
            return Err(short());
        }
        let mut values = values.into_iter();
        if full == 0 {
            all.extend(values.map(|v| Some(datum(v))));
        } else {
            all.extend(levels.iter().map(|level| (*level == full).then(|| values.next().map(&datum)).flatten()));
        }
        (at, next) = (rows[next] + run, next + run);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_as_they_are_written() {
        for (text, iso) in [
            ("2023-04-20 11:43:51", Some("2023-04-20T11:43:51Z")),
            ("2023-04-20T11:43:51.024000+00:00", Some("2023-04-20T11:43:51Z")),
            ("2023-04-20", Some("2023-04-20")),
            ("20 April", None),
            ("2023-13-20 é", None),
        ] {
            assert_eq!(instant_in(text).as_deref(), iso, "{text}");
        }
    }

    #[test]
    fn instants_of_older_writers_and_half_floats_are_read() {
        use parquet::column::writer::ColumnWriter;
        use parquet::data_type::{FixedLenByteArray, Int96};
        use parquet::file::reader::{FileReader, SerializedFileReader};
        use parquet::file::writer::SerializedFileWriter;
        let text = "message m { optional int96 timestamp; optional fixed_len_byte_array(2) cloud_cover (FLOAT16); }";
        let schema = parquet::schema::parser::parse_message_type(text).expect("schema");
        let mut file = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut file, schema.into(), Default::default()).expect("writer");
        let mut group = writer.next_row_group().expect("group");
        // 20 April 2023, 11:43:51, as a Julian day and nanoseconds of it.
        let (day, nanos) = (2_460_055, 42_231_000_000_000u64);
        let mut instant = Int96::new();
        instant.set_data(nanos as u32, (nanos >> 32) as u32, day);
        while let Some(mut column) = group.next_column().expect("column") {
            match column.untyped() {
                ColumnWriter::Int96ColumnWriter(w) => {
                    w.write_batch(&[instant], Some(&[1, 0]), None).expect("instant");
                }
                ColumnWriter::FixedLenByteArrayColumnWriter(w) => {
                    let half = FixedLenByteArray::from(half::f16::from_f32(12.5).to_le_bytes().to_vec());
                    w.write_batch(&[half], Some(&[1, 0]), None).expect("number");
                }
                _ => panic!("no other column"),
            }
            column.close().expect("column");
        }
        group.close().and_then(|_| writer.close()).expect("file");
        let reader = SerializedFileReader::new(bytes::Bytes::from(file)).expect("file");
        let group = reader.get_row_group(0).expect("group");
        let schema = reader.metadata().file_metadata().schema_descr();
        let read = |i: usize| {
            let found = values(schema.column(i), group.get_column_page_reader(i).expect("pages"), &[0, 1]);
            found.expect("values")
        };
        let instants: Vec<Option<String>> = read(0).iter().map(|v| v.as_ref()?.instant(&schema.column(0))).collect();
        assert_eq!(instants, [Some("2023-04-20T11:43:51Z".to_owned()), None]);
        assert_eq!(read(1), [Some(Datum::Real(12.5)), None]);
    }
}
