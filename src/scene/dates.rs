//! Days in the names of products and files.

use jiff::civil::Date;

/// The first day in a name, written as eight digits (`20230418T113131`) or as three numbers with dashes between, of this
/// century.
pub fn day_in(name: &str) -> Option<Date> {
    let day = |at: usize| {
        let part = name.get(at..)?;
        // Not in the middle of a longer number.
        if name[..at].ends_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let plain = part.get(..8).filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
        let text = match plain {
            Some(p) => format!("{}-{}-{}", &p[..4], &p[4..6], &p[6..]),
            None => part.get(..10)?.to_owned(),
        };
        text.parse::<Date>().ok().filter(|date| (2000..2100).contains(&date.year()))
    };
    (0..name.len()).find_map(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_found_in_names() {
        let find = |name: &str| day_in(name).map(|date| date.to_string());
        assert_eq!(find("s2a_msil2a_20220614t101031_x"), Some("2022-06-14".into()));
        assert_eq!(find("S1A_IW_GRDH_1SDV_20220115T095000_041480_04EE9B_rtc"), Some("2022-01-15".into()));
        assert_eq!(find("dem_2021-03-05"), Some("2021-03-05".into()));
        assert_eq!(find("20220614101031"), Some("2022-06-14".into()));
        for none in ["tile_99999999_é_20221332", "id", "", "part_1120220614"] {
            assert_eq!(find(none), None, "{none}");
        }
    }
}
