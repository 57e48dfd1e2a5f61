//! Times in UTC: of the tests, of libfaketime, of certificates and of kubeadm's documents.

/// A moment at which no leaf of the one-year fixtures is due (they end a year later).
pub const FRESH: &str = "2026-11-24 00:00:00";

/// A moment thirteen days before the one-year leaves end: with `renew_before = "30d"` every one of
/// them is due.
pub const DUE: &str = "2027-11-10 00:00:00";

pub const MINUTE: i64 = 60;
pub const DAY: i64 = 86_400;

/// Seconds since 1970 of `YYYY-MM-DD hh:mm:ss`, also as RFC 3339 writes it (`T` and `Z`).
pub fn seconds(moment: &str) -> i64 {
    let numbers: Vec<i64> = moment
        .trim_end_matches('Z')
        .split(['-', ' ', 'T', ':'])
        .map(|n| n.parse().expect(moment))
        .collect();
    let [year, month, day, hour, minute, second] = numbers[..] else {
        panic!("not a moment: {moment}")
    };
    days(year, month, day) * DAY + hour * 3600 + minute * 60 + second
}

/// The reverse of [`seconds`], in the form that libfaketime reads.
pub fn moment(seconds: i64) -> String {
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let rest = seconds.rem_euclid(DAY);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// The machine's own time, for tests with a real etcd, which libfaketime cannot deceive.
pub fn now() -> String {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    moment(i64::try_from(since.as_secs()).expect("seconds"))
}

/// `moment` moved by `by` seconds.
pub fn later(from: &str, by: i64) -> String {
    moment(seconds(from) + by)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (years are counted from March, so that
/// the leap day is the last one).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

fn date(since_1970: i64) -> (i64, i64, i64) {
    let mut year = 1970 + since_1970 / 366;
    while days(year + 1, 1, 1) <= since_1970 {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= since_1970 {
        month += 1;
    }
    (year, month, since_1970 - days(year, month, 1) + 1)
}

/// The clock at which kubeadm printed a JSON or YAML document: every row says `notAfter - now`, cut
/// to whole seconds towards zero.
///
/// So each row allows an interval of one second, and rows of expired and of living certificates cut
/// it from both ends. The result is the start of what is left; a process that begins there and
/// needs less than a second sees the same residual times.
pub fn of_expiration_document(document: &str) -> String {
    let (mut earliest, mut latest, mut end) = (i64::MIN, i64::MAX, None);
    for line in document.lines() {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        let value = value.trim_end_matches(',').trim_matches('"');
        match key.trim_start_matches(['-', ' ', '"']).trim_end_matches('"') {
            "expirationDate" => end = (value != "null").then(|| seconds(value)),
            "residualTime" => {
                let Some(end) = end else { continue };
                let residual: i64 = value.parse().expect("a number of seconds");
                let start = if residual > 0 {
                    end - residual - 1
                } else {
                    end - residual
                };
                earliest = earliest.max(start);
                latest = latest.min(start + 1);
            }
            _ => {}
        }
    }
    assert!(earliest < latest, "no clock fits all rows: {earliest} to {latest}");
    moment(earliest)
}
